import type { TableShape } from './db/schema.ts'

/** What must still happen. state: queued | running | done | failed; `wanted` counts how often it was asked for. */
export interface JobRow {
  id: string
  kind: string
  key: string
  payload: string
  state: string
  attempts: number
  max_attempts: number
  due_at: number
  leased_until: number | null
  leased_by: string | null
  wanted: number
  last_error: string | null
  created_at: number
  finished_at: number | null
}
export interface JobTables {
  jobs: JobRow
}

/** The table, for migrations: one unfinished job per (kind, key) is the database's word, not ours. */
export const jobsShape = {
  columns: {
    id: 'id',
    kind: 'word',
    key: 'name',
    payload: 'json',
    state: 'word',
    attempts: 'int',
    max_attempts: 'int',
    due_at: 'millis',
    leased_until: 'millis?',
    leased_by: 'id?',
    wanted: 'int',
    last_error: 'text?',
    created_at: 'millis',
    finished_at: 'millis?',
  },
  primary: ['id'],
  computed: { unfinished_key: ['name', "case when {state} in ('queued', 'running') then {key} end"] },
  unique: [['kind', 'unfinished_key']],
} as const satisfies TableShape

export interface NewJob {
  readonly kind: string
  /** What it is about; a second one of the same kind and key joins the first while that is unfinished. */
  readonly key: string
  readonly payload?: unknown
  /** ms since the epoch; default now. */
  readonly due_at?: number
}

export interface Job {
  readonly id: string
  readonly kind: string
  readonly key: string
  readonly payload: unknown
  /** 1 at the first run. */
  readonly attempt: number
}
