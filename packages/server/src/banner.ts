import type { Node } from './node.ts'

export interface Started {
  readonly node: Node
  readonly version: string
  readonly dataDir: string
  /** Files of secrets that this start made. */
  readonly made: readonly string[]
  readonly wire: { readonly host: string; readonly port: number } | null
  readonly demo: { readonly url: string; readonly anonKey: string; readonly userToken: string } | null
}

const curl = (lines: readonly string[]): string => lines.map((line, i) => (i === 0 ? `  ${line}` : `      ${line}`)).join(' \\\n')

function demoLines({ url, anonKey, userToken }: NonNullable<Started['demo']>): string[] {
  const key = `-H 'apikey: ${anonKey}'`
  const body = ["-H 'Content-Type: application/json'", `-d '{"title":"Mine"}'`]
  return [
    `Demo project   ${url}`,
    `Its anon key   ${anonKey}`,
    '',
    'Read its rows:',
    curl([`curl '${url}/rest/v1/todos?select=id,title,done'`, key]),
    '',
    'A write without a user is refused, with a hint:',
    curl([`curl -X POST '${url}/rest/v1/todos'`, key, ...body]),
    '',
    'The same write by a user:',
    curl([
      `curl -X POST '${url}/rest/v1/todos'`,
      key,
      `-H 'Authorization: Bearer ${userToken}'`,
      "-H 'Prefer: return=representation'",
      ...body,
    ]),
  ]
}

/** What `make start` says, in the order in which one needs it. */
export function banner({ node, version, dataDir, made, wire, demo }: Started): string {
  const lines = [
    '',
    `Sovrabase ${version} · Node ${process.versions.node} · PostgreSQL ${node.engineVersion}`,
    `Data           ${dataDir}`,
    ...(made.length > 0
      ? [
          `Made now       ${made.join(', ')}`,
          '               These secrets need a backup: without the root key stored secrets cannot be opened.',
        ]
      : []),
    `Isolation      ${node.isolation}`,
    `URL            ${node.url}`,
    `Admin          ${node.adminUrl} (metrics)`,
    ...(node.setupUrl === null ? [] : [`Set up         ${node.setupUrl}`]),
    ...(wire === null ? [] : [`PostgreSQL     ${wire.host}:${wire.port} (user postgres.<project ref>)`]),
    ...(demo === null ? [] : demoLines(demo)),
    '',
    'Ctrl-C stops everything; the data stays.',
    '',
  ]
  return lines.join('\n')
}
