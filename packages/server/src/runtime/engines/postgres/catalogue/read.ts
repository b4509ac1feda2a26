import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type pg from 'pg'
import {
  type Argument,
  type Catalogue,
  type Column,
  type DomainCasts,
  type ForeignKey,
  handlerKey,
  type MediaHandler,
  type Policy,
  type Routine,
  type Schema,
  type Table,
} from './types.ts'
import { keyOf, type RawView, tracedKeys, tracedPrimaryKey, traceViews } from './views.ts'

type Bit = 0 | 1
type RawColumn = [
  name: string,
  type: string,
  notNull: Bit,
  initial: string | null,
  generated: string,
  identity: string,
  base: string | null,
  enumType: string | null,
  comment: string | null,
]
type RawPolicy = [name: string, command: string, roles: string[] | null]
type RawTable = [
  schema: string,
  name: string,
  kind: string,
  columns: RawColumn[] | null,
  primaryKey: string[] | null,
  uniques: string[][] | null,
  rls: Bit,
  forced: Bit,
  policies: RawPolicy[] | null,
  grants: Record<string, string> | null,
  writable: number,
  comment: string | null,
]
type RawKey = [
  name: string,
  schema: string,
  table: string,
  foreignSchema: string,
  foreignTable: string,
  columns: string[],
  foreignColumns: string[],
]
type RawArgument = [name: string, type: string, optional: Bit, variadic: Bit]
type RawRoutine = [
  schema: string,
  name: string,
  args: RawArgument[],
  volatility: 'i' | 's' | 'v',
  returns: 'v' | 's' | 'c',
  returnSchema: string,
  returnType: string,
  returnsSet: Bit,
  rows: number,
  execute: string[] | null,
  comment: string | null,
  settings: Record<string, string> | null,
]
interface Raw {
  version: number
  cut?: boolean
  schemas: [name: string, usage: string[] | null, comment: string | null][] | null
  tables: RawTable[] | null
  views: RawView[] | null
  foreignKeys: RawKey[] | null
  functions: RawRoutine[] | null
  enums: Record<string, string[]> | null
  domains: Record<string, string> | null
  settings: Record<string, string> | null
  handlers: RawHandler[] | null
  representations: Record<string, string> | null
  geoJson: string | null
  roleSettings: Record<string, Record<string, string>> | null
}
type RawHandler = [schema: string, name: string, targetSchema: string, target: string, type: string, binary: Bit, aggregate: Bit]

const QUERY = readFileSync(new URL('./query.sql', import.meta.url), 'utf8')
/** Of the query's own text: what another version of it answered is not read. */
export const QUERY_MARK = createHash('sha256').update(QUERY).digest('base64url').slice(0, 16)
/** Bytes of a catalogue's text, some 50,000 tables: the owner of a cluster alone says how large it is, and the server serves others too. */
export const MAX_TEXT = 24 * 1024 * 1024
/** With the digest of what the asker has: an unchanged catalogue costs one hash and no transfer. */
const UNLESS = `select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as xid, pg_catalog.md5(c.catalogue) as digest,
  case when pg_catalog.md5(c.catalogue) is not distinct from $1 then null
    when pg_catalog.octet_length(c.catalogue) > $2::int then pg_catalog.json_build_object('version', pg_catalog.current_setting('server_version_num')::int, 'cut', true)::text
    else c.catalogue end as catalogue from (${QUERY}) c`

/**
 * Reads the catalogue in one query. `client` signs in as sovrabase_admin; its search_path is set to pg_catalog and stays so.
 * `known` was read on this client: returned itself where nothing changed.
 */
export async function readCatalogue(client: pg.Client, known?: Catalogue, most = MAX_TEXT): Promise<Catalogue> {
  return (await readSeen(client, known, most)).catalogue
}

export interface Seen {
  readonly catalogue: Catalogue
  /** Next transaction of the cluster at that moment. */
  readonly xid: string
  /** Null where nothing changed. */
  readonly text: string | null
}

