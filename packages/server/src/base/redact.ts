const SECRET_NAMES = new Set([
  'apikey',
  'api_key',
  'authorization',
  'body',
  'connection_string',
  'cookie',
  'credentials',
  'jwt',
  'key',
  'passphrase',
  'password',
  'private_key',
  'query',
  'secret',
  'set-cookie',
  'token',
  'values',
])
const SECRET_ENDINGS = /[_-]?(?:password|secret|token|apikey|api_key|privatekey|private_key|cookie|connection_string|connectionstring)s?$/i

const known = new Map<string, boolean>()
const KNOWN_NAMES = 1000

/** Whether a field of this name holds what no log and no error may show. */
export function isSecretName(name: string): boolean {
  const before = known.get(name)
  if (before !== undefined) return before
  const answer = SECRET_NAMES.has(name.toLowerCase()) || SECRET_ENDINGS.test(name)
  if (known.size < KNOWN_NAMES) known.set(name, answer)
  return answer
}
