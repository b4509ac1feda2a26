import type { Project } from '@sovrabase/contract/project'
import type { Control } from '../context.ts'
import { needProject } from './store.ts'
import { projectViews } from './view.ts'

/** As the API shows it; `not_found`. */
export const oneProject = async (control: Control, ref: string): Promise<Project> =>
  (await projectViews(control, [await needProject(control.db, ref)]))[0]!

/** Nothing of it is being made any more. */
export const isReady = (project: Project) => project.services.every((service) => !['pending', 'creating'].includes(service.status))