/** The same, with what is kept of it on disk. */
export async function readSeen(client: pg.Client, known?: Catalogue, most = MAX_TEXT): Promise<Seen> {
  if (known === undefined) await client.query(`select pg_catalog.set_config('search_path', 'pg_catalog', false)`)
  const result = await client.query<{ xid: string; digest: string; catalogue: string | null }>({
    text: UNLESS,
    values: [known?.digest ?? null, most],
  })
  const { xid, digest, catalogue: text } = result.rows[0]!
  if (text === null && known !== undefined) return { catalogue: known, xid, text }
  return { catalogue: await buildCatalogue(digest, text!), xid, text }
}

/** ms of one turn of the event loop. */
const TURN_MS = 8
const LOOK_AT = 64

/** `make` of each, in turns: what a large schema takes is nobody else's waiting. */
async function inTurns<T, R>(items: readonly T[], make: (item: T) => R): Promise<R[]> {
  const made: R[] = []
  let since = performance.now()
  for (const item of items) {
    made.push(make(item))
    if (made.length % LOOK_AT !== 0 || performance.now() - since < TURN_MS) continue
    await setImmediate()
    since = performance.now()
  }
  return made
}

/** Pure: the value of a text that query.sql returned. Equal texts and lists are shared, so that 10,000 columns stay small. */
export async function buildCatalogue(digest: string, text: string): Promise<Catalogue> {
  const raw = JSON.parse(text) as Raw
  const share = sharer()
  const keys = keysOf(raw)
  const tables = group(await inTurns(raw.tables ?? [], (table) => toTable(table, keys, share)), (table) => table.schema)
  const routines = group(await inTurns(raw.functions ?? [], (routine) => toRoutine(routine, share)), (routine) => routine.schema)
  const schemas = new Map<string, Schema>()
  for (const [name, usage, comment] of raw.schemas ?? []) {
    schemas.set(name, {
      name,
      usage: usage ?? NONE,
      comment,
      tables: new Map((tables.get(name) ?? []).map((table) => [table.name, table])),
      functions: group(routines.get(name) ?? [], (routine) => routine.name),
    })
  }
  return {
    digest,
    version: raw.version,
    schemas,
    enums: new Map(Object.entries(raw.enums ?? {})),
    domains: new Map(Object.entries(raw.domains ?? {})),
    settings: raw.settings ?? {},
    handlers: new Map((raw.handlers ?? []).map(toHandler)),
    geoJson: raw.geoJson,
    roleSettings: raw.roleSettings ?? {},
    cut: raw.cut === true,
  }
}

interface Keys {
  readonly from: ReadonlyMap<string, ForeignKey[]>
  readonly to: ReadonlyMap<string, ForeignKey[]>
  readonly ofViews: ReadonlyMap<string, readonly string[]>
  readonly casts: Readonly<Record<string, string>>
  readonly domains: Readonly<Record<string, string>>
}

function keysOf(raw: Raw): Keys {
  const tables = new Map((raw.tables ?? []).map((table) => [keyOf(table[0], table[1]), table]))
  const views = traceViews(raw.views ?? [])
  const own = (raw.foreignKeys ?? []).map((key) => toForeignKey(key, tables.get(keyOf(key[1], key[2]))))
  const all = [...own, ...tracedKeys(own, views)]
  return {
    casts: raw.representations ?? {},
    domains: raw.domains ?? {},
    from: group(all, (key) => keyOf(key.schema, key.table)),
    to: group(all, (key) => keyOf(key.foreignSchema, key.foreignTable)),
    ofViews: new Map(
      views.map((view) => [keyOf(view.schema, view.name), tracedPrimaryKey(view, (table) => tables.get(table)?.[4] ?? NONE)]),
    ),
  }
}

const sameSet = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((item) => b.includes(item))

const NONE: readonly string[] = []
const NO_KEYS: readonly ForeignKey[] = []
const NO_POLICIES: readonly Policy[] = []

function group<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const list = groups.get(key)
    if (list) list.push(item)
    else groups.set(key, [item])
  }
  return groups
}

type Share = <T extends string | null>(text: T) => T
function sharer(): Share {
  const seen = new Map<string, string>()
  return <T extends string | null>(text: T): T => {
    if (text === null) return text
    const known = seen.get(text)
    if (known !== undefined) return known as T
    seen.set(text, text)
    return text
  }
}

