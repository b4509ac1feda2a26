import { Ref } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Control } from '../context.ts'
import { needProject } from '../projects/store.ts'

export const Params = Type.Object({ ref: Ref })

/** The ref of a project that is not deleted; `project_deleted`. */
export async function living({ db }: Control, ref: string): Promise<string> {
  if ((await needProject(db, ref)).state !== 'active') throw fail('project_deleted')
  return ref
}
