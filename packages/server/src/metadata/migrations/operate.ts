import { column, type Migration } from '../../base/db/schema.ts'

/** What operating an installation for years added. Shapes: tables.ts. */
export const OPERATE_CHANGES: readonly Migration[] = [column('services', 'statements_until', 'millis?')]
