import { Command, Option } from 'commander'
import { type Client, findTarget, makeClient } from '../api/client.ts'
import { json, type Spinner, spinner } from '../terminal/output.ts'

export interface Answer {
  /** What --json prints. */
  readonly data: unknown
  /** What people read; '' for nothing. */
  readonly text: string
  /** Other than 0. */
  readonly exit?: number
}

interface GlobalOptions {
  readonly json?: boolean
  readonly server?: string
}

/** What a command works with. */
export interface Context {
  readonly json: boolean
  readonly server: string | undefined
  client(): Promise<Client>
  /** To people only, beside the answer. */
  note(text: string): void
  /** Runs it under a spinner. */
  spin<R>(text: string, work: (spinner: Spinner) => Promise<R>): Promise<R>
}

/** flags as commander writes them, meaning, default; a list of words narrows the values. */
export type Flag = readonly [
  flags: string,
  says: string,
  more?: { readonly default?: string; readonly choices?: readonly string[]; readonly many?: boolean },
]

/** One command: what completion, help and the program are made of. */
export interface Spec<O = object, A extends readonly unknown[] = readonly string[]> {
  /** Name and arguments: `show <project>`. */
  readonly use: string
  readonly says: string
  readonly examples: readonly string[]
  readonly flags?: readonly Flag[]
  /** Arguments that are one of a few words. */
  readonly choices?: Readonly<Record<string, readonly string[]>>
  /** Commands below it: `logs statements` beside `logs [project]`. */
  readonly below?: readonly Spec[]
  /** Longer words after the flags of the help. */
  readonly more?: string
  run(context: Context, options: O, ...args: A): Promise<Answer | undefined> | Answer | undefined
}

export interface Group {
  readonly name: string
  readonly says: string
  readonly commands: readonly (Spec | Group)[]
}

const GLOBAL: readonly Flag[] = [
  ['--json', 'answer in JSON, for scripts'],
  ['--server <name>', 'a server of `sovra servers`, `local`, or a URL with SOVRA_TOKEN'],
]

export const command = <O = object, A extends readonly unknown[] = readonly string[]>(spec: Spec<O, A>): Spec => spec as unknown as Spec

function contextOf({ json: asJson = false, server }: GlobalOptions): Context {
  return {
    json: asJson,
    server,
    client: async () => makeClient(await findTarget(server)),
    note: (text) => {
      if (!asJson) process.stderr.write(`${text}\n`)
    },
    async spin(text, work) {
      const running = await spinner(text, !asJson)
      try {
        return await work(running)
      } finally {
        running.end()
      }
    },
  }
}

const collect = (value: string, before: readonly string[] | undefined): string[] => [...(before ?? []), value]

function option([flags, says, more = {}]: Flag): Option {
  const made = new Option(flags, says)
  if (more.choices) made.choices(more.choices)
  if (more.default !== undefined) made.default(more.default)
  if (more.many) made.argParser(collect)
  return made
}

const pathOf = (command: Command): string => (command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name())

/** Below what commander says of a wrong word or option. */
const hintOf = (command: Command): string => `hint: ${pathOf(command)} --help`

function add(parent: Command, spec: Spec): void {
  const made = parent.command(spec.use).description(spec.says)
  made.showHelpAfterError(hintOf(made))
  for (const flag of [...(spec.flags ?? []), ...GLOBAL]) made.addOption(option(flag))
  for (const argument of made.registeredArguments) {
    const choices = spec.choices?.[argument.name()]
    if (choices) argument.choices(choices)
  }
  const more = spec.more === undefined ? '' : `\n${spec.more}\n`
  made.addHelpText(
    'after',
    `${more}\nExample${spec.examples.length > 1 ? 's' : ''}:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`,
  )
  made.action(async (...given: unknown[]) => {
    const options = made.optsWithGlobals<GlobalOptions>()
    const context = contextOf(options)
    const answer = await spec.run(context, options, ...(given.slice(0, -2) as string[]))
    if (!answer) return
    const text = context.json ? json(answer.data) : answer.text
    if (text !== '') process.stdout.write(`${text}\n`)
    process.exitCode = answer.exit ?? 0
  })
  if (!spec.below) return
  made.helpOption('-h, --help', 'how to use it').helpCommand(false)
  for (const below of spec.below) add(made, below)
}

const firstExample = ({ commands: [first] }: Group): string | undefined =>
  first && ('use' in first ? first.examples[0] : firstExample(first))

function addAll(parent: Command, entries: readonly (Spec | Group)[]): void {
  for (const entry of entries) {
    if ('use' in entry) {
      add(parent, entry)
      continue
    }
    const group = parent.command(entry.name).description(entry.says).helpOption('-h, --help', 'how to use it').helpCommand(false)
    group.showHelpAfterError(hintOf(group))
    const example = firstExample(entry)
    if (example) group.addHelpText('after', `\nExample:\n  ${example}`)
    addAll(group, entry.commands)
  }
}

/** The whole tree; commander's own exits are thrown. */
export function makeProgram(version: string, entries: readonly (Spec | Group)[], more: string): Command {
  const program = new Command('sovra').description('Sovrabase from the command line').version(version, '-V, --version', 'print the version')
  program.helpOption('-h, --help', 'how to use it').helpCommand(false).exitOverride().showSuggestionAfterError()
  program.showHelpAfterError(hintOf(program)).addHelpText('after', `\n${more}`)
  for (const flag of GLOBAL) program.addOption(option(flag))
  addAll(program, entries)
  return program
}
