import { readFileSync } from 'node:fs'

/** Of this sovra. */
export const ownVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version
