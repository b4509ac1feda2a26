import type { Migration } from '../../base/db/schema.ts'
import { AUTH_TABLES } from './auth.ts'
import { AUTH_CHANGES } from './auth-changes.ts'
import { CONTROL_TABLES } from './control.ts'
import { OPERATE_CHANGES } from './operate.ts'
import { WORK_TABLES } from './work.ts'

/** All migrations of the metadata database, in order. Only ever append; one DDL statement each; expand first, contract a release later. */
export const MIGRATIONS: readonly Migration[] = [...CONTROL_TABLES, ...WORK_TABLES, ...AUTH_TABLES, ...OPERATE_CHANGES, ...AUTH_CHANGES]
