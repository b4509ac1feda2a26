import type { MailKind, Template } from '@sovrabase/contract/auth'
import { EN } from './texts-en.ts'
import { FR } from './texts-fr.ts'

/** What a language says in each mail: a third one is a file beside these and a line here. */
export interface Words {
  readonly subject: string
  readonly heading: string
  readonly text: string
  /** On the button; null: the mail has a code only. */
  readonly button: string | null
  readonly code: string
  readonly ignore: string
}
export type Texts = Readonly<Record<MailKind, Words>>

const TEXTS = { en: EN, fr: FR } as const
export type Language = keyof typeof TEXTS

/** The first language of an Accept-Language header (RFC 9110 §12.5.4) or a locale that we speak; null: none. */
export function languageOf(text: string | null | undefined): Language | null {
  const wanted = (text ?? '')
    .split(',')
    .map((part) => {
      const [tag = '', ...params] = part.trim().split(';')
      const quality = params.map((param) => /^\s*q=([\d.]+)\s*$/.exec(param)?.[1]).find((q) => q !== undefined)
      return { language: tag.toLowerCase().split(/[-_]/)[0] ?? '', quality: quality === undefined ? 1 : Number(quality) }
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality)
  return (wanted.find(({ language }) => Object.hasOwn(TEXTS, language))?.language as Language | undefined) ?? null
}

/** Names that people's templates know from GoTrue: `{{ .ConfirmationURL }}`, `{{ .Data.name }}`. */
export interface Values {
  readonly ConfirmationURL: string
  readonly Token: string
  readonly TokenHash: string
  readonly SiteURL: string
  readonly RedirectTo: string
  readonly Email: string
  readonly NewEmail: string
  readonly SendingTo: string
  readonly Data: Readonly<Record<string, unknown>>
}

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

function lookUp(values: Values, path: string): string {
  const [first = '', ...rest] = path.split('.')
  let value: unknown = Object.hasOwn(values, first) ? values[first as keyof Values] : ''
  for (const name of rest)
    value = typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : ''
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

const fillIn = (template: string, values: Values, written: (text: string) => string): string =>
  template.replace(/\{\{-?\s*\.([A-Za-z_][\w.]*)\s*-?\}\}/g, (_, path: string) => written(lookUp(values, path)))

/** A subject is one line: nobody's data makes another header. */
const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, ' ').slice(0, 255)
const same = (text: string): string => text

function shippedHtml(words: Words): string {
  const button =
    words.button === null
      ? ''
      : `<p><a href="{{ .ConfirmationURL }}" style="display:inline-block;padding:10px 18px;background:#1f4fd8;color:#fff;text-decoration:none;border-radius:6px">${escapeHtml(words.button)}</a></p>\n`
  return `<div style="font-family:sans-serif;max-width:34em;line-height:1.5">
<h2>${escapeHtml(words.heading)}</h2>
<p>${escapeHtml(words.text)}</p>
${button}<p>${escapeHtml(words.code)} <strong>{{ .Token }}</strong></p>
<p style="color:#666">${escapeHtml(words.ignore)}</p>
</div>
`
}

const shippedText = (words: Words): string =>
  `${words.heading}\n\n${words.text}\n\n${words.button === null ? '' : `{{ .ConfirmationURL }}\n\n`}${words.code} {{ .Token }}\n\n${words.ignore}\n`

/** Markup away, for a project that gives HTML alone. */
const plain = (html: string): string =>
  html
    .replace(/<a\b[^>]*href="([^"]*)"[^>]*>([\s\S]*?)<\/a>/gi, '$2 ($1)')
    .replace(/<(br|\/p|\/h\d|\/div)\b[^>]*>/gi, '\n')
    .replace(/<[^>]*>/g, '')
    .replace(/\n{3,}/g, '\n\n')
    .trim()

export interface Composed {
  readonly subject: string
  readonly html: string
  readonly text: string
}

/** The mail in a language, or as the project's own template has it. Values are escaped in HTML; nothing in them is a template. */
export function compose(kind: MailKind, language: Language, own: Template | undefined, values: Values): Composed {
  const words = TEXTS[language][kind]
  const html = own?.html ?? shippedHtml(words)
  const text = own?.text ?? (own?.html === undefined ? shippedText(words) : plain(own.html))
  return {
    subject: oneLine(fillIn(own?.subject ?? words.subject, values, same)),
    html: fillIn(html, values, escapeHtml),
    text: fillIn(text, values, same),
  }
}
