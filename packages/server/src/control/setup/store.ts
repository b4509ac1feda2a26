import { safeEqual } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { randomToken } from '../../base/ids.ts'
import type { Actor } from '../../metadata/change.ts'
import { claimFact, getFact, setFact } from '../../metadata/facts.ts'
import type { Caller, MemberSession } from '../../realms/platform.ts'
import type { Control } from '../context.ts'
import { insertMembership } from '../members/store.ts'
import { insertOrganisation } from '../organisations/store.ts'

const FACT = 'setup.link'
const CONTEXT = 'facts/setup.link'
const DONE = 'setup.done'

type Parts = Pick<Control, 'db' | 'change' | 'vault'>

const SETUP: Actor = { id: 'setup', kind: 'setup', ip: null, requestId: null }

/** The set-up link's secret while nobody has used it: the same at each start; null once the installation has its first administrator. */
export async function setupSecret({ db, change, vault }: Parts): Promise<string | null> {
  const known = await getFact<string>(db, FACT)
  if (known !== undefined) return known === '' ? null : vault.open(known, CONTEXT)
  const text = randomToken(24)
  return change(SETUP, async (c) => {
    if (await c.trx.selectFrom('auth_users').select('id').executeTakeFirst()) return null
    await setFact(c.trx, FACT, vault.seal(text, CONTEXT))
    return text
  })
}

/** `setup_done` or `link_not_valid` for a wrong or used link. */
export async function checkSetup(parts: Parts, text: string): Promise<void> {
  const secret = await setupSecret(parts)
  if (secret === null) throw fail('setup_done')
  if (!safeEqual(secret, text)) throw fail('link_not_valid')
}

/** A slug of a title: letters of any alphabet that Unicode can reduce to a–z. */
export function slugOf(title: string): string {
  const slug = title
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '')
  return slug === '' ? 'organisation' : slug
}

export interface FirstAdministrator {
  readonly token: string
  readonly email: string
  readonly password: string
  readonly organisation: string
}

/**
 * Makes the first administrator and the organisation, once. An organisation of that name without any member (the demo's) becomes theirs.
 * `setup_done`, `link_not_valid`, `email_malformed`, `password_too_weak`.
 */
export async function setUp(
  control: Control,
  given: FirstAdministrator,
  caller: Caller,
): Promise<{ session: MemberSession; organisation: string }> {
  const { change, realm, now } = control
  await checkSetup(control, given.token)
  const passwordHash = await realm.hashPassword(given.password)
  const name = slugOf(given.organisation)
  return change({ ...SETUP, ip: caller.ip, requestId: caller.requestId }, async (c) => {
    // Of two at once the second waits here for the first.
    if (!(await claimFact(c.trx, DONE)) || (await getFact<string>(c.trx, FACT)) === '') throw fail('setup_done')
    await setFact(c.trx, FACT, '')
    const user = await realm.createUser(c, { email: given.email, passwordHash, admin: true })
    const bind = (organisation: string) => insertMembership(c, { organisation, project: null, user: user.id, role: 'owner' }, now())
    const orphans = await c.trx.selectFrom('organisations').select(['id', 'name']).where('deleted_at', 'is', null).execute()
    for (const orphan of orphans) await bind(orphan.id)
    if (!orphans.some((orphan) => orphan.name === name))
      await bind(await insertOrganisation(c, { name, title: given.organisation.trim(), now: now() }))
    await c.event({ name: 'platform.set_up', subject: user.id })
    return { session: await realm.openSession(c, user, caller), organisation: name }
  })
}
