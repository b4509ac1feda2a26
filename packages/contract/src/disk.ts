import { Type } from 'typebox'

const Bytes = Type.Integer({ minimum: 0, description: 'Bytes' })

/** GET /v1/disk */
export const Disk = Type.Object({
  free: Bytes,
  total: Bytes,
  reserve: Type.Integer({ description: 'Bytes that must stay free; below, creates and big writes are refused with disk_low' }),
  low: Type.Boolean(),
  kinds: Type.Object({
    projects: Bytes,
    trash: Bytes,
    packed: Bytes,
    kept: Bytes,
    wal: Bytes,
    cluster_logs: Bytes,
    logs: Bytes,
    metadata: Bytes,
  }),
  freeable: Type.Array(
    Type.Object({
      kind: Type.Union([Type.Literal('trash'), Type.Literal('orphans'), Type.Literal('kept')]),
      bytes: Bytes,
      count: Type.Integer(),
    }),
  ),
  orphans: Type.Array(Type.Object({ volume: Type.String(), bytes: Bytes }), { description: 'Volumes that belong to no project' }),
  projects: Type.Array(
    Type.Object({
      ref: Type.String(),
      name: Type.String(),
      organisation: Type.String(),
      state: Type.Union([Type.Literal('active'), Type.Literal('deleted')]),
      purge_at: Type.Union([Type.String(), Type.Null()]),
      packed: Type.Boolean({ description: 'It has slept for long: disk.cold' }),
      /** `kept`: directories of a former major of its PostgreSQL, until `sovra upgrade --confirm`. */
      bytes: Type.Object({ total: Bytes, wal: Bytes, log: Bytes, kept: Bytes }),
    }),
  ),
})
