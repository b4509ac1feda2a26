import { type Kysely, MysqlAdapter } from 'kysely'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, rowOf } from './fields.ts'
import type { RealmIdentity, RealmUser, UserStore } from './types.ts'
import { emailOf, IDENTITY, USER } from './users.ts'

/** Rows of one statement: so many that its way there and back counts for little, so few that its text stays small. */
const ROWS = 100

function* parts<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += ROWS) yield all.slice(at, at + ROWS)
}

/** Many people in few statements. */
export const bulk = (db: Kysely<Tables>, codec: Codec): Pick<UserStore, 'takenOf' | 'insertUsers' | 'insertIdentities'> => {
  const mysql = db.getExecutor().adapter instanceof MysqlAdapter
  const insert = async (table: 'auth_users' | 'auth_identities', rows: readonly object[]): Promise<void> => {
    const made = db.insertInto(table).values(rows as never)
    await (mysql ? made.ignore() : made.onConflict((conflict) => conflict.doNothing())).execute()
  }
  const found = async (column: 'id' | 'email' | 'phone', values: readonly string[], into: Set<string>): Promise<void> => {
    for (const some of parts(values)) {
      const query = db
        .selectFrom('auth_users')
        .select(column)
        .where(column, 'in', [...some])
      const rows = await (column === 'email' ? query.where(codec.ofNoProvider) : query).execute()
      for (const row of rows) into.add(String((row as Record<string, unknown>)[column]))
    }
  }
  return {
    async takenOf({ ids, emails, phones }) {
      const taken = new Set<string>()
      await Promise.all([found('id', ids, taken), found('email', emails, taken), found('phone', phones, taken)])
      return taken
    },
    async insertUsers(users) {
      for (const some of parts(users))
        await insert(
          'auth_users',
          some.map((user: RealmUser) => rowOf(USER, user, codec)),
        )
      const there = new Set<string>()
      await found(
        'id',
        users.map(({ id }) => id),
        there,
      )
      return there
    },
    async insertIdentities(identities) {
      const row = (identity: RealmIdentity) => ({
        ...(rowOf(IDENTITY, identity, codec) as object),
        ...(codec.writesIdentityEmail ? { email: emailOf(identity.data) } : {}),
      })
      for (const some of parts(identities)) await insert('auth_identities', some.map(row))
    },
  }
}
