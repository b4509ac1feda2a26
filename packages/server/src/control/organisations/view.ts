import { Id, Name, Time } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'
import { type Organisation, organisationById } from './store.ts'

export const Body = Type.Object({
  id: Id,
  name: Name,
  title: Type.String(),
  created_at: Time,
  updated_at: Time,
})
export const Title = Type.String({ minLength: 1, maxLength: 200 })

export const view = (row: Organisation) => ({
  id: row.id,
  name: row.name,
  title: row.title,
  created_at: time(row.created_at),
  updated_at: time(row.updated_at),
})

/** `not_found`. */
export async function read(db: Control['db'], id: string) {
  const row = await organisationById(db, id)
  if (!row) throw fail('not_found')
  return row
}
