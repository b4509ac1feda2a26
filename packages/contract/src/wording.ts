import { ERRORS, type ErrorCode } from './errors.ts'
import { ERRORS_FR } from './errors-fr.ts'

export type Language = 'en' | 'fr'
export type Params = Readonly<Record<string, string | number>>

/** Of messages, as POSIX says: LC_ALL, LC_MESSAGES, LANG, the first that is set. */
export function languageOf(env: Readonly<Record<string, string | undefined>>): Language {
  return /^fr(_|\.|$)/i.test(env.LC_ALL || env.LC_MESSAGES || env.LANG || '') ? 'fr' : 'en'
}

/** Of an `Accept-Language` (RFC 9110): French where it is wanted before English. */
export function languageAccepted(header: string | undefined): Language {
  const wanted = (header ?? '')
    .toLowerCase()
    .split(',')
    .map((part) => part.trim())
  const first = wanted.find((part) => /^(fr|en)\b/.test(part))
  return first?.startsWith('fr') ? 'fr' : 'en'
}

export const fill = (text: string, params: Params): string =>
  text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole))

const FRENCH: Partial<Record<ErrorCode, readonly [message: string, hint: string]>> = ERRORS_FR

/** What an error says; what belongs to another product's dialect is said in English everywhere. */
export function wordingOf(code: ErrorCode, params: Params, language: Language = 'en'): { readonly message: string; readonly hint: string } {
  const [, english, advice] = ERRORS[code]
  const [message, hint] = (language === 'fr' ? FRENCH[code] : undefined) ?? [english, advice]
  return { message: fill(message, params), hint: fill(hint, params) }
}
