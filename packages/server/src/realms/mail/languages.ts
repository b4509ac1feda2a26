import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MAIL_KINDS, type MailKind } from '@sovrabase/contract/plain'
import { fail } from '../../base/errors.ts'
import { later } from '../../base/later.ts'

/** What a language says in one mail. */
export interface Words {
  readonly subject: string
  readonly heading: string
  readonly text: string
  /** On the button; null: the mail has a code only. */
  readonly button: string | null
  readonly code: string
  readonly ignore: string
}

/** One mail of a language: words for the shipped layout, or a layout of its own. */
export interface MailText {
  readonly words: Words
  readonly html?: string
  readonly text?: string
}

const SMS = 'sms'
const KINDS = [...MAIL_KINDS, SMS] as const

/** What a folder says; what it lacks is said in English. */
type Texts = Partial<Record<MailKind, MailText>> & { readonly sms?: string }

export interface Languages {
  /** Tags, as folders are named: `en`, `fr`, `pt-br`. */
  readonly names: readonly string[]
  /** Mails and messages that a language lacks: `de/invite`. */
  readonly missing: readonly string[]
  /** The first language of an Accept-Language header (RFC 9110 §12.5.4) or a locale that is spoken; null: none. */
  named(text: string | null | undefined): string | null
  /** In that language, else in English. */
  mail(kind: MailKind, language: string): MailText
  /** A text message; `{{ .Code }}` stands for the code. */
  sms(language: string): string
}

/** A language is a folder here: `<tag>/<kind>.yaml`, and where it has a layout of its own `<kind>.html` and `<kind>.txt`. */
export const SHIPPED = join(import.meta.dirname, 'languages')
const DEFAULT = 'en'
const TAG = /^[a-z]{2,3}(-[a-z0-9]{2,8})*$/
const FILE = /^([a-z_]+)\.(yaml|html|txt)$/
const PARTS = ['subject', 'heading', 'text', 'code', 'ignore'] as const
const CHARS = 65_536

const wrong = (file: string, reason: string, cause?: unknown) => fail('mail_language_unreadable', { file, reason }, { cause })

function readText(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw wrong(file, 'it cannot be read', cause)
  }
  if (text.length > CHARS) throw wrong(file, `it is longer than ${CHARS} characters`)
  return text
}

/** A mapping of texts by name. */
function mappingIn(file: string, names: readonly string[]): Record<string, unknown> {
  const text = readText(file)
  let said: unknown
  try {
    said = later<typeof import('yaml')>('yaml').parse(text)
  } catch (cause) {
    throw wrong(file, 'it is no YAML', cause)
  }
  if (typeof said !== 'object' || said === null || Array.isArray(said)) throw wrong(file, `it must say ${names.join(', ')}`)
  const strange = Object.keys(said).find((name) => !names.includes(name))
  if (strange !== undefined) throw wrong(file, `'${strange.slice(0, 40)}' has no place in it`)
  return said as Record<string, unknown>
}

function wordsIn(file: string): Words {
  const words = mappingIn(file, [...PARTS, 'button'])
  const lacking = PARTS.find((name) => typeof words[name] !== 'string' || words[name] === '')
  if (lacking !== undefined) throw wrong(file, `it does not say '${lacking}'`)
  const { button = null } = words
  if (button !== null && typeof button !== 'string') throw wrong(file, "'button' is no text")
  return { ...(words as unknown as Words), button }
}

function smsIn(file: string): string {
  const { text } = mappingIn(file, ['text'])
  if (typeof text !== 'string' || !/\{\{\s*\.Code\s*\}\}/.test(text)) throw wrong(file, "'text' must hold {{ .Code }}")
  return text
}

function readFolder(folder: string): Texts {
  const mails: Partial<Record<MailKind, MailText>> = {}
  let sms: string | undefined
  const files = readdirSync(folder).filter((name) => !name.startsWith('.'))
  for (const name of files) {
    const [, kind = '', type] = FILE.exec(name) ?? []
    const file = join(folder, name)
    if (!KINDS.includes(kind as MailKind)) throw wrong(file, `a file is named by a mail: ${KINDS.join(', ')}`)
    if (type !== 'yaml' && !files.includes(`${kind}.yaml`)) throw wrong(file, `${kind}.yaml, which has its subject, is not there`)
    if (type !== 'yaml') continue
    if (kind === SMS) {
      sms = smsIn(file)
      continue
    }
    const has = (end: string) => files.includes(`${kind}.${end}`)
    mails[kind as MailKind] = {
      words: wordsIn(file),
      ...(has('html') ? { html: readText(join(folder, `${kind}.html`)) } : {}),
      ...(has('txt') ? { text: readText(join(folder, `${kind}.txt`)) } : {}),
    }
  }
  return { ...mails, ...(sms === undefined ? {} : { sms }) }
}

function foldersIn(dir: string): string[] {
  let folders: string[]
  try {
    folders = readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() && !entry.name.startsWith('.') ? entry.name : [],
    )
  } catch (cause) {
    throw wrong(dir, 'the directory cannot be read', cause)
  }
  const odd = folders.find((name) => !TAG.test(name))
  if (odd !== undefined) throw wrong(join(dir, odd), 'a folder is named as a language is: de, nl, pt-br')
  return folders
}

const readAll = (dir: string) => new Map(foldersIn(dir).map((name) => [name, readFolder(join(dir, name))]))

/** Wishes of a header or a locale, the best first. */
function wishesOf(text: string): string[] {
  const wanted = text.split(',').map((part) => {
    const [tag = '', ...params] = part.trim().split(';')
    const quality = params.map((param) => /^\s*q=([\d.]+)\s*$/.exec(param)?.[1]).find((q) => q !== undefined)
    return { tag: tag.toLowerCase().replaceAll('_', '-'), quality: quality === undefined ? 1 : Number(quality) }
  })
  return wanted
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality)
    .map(({ tag }) => tag)
}

/**
 * Languages of mails: those that come with the server, and those of an operator's directory, whose mails take the place of the shipped ones.
 * An operator's are read at once, shipped ones with the first mail: a start needs their names alone. Throws `mail_language_unreadable`.
 */
export function readLanguages(own: string | null): Languages {
  const owned = own === null ? new Map<string, Texts>() : readAll(own)
  let read: ReadonlyMap<string, Texts> | undefined
  function all(): ReadonlyMap<string, Texts> {
    if (read) return read
    const both = readAll(SHIPPED)
    for (const [name, texts] of owned) both.set(name, { ...both.get(name), ...texts })
    read = both
    return both
  }
  const names = [...new Set([...foldersIn(SHIPPED), ...owned.keys()])].sort()
  const found = (tag: string): string | undefined => [tag, tag.split('-')[0] ?? ''].find((name) => names.includes(name))
  const of = <K extends keyof Texts>(language: string, kind: K): Texts[K] =>
    all().get(found(language.toLowerCase()) ?? DEFAULT)?.[kind] ?? all().get(DEFAULT)?.[kind]
  return {
    names,
    get missing() {
      return names.flatMap((name) => KINDS.filter((kind) => !all().get(name)?.[kind]).map((kind) => `${name}/${kind}`))
    },
    named: (text) =>
      wishesOf(text ?? '')
        .map(found)
        .find((name) => name !== undefined) ?? null,
    mail(kind, language) {
      const text = of(language, kind)
      if (!text) throw fail('internal', {}, { cause: `nobody says what a mail of the kind ${kind} is` })
      return text
    },
    sms: (language) => of(language, SMS) ?? '{{ .Code }}',
  }
}
