import { type Static, Type } from 'typebox'
import { allowedNames, isAllowed } from './extensions.ts'
import { majorOf } from './majors.ts'

/**
 * What a manifest may say of a project's `db`. Sizes in MiB, times in ms unless the name says otherwise; 0 is "no limit" where allowed.
 * `sleep_after` absent: the installation's default; 0: never sleeps.
 */
export const PostgresSpec = Type.Object(
  {
    version: Type.Optional(
      Type.String({ pattern: '^1[89](\\.\\d+)?$', description: 'PostgreSQL version; the major must be the installed one.' }),
    ),
    extensions: Type.Optional(
      Type.Array(Type.String({ pattern: '^[a-z][a-z0-9_-]{0,62}$' }), {
        maxItems: 40,
        uniqueItems: true,
        description: 'Extensions made in the schema `extensions` at the next wake (and preloaded where they need it).',
      }),
    ),
    connections: Type.Integer({ minimum: 2, maximum: 1000, default: 30, description: 'Connections on the wire protocol.' }),
    statement_timeout: Type.Integer({ minimum: 0, maximum: 3_600_000, default: 15_000, description: 'ms; each request on the API path.' }),
    wire_statement_timeout: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 600_000,
      description: 'ms; a statement on the wire protocol that runs longer is ended by a watchdog.',
    }),
    wire_idle_transaction_timeout: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 600_000,
      description: 'ms; a wire connection that holds a transaction open without a statement for longer is ended.',
    }),
    memory: Type.Integer({ minimum: 0, maximum: 1_048_576, default: 512, description: 'MiB for the whole cluster; 0: none.' }),
    shared_buffers: Type.Integer({ minimum: 1, maximum: 65_536, default: 8, description: 'MiB of the buffer cache.' }),
    work_mem: Type.Integer({
      minimum: 1,
      maximum: 4096,
      default: 4,
      description: 'MiB a sort or hash may take before it uses temp files.',
    }),
    temp_files: Type.Integer({
      minimum: 0,
      maximum: 1_048_576,
      default: 1024,
      description: 'MiB of temp files a connection; 0: none allowed at all.',
    }),
    disk: Type.Integer({ minimum: 0, maximum: 16_777_216, default: 1024, description: 'MiB on disk; 0: none.' }),
    open_grants: Type.Boolean({
      default: false,
      description:
        'Grant anon and authenticated all on new tables of `public`, as Supabase projects start with (imports need it). Row-level security must then guard every table.',
    }),
    sleep_after: Type.Optional(Type.Integer({ minimum: 0, maximum: 31_536_000, description: 'Seconds without a statement; 0: never.' })),
    keep_idle_connections: Type.Boolean({ default: false, description: 'Open but idle wire connections keep the cluster awake.' }),
  },
  { additionalProperties: false },
)

/** A spec with its defaults filled in. */
export type PostgresSpec = Static<typeof PostgresSpec>

/** Every default; what a stored spec leaves out is taken from here. */
export const SPEC_DEFAULTS: PostgresSpec = {
  connections: 30,
  statement_timeout: 15_000,
  wire_statement_timeout: 600_000,
  wire_idle_transaction_timeout: 600_000,
  memory: 512,
  shared_buffers: 8,
  work_mem: 4,
  temp_files: 1024,
  disk: 1024,
  open_grants: false,
  keep_idle_connections: false,
}

/** The spec in force: what is stored may be older than a key of ours, so defaults are filled in here and nowhere else. */
export const fullSpec = (spec: Partial<PostgresSpec>): PostgresSpec => ({ ...SPEC_DEFAULTS, ...spec })

/** A cluster of ours does not get ready in less. */
const LEAST_MEMORY = 32
/** MiB that a cluster takes beside its buffers. */
const BESIDE_BUFFERS = 24

/** Why a spec could not run on programs of that version, or would be nothing of what it says; undefined: it can. */
export function refusedSpec(spec: Partial<PostgresSpec>, version: string): string | undefined {
  const { memory, shared_buffers, extensions = [], version: wanted } = fullSpec(spec)
  const stranger = extensions.find((name) => !isAllowed(name))
  if (stranger !== undefined) return `the extension ${stranger} is not one of ${allowedNames().join(', ')}`
  if (wanted !== undefined && majorOf(wanted) !== majorOf(version))
    return `version: the programs here are of PostgreSQL ${majorOf(version)}`
  if (memory === 0) return
  if (memory < LEAST_MEMORY) return `memory: ${LEAST_MEMORY} at least, or 0 for no limit`
  if (memory < shared_buffers + BESIDE_BUFFERS) return `shared_buffers: with ${memory} of memory, ${memory - BESIDE_BUFFERS} at most`
}
