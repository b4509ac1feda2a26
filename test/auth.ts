/** Users of a test project through unmodified clients, and what their mails say. */
import assert from 'node:assert/strict'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import type { TestServer } from './node.ts'
import type { TestProject } from './project.ts'
import { until } from './until.ts'

export interface OutboxMail {
  readonly id: string
  readonly kind: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly state: string
  readonly last_error: string | null
}

export const client = (project: TestProject, key = project.anon, auth: Record<string, unknown> = {}): SupabaseClient =>
  createClient(project.url, key, { auth: { persistSession: false, autoRefreshToken: false, ...auth } })

export async function settings(server: TestServer, project: TestProject, patch: Record<string, unknown>): Promise<void> {
  const answer = await server.api('PATCH', `/projects/${project.ref}/settings/auth`, patch)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
}

export async function outbox(server: TestServer, project: TestProject) {
  const answer = await server.api<{ configured: boolean; waiting: number; items: OutboxMail[] }>(
    'GET',
    `/projects/${project.ref}/auth/outbox`,
  )
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

/** The newest mail to an address, with its link and code. */
export async function lastMail(server: TestServer, project: TestProject, to: string) {
  const mail = await until(async () => (await outbox(server, project)).items.find((item) => item.to === to))
  const link = /https?:\/\/\S+/.exec(mail.text)?.[0] ?? ''
  const token = link === '' ? '' : (new URL(link).searchParams.get('token') ?? '')
  return { ...mail, link, token, code: /\b\d{6,10}\b(?!\S)/.exec(mail.text.replace(link, ''))?.[0] ?? '' }
}

/** One request to the auth API, as clients without the new error shape send it. */
export async function auth(
  project: TestProject,
  method: string,
  path: string,
  options: { body?: unknown; token?: string; key?: string | null; headers?: Record<string, string> } = {},
) {
  const { key = project.anon } = options
  const response = await fetch(`${project.url}/auth/v1${path}`, {
    method,
    redirect: 'manual',
    headers: {
      ...(key === null ? {} : { apikey: key }),
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
  })
  const text = await response.text()
  const json = response.headers.get('content-type')?.includes('json') === true
  return { status: response.status, headers: response.headers, body: (json ? JSON.parse(text) : text) as Record<string, unknown> }
}
