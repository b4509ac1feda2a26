import type { ProviderName } from '@sovrabase/contract/providers'
import type { Json } from '../store/types.ts'
import * as profiles from './profiles.ts'

/** How clients say who they are at the token endpoint (RFC 6749 §2.3.1). */
export type ClientAuth = 'post' | 'basic'

interface Common {
  readonly scopes: string
  readonly auth: ClientAuth
  readonly parse: profiles.Parse
  readonly params?: Readonly<Record<string, string>>
  /** The answer comes by POST, since the provider wants it so. */
  readonly formPost?: boolean
  /** People come without a verified address: the provider has none to give. */
  readonly emailOptional?: boolean
}

export interface OidcPreset extends Common {
  readonly kind: 'oidc'
  /** null: each installation has its own. */
  readonly issuer: string | null
  /** From the setting `url` to the issuer. */
  readonly issuerOf?: (url: string) => string
}

export interface OauthPreset extends Common {
  readonly kind: 'oauth2'
  readonly authorize: string
  readonly token: string
  /** null: the account comes with the token. */
  readonly account: string | null
  /** A further request whose answer the parser reads. */
  readonly more?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly pkce: boolean
}

export type Preset = OidcPreset | OauthPreset

const SCOPES = 'openid email profile'

const oidc = (issuer: string | null, more: Partial<OidcPreset> = {}): OidcPreset => ({
  kind: 'oidc',
  issuer,
  scopes: SCOPES,
  auth: 'post',
  parse: profiles.oidcProfile(),
  ...more,
})

type Endpoints = Pick<OauthPreset, 'authorize' | 'token' | 'account' | 'scopes' | 'parse'>
const oauth2 = (endpoints: Endpoints, more: Partial<OauthPreset> = {}): OauthPreset => ({
  kind: 'oauth2',
  auth: 'post',
  pkce: false,
  ...endpoints,
  ...more,
})

/** Tenants that anybody may be in: there an address is whatever the account's own tenant says ("nOAuth"). */
const SHARED_TENANTS = /^https:\/\/[^/]+\/(?:common|organizations|consumers|9188040d-6c67-4c5b-b112-36a304b66dad)(?:\/|$)/

const azureVerified =
  (url: string) =>
  ({ xms_edov }: Json): boolean =>
    xms_edov === undefined ? !SHARED_TENANTS.test(url) : xms_edov === true || xms_edov === 1 || xms_edov === '1' || xms_edov === 'true'

const AZURE = 'https://login.microsoftonline.com/common'
const TWITCH_CLAIMS = '{"userinfo":{"email":null,"email_verified":null,"picture":null,"preferred_username":null}}'
const GITHUB_HEADERS = { accept: 'application/vnd.github+json' }
const NOTION_HEADERS = { 'notion-version': '2022-06-28' }

/** The endpoints of a provider whose address is a setting. */
const at = (url: string | undefined, otherwise: string): string => (url ?? otherwise).replace(/\/+$/, '')

