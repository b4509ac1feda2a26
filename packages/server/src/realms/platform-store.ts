import type { Kysely } from 'kysely'
import type { Tables } from '../metadata/tables.ts'
import { PLAIN } from './store/fields.ts'
import { sqlStore } from './store/sql-store.ts'
import type { RealmStore } from './store/types.ts'

/** The platform realm's people, over a handle or a transaction of the metadata database. */
export const platformStore = (db: Kysely<Tables>): RealmStore => sqlStore(db, PLAIN)
