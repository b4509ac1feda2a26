/** Names that two take at once, on the three metadata databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachMetadata } from '../../../../test/databases.ts'
import type { Actor } from '../metadata/change.ts'
import { insertOrganisation, updateOrganisation } from './organisations/store.ts'
import { insertProject, markDeleted, markRestored, updateProject } from './projects/store.ts'

const actor: Actor = { id: 'test', kind: 'system', ip: null, requestId: null }

/** How each of the attempts ended: `done`, or its error's code; sorted. */
const endings = async (attempts: readonly Promise<unknown>[]): Promise<string[]> =>
  (
    await Promise.all(
      attempts.map((attempt) =>
        attempt.then(
          () => 'done',
          (error: { code: string }) => error.code,
        ),
      ),
    )
  ).sort()

eachMetadata((_name, open) => {
  test('of two organisations with one name at once one is made', async () => {
    const on = await open()
    const make = () => on.change(actor, (c) => insertOrganisation(c, { name: 'same', title: 'Same', now: 1 }))
    assert.deepEqual(await endings([make(), make(), make()]), ['done', 'name_taken', 'name_taken'])
    const ids = [await on.change(actor, (c) => insertOrganisation(c, { name: 'a', title: 'A', now: 1 }))]
    ids.push(await on.change(actor, (c) => insertOrganisation(c, { name: 'b', title: 'B', now: 1 })))
    const rename = ids.map((id) => on.change(actor, (c) => updateOrganisation(c, id, { name: 'c' }, 2)))
    assert.deepEqual(await endings(rename), ['done', 'name_taken'])
  })

  test('of two projects with one name at once one is made, renamed, brought back', async () => {
    const on = await open()
    const organisation = await on.change(actor, (c) => insertOrganisation(c, { name: 'o', title: 'O', now: 1 }))
    const make = (name: string) => on.change(actor, (c) => insertProject(c, { organisation, name, region: 'local', labels: {} }, 1))
    assert.deepEqual(await endings([make('same'), make('same'), make('same')]), ['done', 'name_taken', 'name_taken'])
    const refs = [await make('a'), await make('b')]
    const rename = refs.map((ref) => on.change(actor, (c) => updateProject(c, ref, { name: 'c' }, { now: 2 })))
    assert.deepEqual(await endings(rename), ['done', 'name_taken'])
    for (const ref of refs) await on.change(actor, (c) => markDeleted(c, ref, 99, 3))
    const restore = refs.map((ref) => on.change(actor, (c) => markRestored(c, ref, 'd', 4)))
    assert.deepEqual(await endings(restore), ['done', 'name_taken'])
  })
})
