/** What support needs and may see: no secrets, no names of people or projects, no addresses. */
import { configHere } from '../api/local.ts'
import type { Context } from '../program/command.ts'
import type { Check } from './check.ts'

const LINES = 500
const SECRET = /secret|password|token|connection_string|proxy|passphrase|key_file|recipients/i
const ADDRESS = /\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}\b/gi
const MAIL = /[^\s"'<>@]+@[^\s"'<>@]+\.[a-z]{2,}/gi
const LOOPBACK = /^(127\.|0\.0\.0\.0)/

/** Mail addresses and IP addresses that are not this machine's own are taken out. */
export const cleaned = (text: string): string =>
  text.replace(MAIL, '<mail>').replace(ADDRESS, (address) => (LOOPBACK.test(address) ? address : '<address>'))

/** Values below names that say secret are taken out; so are names that people gave. */
export function withoutSecrets(value: unknown, name = ''): unknown {
  if (value === null || value === undefined) return value
  if (SECRET.test(name)) return '<removed>'
  if (typeof value === 'string') return cleaned(value)
  if (Array.isArray(value)) return value.map((one) => withoutSecrets(one, name))
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSecrets(inner, key)]))
  return value
}

async function orWhy<T>(work: () => Promise<T>): Promise<T | { readonly missing: string }> {
  try {
    return await work()
  } catch (error) {
    return { missing: error instanceof Error ? error.message : 'unknown' }
  }
}

interface DiskAnswer {
  readonly projects: readonly { readonly ref: string; readonly state: string; readonly bytes: object }[]
}

export async function bundleOf(context: Context, checks: readonly Check[]): Promise<unknown> {
  const found = {
    made_at: new Date().toISOString(),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    checks,
    config: await orWhy(async () => (await configHere()).config),
    status: await orWhy(async () => (await context.client()).request<object>('GET', '/status')),
    disk: await orWhy(async () => {
      const { projects, ...more } = await (await context.client()).request<DiskAnswer>('GET', '/disk')
      // A ref says nothing of its owner; a name may.
      return { ...more, projects: projects.map(({ ref, state, bytes }) => ({ ref, state, bytes })) }
    }),
    log: await orWhy(async () => {
      const response = await (await context.client()).stream('GET', '/logs', { query: { level: 'warn', limit: LINES } })
      return (await response.text()).split('\n').filter(Boolean)
    }),
  }
  return withoutSecrets(found)
}
