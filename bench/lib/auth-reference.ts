/**
 * A refresh exchange without us: pgbench with the very statements, in the very transactions and round trips, that the server's own code sends.
 * They are not written down here but taken off that code's connection while it exchanges one token.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testRealm } from '@sovrabase/server/realms/auth/realm.testing'
import { refresh } from '@sovrabase/server/realms/auth/refresh'
import { clusterTransaction } from '@sovrabase/server/realms/cluster-store'
import { Connection } from '@sovrabase/server/runtime/engines/postgres/wire/connection'
import type { Exchange, Step } from '@sovrabase/server/runtime/engines/postgres/wire/exchange'
import { idOf, type People } from './auth-people.ts'
import { type PgbenchRound, pgbench } from './pgbench.ts'

/** Statements of each round trip. */
type Trips = readonly (readonly Step[])[]

/** What is sent while `work` runs. */
async function sentBy(work: () => Promise<unknown>): Promise<Trips> {
  const trips: Step[][] = []
  const send = Connection.prototype.send
  let open: Step[] | null = null
  Connection.prototype.send = function (this: Connection, exchange: Exchange) {
    if (open === null) {
      open = []
      trips.push(open)
      // Where the connection writes what lies in it.
      setImmediate(() => (open = null))
    }
    open.push(...exchange.steps)
    return send.call(this, exchange)
  }
  try {
    await work()
  } finally {
    Connection.prototype.send = send
  }
  return trips
}

const HASH = /^[0-9a-f]{64}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Tokens of one of pgbench's clients in one of its rounds: as long as a hash, and like none. */
const tokenOf = (n: string): string => `lpad(:round || 'r' || :k || 'k' || ${n}, 64, 'x')`
/** The one whose exchange is looked at; clients have their numbers from 1 on. */
const LOOKED_AT = 4_000

interface Looked {
  readonly hash: string
  readonly userId: string
  readonly sessionId: string
  readonly address: string
}

/** As pgbench writes a parameter of the exchange that was looked at; `constant` keeps a text. */
function expressionOf(param: Step['params'][number], of: Looked, constant: (text: string) => string): string {
  const text = param === null ? null : String(param)
  if (text === null) return 'null'
  // No variable of pgbench's is empty.
  if (text === '') return `''`
  if (text === of.hash) return tokenOf(':n')
  if (HASH.test(text)) return tokenOf(':next')
  if (text === of.userId) return idOf('user', ':k')
  if (text === of.sessionId) return idOf('session', ':k')
  if (UUID.test(text)) return 'gen_random_uuid()'
  if (text.endsWith(of.address)) return `${constant(text)} || :k`
  return constant(text)
}

export interface Reference {
  readonly statements: number
  readonly trips: number
  run(seconds: number): Promise<PgbenchRound>
  stop(): void
}

async function look(people: People): Promise<{ trips: Trips; of: Looked }> {
  const { pool, client } = people
  const realm = testRealm((fn) => clusterTransaction({ pool }, fn), { rates: { refreshes: 1_000_000 } as never })
  realm.at = Date.now()
  const text = `a token that is looked at: ${LOOKED_AT}`
  await people.giveToken(LOOKED_AT, text)
  const trips = await sentBy(() => refresh(realm, text))
  const ids = `select ${idOf('user', '$1::int')} as user, ${idOf('session', '$1::int')} as session`
  const { rows } = await client.query<{ user: string; session: string }>(ids, [LOOKED_AT])
  const hash = createHash('sha256').update(text).digest('hex')
  return { trips, of: { hash, userId: rows[0]!.user, sessionId: rows[0]!.session, address: realm.caller.ip ?? '' } }
}

/** As many clients as there are connections to us, each a user with a session and an address of their own. */
export async function refreshReference(people: People, clients: number): Promise<Reference> {
  const { trips, of } = await look(people)
  // Where pgbench prepares its statements the role is not set yet. What they may do is the role's all the same.
  await people.client.query('grant usage on schema auth, sovrabase to sovrabase_gateway')
  const variables = new Map<string, string>()
  const constant = (text: string): string => {
    const name = `v${variables.size}`
    variables.set(name, text)
    return `:${name}`
  }
  const textOf = ({ sql, params }: Step): string =>
    sql.replaceAll(/\$(\d+)/g, (_, at: string) => expressionOf(params[Number(at) - 1] ?? null, of, constant)).replaceAll(/\s*\n\s*/g, ' ')
  const script = trips.map((steps) => ['\\startpipeline', ...steps.map((step) => `${textOf(step)};`), '\\endpipeline', ''].join('\n'))
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-auth-'))
  const file = join(folder, 'refresh')
  writeFileSync(file, `\\set k :client_id + 1\n\\set next :n + 1\n${script.join('')}\\set n :next\n`)
  let round = 0
  return {
    statements: trips.flat().length,
    trips: trips.length,
    async run(seconds) {
      round++
      for (let k = 1; k <= clients; k++) await people.addToken(k, `${round}r${k}k1`.padStart(64, 'x'))
      const given = new Map([...variables, ['n', '1'], ['round', String(round)]])
      return pgbench(people.cluster, { clients, seconds, files: [file], variables: given })
    },
    stop: () => rmSync(folder, { recursive: true, force: true }),
  }
}
