import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findOrganisation, findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { pairs } from '../terminal/output.ts'
import { readLabels } from './projects-verbs.ts'

interface Options {
  readonly org?: string
  readonly from?: string
  readonly data?: boolean
  readonly label?: string[]
  readonly wait?: boolean
}

/** Seconds that the server lets a create wait for its services. */
const SHORT_WAIT = 10
const LONG_WAIT = 60
/** ms for --wait in all: a copy with data may take its time. */
const WAIT_LIMIT = 600_000
const EVERY = 500

const pending = (project: Project) => project.services.some(({ status }) => status === 'pending' || status === 'creating')

export async function untilReady(client: Client, made: Project): Promise<Project> {
  const end = Date.now() + WAIT_LIMIT
  let project = made
  while (pending(project) && Date.now() < end) {
    await pause(EVERY)
    project = await client.request<Project>('GET', `/projects/${made.ref}`)
  }
  const ill = project.services.find(({ status }) => ['pending', 'creating', 'failed', 'degraded'].includes(status))
  if (ill) {
    const reason = ill.detail.message ?? 'no reason is known yet'
    throw stop('project_not_ready', { ref: project.ref, service: ill.name, status: ill.status, reason }, { details: project })
  }
  return project
}

export const create = command<Options, [name: string]>({
  use: 'create <name>',
  says: 'make a project, empty or as a copy of another one',
  examples: ['sovra projects create shop --wait', 'sovra projects create shop-test --from shop --data --org acme --label stage=test'],
  flags: [
    ['--org <name>', 'the organisation; needed when there are several'],
    ['--from <project>', 'copy the structure of this project'],
    ['--data', 'with --from: its rows too'],
    ['--label <name=value>', 'a label; may be given more than once', { many: true }],
    ['--wait', 'wait until it is ready, and fail if it does not get so'],
  ],
  async run(context, options, name) {
    if (options.data && options.from === undefined)
      throw stop('usage_wrong', { reason: '--data is for --from', hint: 'Say which project to copy: --from PROJECT --data.' })
    const labels = readLabels(options.label ?? [])
    const client = await context.client()
    const organisation = await findOrganisation(client, options.org)
    const from = options.from === undefined ? undefined : await findProject(client, options.from)
    const project = await context.spin(`Making ${name}`, async () => {
      const made = await client.request<Project>('POST', `/organisations/${organisation.name}/projects`, {
        body: { name, labels, ...(from ? { from: { project: from.ref, data: options.data ?? false } } : {}) },
        headers: { prefer: `wait=${options.wait ? LONG_WAIT : SHORT_WAIT}`, 'idempotency-key': randomUUID() },
      })
      return options.wait ? untilReady(client, made) : made
    })
    const text = pairs([
      ['Made', `${organisation.name}/${project.name}${pending(project) ? ', still getting ready' : ''}`],
      ['Ref', project.ref],
      ['URL', project.url],
      ['Keys', `sovra projects show ${project.ref}`],
      ['SQL', `sovra db exec ${project.ref} 'select version()'`],
    ])
    return { data: project, text }
  },
})
