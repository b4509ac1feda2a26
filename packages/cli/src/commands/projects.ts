import type { Group } from '../program/command.ts'
import { branch } from './projects-branch.ts'
import { create } from './projects-create.ts'
import { list, show } from './projects-read.ts'
import { label, move, purge, remove, rename, restore, sleep, wake } from './projects-verbs.ts'

export const projects: Group = {
  name: 'projects',
  says: 'projects, each with a PostgreSQL of its own',
  commands: [create, branch, list, show, sleep, wake, rename, label, move, remove, restore, purge],
}
