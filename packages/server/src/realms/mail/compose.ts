import type { Template } from '@sovrabase/contract/auth'
import type { MailText, Words } from './languages.ts'

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

/** Characters of all values in a mail: one may be long, and be wanted in each line. */
const VALUES_MAX = 262_144

function fillIn(template: string, values: Values, written: (text: string) => string): string {
  let left = VALUES_MAX
  return template.replace(/\{\{-?\s*\.([A-Za-z_][\w.]*)\s*-?\}\}/g, (_, path: string) => {
    const text = lookUp(values, path)
    left -= text.length
    return left < 0 ? '' : written(text)
  })
}

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

const BREAK = /^(?:br|\/p|\/h\d|\/div)\b/i
const LINK = /^a\b/i
const HREF = /href="([^"]*)"/i

/** Markup away, for a project that gives HTML alone. Reads it once from left to right: whoever writes it may mean harm. */
function plain(html: string): string {
  let text = ''
  let link: string | undefined
  for (let at = 0; ; ) {
    const begin = html.indexOf('<', at)
    const end = begin < 0 ? -1 : html.indexOf('>', begin)
    if (end < 0) return (text + html.slice(at)).replace(/\n{3,}/g, '\n\n').trim()
    const tag = html.slice(begin + 1, end)
    text += html.slice(at, begin)
    at = end + 1
    if (LINK.test(tag)) link = HREF.exec(tag)?.[1]
    else if (tag.toLowerCase() === '/a' && link !== undefined) {
      text += ` (${link})`
      link = undefined
    } else if (BREAK.test(tag)) text += '\n'
  }
}

export interface Composed {
  readonly subject: string
  readonly html: string
  readonly text: string
}

/** The mail as a language has it, or as the project's own template has it. Values are escaped in HTML; nothing in them is a template. */
export function compose(shipped: MailText, own: Template | undefined, values: Values): Composed {
  const { words } = shipped
  const html = own?.html ?? shipped.html ?? shippedHtml(words)
  // Whoever writes HTML alone means the text to say the same.
  const text =
    own?.text ?? (own?.html === undefined ? (shipped.text ?? (shipped.html ? plain(shipped.html) : shippedText(words))) : plain(own.html))
  return {
    subject: oneLine(fillIn(own?.subject ?? words.subject, values, same)),
    html: fillIn(html, values, escapeHtml),
    text: fillIn(text, values, same),
  }
}
