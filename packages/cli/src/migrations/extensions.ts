import { substituteOf } from '@sovrabase/contract/extensions'
import type { Client } from 'pg'

/** An extension that a statement names. `lenient`: CREATE … IF NOT EXISTS, or only about it: without it the statement means nothing. */
export interface About {
  readonly name: string
  readonly lenient: boolean
}

const CREATE = /^create\s+extension\s+(if\s+not\s+exists\s+)?("?)([A-Za-z_][\w-]*)\2/i
const ABOUT = /^(?:comment\s+on|alter)\s+extension\s+("?)([A-Za-z_][\w-]*)\1/i

/** The extension that a statement makes or speaks of. */
export function extensionIn(statement: string): About | undefined {
  const create = CREATE.exec(statement)
  if (create) return { name: nameOf(create[3], create[2]), lenient: create[1] !== undefined }
  const about = ABOUT.exec(statement)
  return about ? { name: nameOf(about[2], about[1]), lenient: true } : undefined
}

/** In each dump of a database whose `public` is as PostgreSQL makes it: here it is the project's owner's, who has no less by it. */
const OWNER_OF_PUBLIC = /^alter\s+schema\s+("?)public\1\s+owner\s+to\s+("?)pg_database_owner\2$/i

/** Why a statement of another server's dump, which would be refused, means nothing here. */
export const settledHere = (statement: string): string | undefined =>
  OWNER_OF_PUBLIC.test(statement) ? 'the schema public belongs to postgres here, who may do the same' : undefined

const nameOf = (name = '', quote = ''): string => (quote === '"' ? name : name.toLowerCase())

/** Those of them that the cluster has not and we know a substitute of. */
export async function unavailable(client: Client, statements: readonly { readonly text: string }[]): Promise<Set<string>> {
  const names = statements.flatMap(({ text }) => extensionIn(text)?.name ?? []).filter((name) => substituteOf(name) !== undefined)
  if (names.length === 0) return new Set()
  const { rows } = await client.query<{ name: string }>(
    'select name::text as name from pg_catalog.pg_available_extensions where name = any ($1)',
    [names],
  )
  const there = new Set(rows.map(({ name }) => name))
  return new Set(names.filter((name) => !there.has(name)))
}
