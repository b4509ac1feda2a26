import { randomUUID } from 'node:crypto'
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { type Context, command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, pairs } from '../terminal/output.ts'
import { untilReady } from './projects-create.ts'

const WAIT = 60

interface BranchOrder {
  readonly from: string
  readonly name: string
  readonly at?: string
  readonly org?: string
}

/** What a person writes, as the API takes it: a time without a zone is one of this machine. */
function momentOf(text: string): string {
  const time = Date.parse(text)
  if (Number.isNaN(time))
    throw stop('usage_wrong', { reason: `${text} is no time`, hint: 'For example 2026-11-26T14:30:00 or 2026-11-26T13:30:00Z.' })
  return new Date(time).toISOString()
}

/** A new project with the rows, settings and specs of another one, as it is or was. */
export async function makeBranch(context: Context, client: Client, order: BranchOrder): Promise<Project> {
  const at = order.at === undefined ? {} : { at: momentOf(order.at) }
  const from = await findProject(client, order.from)
  return await context.spin(`Making ${order.name}`, async () => {
    const made = await client.request<Project>('POST', `/organisations/${order.org ?? from.organisation.name}/projects`, {
      body: { name: order.name, from: { project: from.ref, data: true, settings: true, ...at } },
      headers: { prefer: `wait=${WAIT}`, 'idempotency-key': randomUUID() },
    })
    return await untilReady(client, made)
  })
}

export const branchText = (project: Project, from: string, at: string | undefined): string =>
  pairs([
    ['Made', `${project.organisation.name}/${project.name}, with keys of its own`],
    ['From', at === undefined ? from : `${from} as of ${localTime(momentOf(at))}`],
    ['Ref', project.ref],
    ['URL', project.url],
    ['Keys', `sovra projects show ${project.ref}`],
  ])

interface Options {
  readonly at?: string
  readonly org?: string
}

export const branch = command<Options, [project: string, name: string]>({
  use: 'branch <project> <name>',
  says: 'make a project from another one with its rows and settings, to try things on',
  examples: ['sovra projects branch shop shop-test', 'sovra projects branch shop shop-at-noon --at 2026-11-26T12:00:00'],
  flags: [
    ['--at <time>', 'as it was then; needs points in time (sovra backup archive)'],
    ['--org <organisation>', 'into this organisation; by default its own'],
  ],
  more: 'It has keys and passwords of its own, and archives nothing. The project that it is made from goes on serving.',
  async run(context, options, from, name) {
    const client = await context.client()
    const project = await makeBranch(context, client, { ...options, from, name })
    return { data: project, text: branchText(project, from, options.at) }
  },
})
