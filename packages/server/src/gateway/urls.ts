/** How projects are reached, from the configuration in force. */
export interface Addressing {
  /** Origin of the platform, without a slash at its end; known once the port is. */
  readonly publicUrl: () => string
  /** Projects answer on `<ref>.<this>`; null: by path only. */
  readonly baseDomain: string | null
  readonly pathForm: boolean
}

const pathUrl = (at: Addressing, ref: string): string => `${at.publicUrl()}/p/${ref}`

function hostUrl(at: Addressing, ref: string): string | null {
  if (at.baseDomain === null) return null
  const { protocol, port } = new URL(at.publicUrl())
  return `${protocol}//${ref}.${at.baseDomain}${port === '' ? '' : `:${port}`}`
}

/** A project's canonical URL: derived, never stored. */
export const projectUrl = (at: Addressing, ref: string): string => hostUrl(at, ref) ?? pathUrl(at, ref)

const issuerOf = (url: string): string => `${url}/auth/v1`

/** `iss` of a project's tokens: the canonical one first, then the other form, so that setting a base domain signs nobody out. */
export function issuersOf(at: Addressing, ref: string): string[] {
  const host = hostUrl(at, ref)
  return (host === null ? [pathUrl(at, ref)] : [host, pathUrl(at, ref)]).map(issuerOf)
}
