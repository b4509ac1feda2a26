import { index, type Migration } from '../../base/db/schema.ts'
import { jobsShape } from '../../base/job-table.ts'
import { metadataTable as table } from './define.ts'

/** What happened, what must still happen, and what is kept for a while. Shapes: tables.ts. */
export const WORK_TABLES: readonly Migration[] = [
  table('events', {
    columns: {
      seq: 'serial',
      id: 'id',
      name: 'word',
      actor: 'word',
      actor_kind: 'word',
      organisation_id: 'id?',
      project_ref: 'id?',
      subject: 'line?',
      before: 'json?',
      after: 'json?',
      ip: 'word?',
      request_id: 'token?',
      created_at: 'millis',
    },
    unique: [['id']],
  }),
  index('events', ['organisation_id', 'seq']),
  index('events', ['project_ref', 'seq']),
  index('events', ['created_at']),
  table('jobs', jobsShape),
  index('jobs', ['state', 'due_at']),
  index('jobs', ['finished_at']),
  table('idempotent_answers', {
    columns: {
      key: 'name',
      actor: 'word',
      fingerprint: 'hash',
      status: 'int?',
      headers: 'json',
      body: 'text?',
      created_at: 'millis',
      expires_at: 'millis',
    },
    primary: ['actor', 'key'],
  }),
  index('idempotent_answers', ['expires_at']),
  table('nodes', {
    columns: { id: 'id', name: 'word', region: 'word', url: 'text?', roles: 'json', started_at: 'millis', seen_at: 'millis' },
    primary: ['id'],
  }),
  table('project_due', { columns: { ref: 'id', next_due: 'millis' }, primary: ['ref'] }),
  index('project_due', ['next_due']),
]
