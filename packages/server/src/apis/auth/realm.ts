import type { AuthSettings } from '@sovrabase/contract/auth'
import type { FastifyRequest } from 'fastify'
import type { Realm } from '../../realms/auth/realm.ts'
import { rulesOf } from '../../realms/auth/rules.ts'
import { currentKey } from '../../realms/keys.ts'
import { CLOCK_SKEW } from '../../realms/tokens.ts'
import type { AuthOptions, RealmContext } from './options.ts'

/** Where the API of a realm is. */
export const apiOf = ({ api, issuer }: RealmContext): string => api ?? issuer

/** The realm of a request's project. Nothing is woken until its people are asked for. */
export function realmOf(options: AuthOptions, request: FastifyRequest): Realm {
  const project = options.project(request)
  const rules = rulesOf(project.settings.auth as AuthSettings | undefined)
  const { now, hasher } = options
  const people = options.people(request)
  const header = request.headers['accept-language']
  return {
    url: project.url,
    issuer: project.issuer,
    api: apiOf(project),
    rules,
    key: currentKey(project.keys, 'user'),
    pepper: currentKey(project.keys, 'url').key,
    hasher: hasher.of(project.issuer),
    now,
    caller: { ip: request.ip, userAgent: request.headers['user-agent'] ?? null, requestId: request.id, language: header ?? null },
    administers: options.administers(request),
    fetch: options.fetch,
    leaked: options.leaked,
    languages: options.languages,
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    ...people,
    // A token that was signed an instant before lives as long as one can.
    deny: (ids) => people.deny(ids, now() + (rules.jwt_expiry + CLOCK_SKEW) * 1000),
    poke: () => options.poke(project.ref),
  }
}
