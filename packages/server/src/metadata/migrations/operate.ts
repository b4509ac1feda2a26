import { column, type Migration } from '../../base/db/schema.ts'
import { metadataTable as table } from './define.ts'

/** What operating an installation for years added. Shapes: tables.ts. */
export const OPERATE_CHANGES: readonly Migration[] = [
  column('services', 'statements_until', 'millis?'),
  table('service_upgrades', {
    columns: {
      service_id: 'id',
      state: 'word',
      volume: 'name',
      from_version: 'word',
      to_version: 'word',
      step: 'word?',
      run: 'id?',
      failure: 'json?',
      began_at: 'millis',
      ended_at: 'millis?',
    },
    primary: ['service_id'],
  }),
]