const toHandler = ([schema, name, targetSchema, target, type, binary, aggregate]: RawHandler): [string, MediaHandler] => [
  handlerKey(type, targetSchema, target),
  { schema, name, type, binary: binary === 1, aggregate: aggregate === 1 },
]

const toForeignKey = (
  [name, schema, table, foreignSchema, foreignTable, columns, foreignColumns]: RawKey,
  from?: RawTable,
): ForeignKey => ({
  name,
  schema,
  table,
  columns,
  foreignSchema,
  foreignTable,
  foreignColumns,
  unique: [from?.[4] ?? NONE, ...(from?.[5] ?? [])].some((unique) => sameSet(unique, columns)),
  traced: false,
})

function castsOf(type: string, casts: Readonly<Record<string, string>>): DomainCasts | null {
  const [toJson, fromJson, fromText] = [`${type}>json`, `json>${type}`, `text>${type}`].map((key) => casts[key] ?? null)
  return toJson || fromJson || fromText ? { toJson: toJson ?? null, fromJson: fromJson ?? null, fromText: fromText ?? null } : null
}

/** What a domain holds in the end: domains may be of domains. */
function baseOf(base: string | null, domains: Readonly<Record<string, string>>): string | null {
  let found = base
  while (found !== null && Object.hasOwn(domains, found)) found = domains[found] ?? null
  return found
}

function toColumn(
  [name, type, notNull, initial, generated, identity, base, enumType, comment]: RawColumn,
  { casts, domains }: Keys,
  share: Share,
): Column {
  return {
    name: share(name),
    type: share(type),
    notNull: notNull === 1,
    default: share(initial),
    generated: generated !== '',
    identity: share(identity),
    base: share(baseOf(base, domains)),
    casts: base === null ? null : castsOf(type, casts),
    enum: share(enumType),
    comment,
  }
}

const toPolicy = ([name, command, roles]: RawPolicy): Policy => ({ name, command, roles: roles ?? NONE })

function toTable(raw: RawTable, keys: Keys, share: Share): Table {
  const [schema, name, kind, columns, primaryKey, uniques, rls, forced, policies, grants, writable, comment] = raw
  const key = keyOf(schema, name)
  return {
    schema: share(schema),
    name,
    kind: share(kind),
    columns: new Map((columns ?? []).map((column) => [column[0], toColumn(column, keys, share)])),
    primaryKey: primaryKey ?? keys.ofViews.get(key) ?? NONE,
    uniques: uniques ?? [],
    references: keys.from.get(key) ?? NO_KEYS,
    referencedBy: keys.to.get(key) ?? NO_KEYS,
    rowSecurity: rls === 1,
    rowSecurityForced: forced === 1,
    policies: policies?.map(toPolicy) ?? NO_POLICIES,
    grants: grants ?? {},
    insertable: (writable & 8) !== 0,
    updatable: (writable & 4) !== 0,
    deletable: (writable & 16) !== 0,
    comment,
  }
}

const VOLATILITY = { i: 'immutable', s: 'stable', v: 'volatile' } as const
const RETURNS = { v: 'void', s: 'scalar', c: 'composite' } as const

/** `character` and `bit` without a length would mean length 1 where an argument is named in a column list. */
const argumentType = (type: string) => type.replace(/^(character|bit)(?=$|\[)/, '$1 varying')

function toRoutine(raw: RawRoutine, share: Share): Routine {
  const [schema, name, args, volatility, returns, returnSchema, returnType, returnsSet, rows, execute, comment, settings] = raw
  return {
    schema: share(schema),
    name,
    volatility: VOLATILITY[volatility],
    returns: RETURNS[returns],
    returnSchema: share(returnSchema),
    returnType: share(returnType),
    returnsSet: returnsSet === 1,
    rows,
    execute: execute ?? NONE,
    comment,
    settings,
    args: args.map(
      ([arg, type, optional, variadic]): Argument => ({
        name: share(arg),
        type: share(argumentType(type)),
        optional: optional === 1 || variadic === 1,
        variadic: variadic === 1,
      }),
    ),
  }
}
