import type { Json } from '../store/types.ts'

/** Who somebody is at a provider, in our words. */
export interface Profile {
  readonly id: string
  readonly email: string | null
  readonly verified: boolean
  /** Without `sub`, `iss` and what is said of the address. */
  readonly claims: Json
}

/** What a provider answers: the account, and what further requests of the preset gave. */
export interface Answers {
  readonly main: Json
  readonly more: unknown
}

export type Parse = (answers: Answers) => Profile

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const object = (value: unknown): Json => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {})
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const idOf = (value: unknown): string => (typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : (text(value) ?? ''))

interface Names {
  readonly name?: unknown
  readonly user?: unknown
  readonly picture?: unknown
}

/** The names that applications read: GoTrue's. */
function named({ name, user, picture }: Names): Json {
  const [n, u, p] = [text(name), text(user), text(picture)]
  return {
    ...(n === undefined ? {} : { name: n, full_name: n }),
    ...(u === undefined ? {} : { user_name: u, preferred_username: u }),
    ...(p === undefined ? {} : { avatar_url: p, picture: p }),
  }
}

function profile(id: unknown, email: unknown, verified: boolean, names: Names): Profile {
  const address = text(email)?.toLowerCase() ?? null
  return { id: idOf(id), email: address, verified: verified && address !== null, claims: named(names) }
}

/** Claims of OpenID Connect Core 1.0 §5.1 that are handed on; all else a provider says stays with it. */
const STANDARD = ['given_name', 'family_name', 'middle_name', 'nickname', 'locale', 'zoneinfo', 'gender', 'birthdate', 'profile', 'website']

const isTrue = (value: unknown): boolean => value === true || value === 'true'

export interface OidcWish {
  /** Addresses count as verified whatever the claims say, or only by this. */
  readonly verified?: (claims: Json) => boolean
  /** Further claims that are kept under `custom_claims`. */
  readonly custom?: readonly string[]
}

export const oidcProfile =
  ({ verified = ({ email_verified }) => isTrue(email_verified), custom = [] }: OidcWish = {}): Parse =>
  ({ main }) => {
    const name =
      text(main.name) ?? ([text(main.given_name), text(main.family_name ?? main.usual_name)].filter(Boolean).join(' ') || undefined)
    const base = profile(main.sub, main.email, verified(main), { name, user: main.preferred_username, picture: main.picture })
    const kept = Object.fromEntries(STANDARD.filter((key) => text(main[key]) !== undefined).map((key) => [key, main[key]]))
    const own = Object.fromEntries(custom.filter((key) => main[key] !== undefined).map((key) => [key, main[key]]))
    return { ...base, claims: { ...kept, ...base.claims, ...(Object.keys(own).length === 0 ? {} : { custom_claims: own }) } }
  }

export const bitbucket: Parse = ({ main, more }) => {
  const emails = list(object(more).values).map(object)
  const own =
    emails.find((each) => each.is_primary === true && each.is_confirmed === true) ?? emails.find((each) => each.is_confirmed === true)
  const avatar = object(object(main.links).avatar).href
  return profile(main.uuid, own?.email, own !== undefined, { name: main.display_name, user: main.username, picture: avatar })
}

export const discord: Parse = ({ main }) => {
  const picture = text(main.avatar) ? `https://cdn.discordapp.com/avatars/${idOf(main.id)}/${main.avatar}.png` : undefined
  return profile(main.id, main.email, main.verified === true, { name: main.global_name ?? main.username, user: main.username, picture })
}

export const facebook: Parse = ({ main }) =>
  profile(main.id, main.email, true, { name: main.name, picture: object(object(main.picture).data).url })

export const figma: Parse = ({ main }) => profile(main.id, main.email, true, { name: main.handle, picture: main.img_url })

export const fly: Parse = ({ main }) => profile(main.user_id, main.email, true, { name: main.user_name })

export const github: Parse = ({ main, more }) => {
  const verified = list(more)
    .map(object)
    .filter((each) => each.verified === true)
  const own = verified.find((each) => each.primary === true) ?? verified[0]
  return profile(main.id, own?.email, own !== undefined, { name: main.name ?? main.login, user: main.login, picture: main.avatar_url })
}

export const kakao: Parse = ({ main }) => {
  const account = object(main.kakao_account)
  const { nickname, profile_image_url } = object(account.profile)
  const verified = account.is_email_valid === true && account.is_email_verified === true
  return profile(main.id, account.email, verified, { name: nickname, user: nickname, picture: profile_image_url })
}

export const notion: Parse = ({ main }) => {
  const { user } = object(object(main.bot).owner)
  const { id, name, avatar_url, person } = object(user)
  return profile(id, object(person).email, true, { name, picture: avatar_url })
}

export const spotify: Parse = ({ main }) =>
  profile(main.id, main.email, false, { name: main.display_name, picture: object(list(main.images)[0]).url })

export const twitter: Parse = ({ main }) => {
  const { id, name, username, profile_image_url, confirmed_email } = object(main.data)
  return profile(id, confirmed_email, true, { name, user: username, picture: profile_image_url })
}

/** WorkOS answers the account beside the token. */
export const workos: Parse = ({ main }) => {
  const account = object(main.profile)
  const name = [text(account.first_name), text(account.last_name)].filter(Boolean).join(' ')
  const found = profile(account.id, account.email, true, { name })
  const { connection_id, organization_id } = account
  return { ...found, claims: { ...found.claims, custom_claims: { connection_id, organization_id } } }
}

export const zoom: Parse = ({ main }) => {
  const name = [text(main.first_name), text(main.last_name)].filter(Boolean).join(' ')
  return profile(main.id, main.email, main.verified === 1, { name, picture: main.pic_url })
}

/** A custom OAuth 2.0 provider: fields of its answer by the project's own mapping. `a.b` leads into an object. */
export const mapped =
  (mapping: Readonly<Record<string, string>>, custom: readonly string[]): Parse =>
  ({ main }) => {
    const at = (path: string): unknown => path.split('.').reduce<unknown>((value, key) => object(value)[key], main)
    const get = (name: string, otherwise = name): unknown => at(mapping[name] ?? otherwise)
    const names = { name: get('name'), user: get('preferred_username'), picture: get('picture') ?? at('avatar_url') }
    const id = mapping.sub === undefined ? (main.sub ?? main.id) : at(mapping.sub)
    const base = profile(id, get('email'), isTrue(get('email_verified')), names)
    const own = Object.fromEntries(custom.filter((key) => main[key] !== undefined).map((key) => [key, main[key]]))
    return { ...base, claims: { ...base.claims, ...(Object.keys(own).length === 0 ? {} : { custom_claims: own }) } }
  }
