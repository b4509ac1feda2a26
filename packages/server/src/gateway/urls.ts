/** How projects are reached, from the configuration in force. */
export interface Addressing {
  /** Origin of the platform, without a slash at its end; known once the port is. */
  readonly publicUrl: () => string
  /** Projects answer on `<ref>.<this>`; null: by path only. */
  readonly baseDomain: string | null
  readonly pathForm: boolean
  /** Addresses that the platform had before, newest first: tokens signed under them stay good until they expire. */
  readonly former: () => readonly FormerAddress[]
}

/** An address of the platform as it is recorded. */
export type FormerAddress = Pick<Addressing, 'baseDomain'> & { readonly publicUrl: string }

const pathUrl = (publicUrl: string, ref: string): string => `${publicUrl}/p/${ref}`

function hostUrl({ publicUrl, baseDomain }: FormerAddress, ref: string): string | null {
  if (baseDomain === null) return null
  const { protocol, port } = new URL(publicUrl)
  return `${protocol}//${ref}.${baseDomain}${port === '' ? '' : `:${port}`}`
}

const urlsOf = (at: FormerAddress, ref: string): string[] => {
  const host = hostUrl(at, ref)
  return host === null ? [pathUrl(at.publicUrl, ref)] : [host, pathUrl(at.publicUrl, ref)]
}

/** The address in force, as it is recorded. */
export const addressOf = ({ publicUrl, baseDomain }: Addressing): FormerAddress => ({ publicUrl: publicUrl(), baseDomain })

/** A project's canonical URL: derived, never stored. */
export const projectUrl = (at: Addressing, ref: string): string => urlsOf(addressOf(at), ref)[0]!

/**
 * `iss` of a project's tokens: the canonical one first, then the other form, then those of former addresses, so that neither a base domain nor
 * another public URL signs anybody out.
 */
export const issuersOf = (at: Addressing, ref: string): string[] => [
  ...new Set([addressOf(at), ...at.former()].flatMap((address) => urlsOf(address, ref)).map((url) => `${url}/auth/v1`)),
]