/** `url`: the setting, where the project named another address than the public one. */
export const PRESETS: Readonly<Record<ProviderName, (url: string | undefined) => Preset>> = {
  apple: (url) => oidc(at(url, 'https://appleid.apple.com'), { scopes: 'openid email name', formPost: true }),
  azure: (url) =>
    oidc(`${at(url, AZURE).replace(/\/v2\.0$/, '')}/v2.0`, {
      parse: profiles.oidcProfile({ verified: azureVerified(at(url, AZURE)), custom: ['tid', 'oid'] }),
    }),
  bitbucket: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://bitbucket.org')}/site/oauth2/authorize`,
        token: `${at(url, 'https://bitbucket.org')}/site/oauth2/access_token`,
        account: `${at(url, 'https://api.bitbucket.org')}/2.0/user`,
        scopes: 'account email',
        parse: profiles.bitbucket,
      },
      { more: `${at(url, 'https://api.bitbucket.org')}/2.0/user/emails`, auth: 'basic' },
    ),
  discord: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://discord.com')}/api/oauth2/authorize`,
        token: `${at(url, 'https://discord.com')}/api/oauth2/token`,
        account: `${at(url, 'https://discord.com')}/api/users/@me`,
        scopes: 'email identify',
        parse: profiles.discord,
      },
      { pkce: true },
    ),
  facebook: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://www.facebook.com')}/dialog/oauth`,
        token: `${at(url, 'https://graph.facebook.com')}/oauth/access_token`,
        account: `${at(url, 'https://graph.facebook.com')}/me?fields=email,first_name,last_name,name,picture`,
        scopes: 'email',
        parse: profiles.facebook,
      },
      { pkce: true },
    ),
  figma: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://www.figma.com')}/oauth`,
        token: `${at(url, 'https://api.figma.com')}/v1/oauth/token`,
        account: `${at(url, 'https://api.figma.com')}/v1/me`,
        scopes: 'current_user:read',
        parse: profiles.figma,
      },
      { auth: 'basic', pkce: true },
    ),
  fly: (url) =>
    oauth2({
      authorize: `${at(url, 'https://api.fly.io')}/oauth/authorize`,
      token: `${at(url, 'https://api.fly.io')}/oauth/token`,
      account: `${at(url, 'https://api.fly.io')}/oauth/token/info`,
      scopes: 'read',
      parse: profiles.fly,
    }),
  franceconnect: (url) =>
    oidc(at(url, 'https://oidc.franceconnect.gouv.fr/api/v2'), {
      scopes: 'openid email given_name family_name birthdate gender',
      params: { acr_values: 'eidas1' },
      // The address is what the person typed in somewhere: it joins nobody.
      parse: profiles.oidcProfile({ verified: () => false, custom: ['birthplace', 'birthcountry', 'preferred_username'] }),
      emailOptional: true,
    }),
  github: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://github.com')}/login/oauth/authorize`,
        token: `${at(url, 'https://github.com')}/login/oauth/access_token`,
        account: `${url === undefined ? 'https://api.github.com' : `${at(url, '')}/api/v3`}/user`,
        scopes: 'user:email',
        parse: profiles.github,
      },
      {
        more: `${url === undefined ? 'https://api.github.com' : `${at(url, '')}/api/v3`}/user/emails`,
        headers: GITHUB_HEADERS,
        pkce: true,
      },
    ),
  gitlab: (url) => oidc(at(url, 'https://gitlab.com')),
  google: (url) => oidc(at(url, 'https://accounts.google.com'), { parse: profiles.oidcProfile({ custom: ['hd'] }) }),
  kakao: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://kauth.kakao.com')}/oauth/authorize`,
        token: `${at(url, 'https://kauth.kakao.com')}/oauth/token`,
        account: `${at(url, 'https://kapi.kakao.com')}/v2/user/me`,
        scopes: 'account_email profile_image profile_nickname',
        parse: profiles.kakao,
      },
      { pkce: true },
    ),
  keycloak: (url) => oidc(url === undefined ? null : at(url, '')),
  linkedin_oidc: (url) => oidc(at(url, 'https://www.linkedin.com/oauth')),
  notion: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://api.notion.com')}/v1/oauth/authorize`,
        token: `${at(url, 'https://api.notion.com')}/v1/oauth/token`,
        account: `${at(url, 'https://api.notion.com')}/v1/users/me`,
        scopes: '',
        parse: profiles.notion,
      },
      { auth: 'basic', headers: NOTION_HEADERS, params: { owner: 'user' } },
    ),
  proconnect: (url) =>
    oidc(at(url, 'https://auth.agentconnect.gouv.fr/api/v2'), {
      scopes: 'openid email given_name usual_name uid siret',
      params: { acr_values: 'eidas1' },
      // Addresses of agents are the word of their administration.
      parse: profiles.oidcProfile({
        verified: () => true,
        custom: ['uid', 'siret', 'idp_id', 'organizational_unit', 'belonging_population'],
      }),
    }),
  slack_oidc: (url) => oidc(at(url, 'https://slack.com'), { parse: profiles.oidcProfile({ custom: ['https://slack.com/team_id'] }) }),
  spotify: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://accounts.spotify.com')}/authorize`,
        token: `${at(url, 'https://accounts.spotify.com')}/api/token`,
        account: `${at(url, 'https://api.spotify.com')}/v1/me`,
        scopes: 'user-read-email',
        parse: profiles.spotify,
      },
      { auth: 'basic', pkce: true, emailOptional: true },
    ),
  twitch: (url) => oidc(at(url, 'https://id.twitch.tv/oauth2'), { scopes: 'openid user:read:email', params: { claims: TWITCH_CLAIMS } }),
  twitter: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://x.com')}/i/oauth2/authorize`,
        token: `${at(url, 'https://api.x.com')}/2/oauth2/token`,
        account: `${at(url, 'https://api.x.com')}/2/users/me?user.fields=confirmed_email,profile_image_url`,
        scopes: 'users.read users.email tweet.read offline.access',
        parse: profiles.twitter,
      },
      { auth: 'basic', pkce: true },
    ),
  workos: (url) =>
    oauth2({
      authorize: `${at(url, 'https://api.workos.com')}/sso/authorize`,
      token: `${at(url, 'https://api.workos.com')}/sso/token`,
      account: null,
      scopes: '',
      parse: profiles.workos,
    }),
  zoom: (url) =>
    oauth2(
      {
        authorize: `${at(url, 'https://zoom.us')}/oauth/authorize`,
        token: `${at(url, 'https://zoom.us')}/oauth/token`,
        account: `${at(url, 'https://api.zoom.us')}/v2/users/me`,
        scopes: '',
        parse: profiles.zoom,
      },
      { auth: 'basic', pkce: true },
    ),
}
