import { fail } from '../../../base/errors.ts'
import type { MediaHandler } from '../../../runtime/engines/postgres/catalogue/types.ts'

export type Media =
  | { readonly kind: 'json' }
  | { readonly kind: 'array'; readonly stripped: true }
  | { readonly kind: 'object'; readonly stripped: boolean }
  | { readonly kind: 'csv' }
  | { readonly kind: 'openapi'; readonly version: '2.0' | '3.1' }
  /** `schema`: where st_asgeojson is. */
  | { readonly kind: 'geojson'; readonly schema: string }
  /** Made by the project itself: `rows` is the table whose rows the handler takes, null for rows of any type. */
  | { readonly kind: 'custom'; readonly handler: MediaHandler; readonly rows: { readonly schema: string; readonly name: string } | null }
  /** A scalar as it is. */
  | { readonly kind: 'raw'; readonly type: string; readonly binary: boolean }
  | { readonly kind: 'plan'; readonly of: Media; readonly format: 'json' | 'text'; readonly options: readonly string[] }

/** What else than JSON and CSV a resource can be made into: null for what it cannot. */
export interface Producer {
  make(type: string): Media | null
  /** Whether plans are answered. */
  readonly plans: boolean
}

const JSON_MEDIA: Media = { kind: 'json' }
const NOTHING: Producer = { make: () => null, plans: false }

interface Accepted {
  readonly type: string
  readonly parameters: readonly string[]
  readonly weight: number
  readonly place: number
}

function accepted(accept: string): Accepted[] {
  const asked = accept.split(',').map((part, place) => {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim())
    const weight = Number(parameters.find((text) => text.startsWith('q='))?.slice(2) ?? '1')
    return { type: type.toLowerCase(), parameters, weight: Number.isFinite(weight) ? weight : 1, place }
  })
  return asked.sort((a, b) => b.weight - a.weight || a.place - b.place)
}

/** The first of the accepted types, by weight and then place, that can be made. Throws PGRST107 where there is none. */
export function negotiate(accept: string | undefined, openapi = false, producer: Producer = NOTHING): Media {
  const asked = accepted(accept === undefined || accept === '' ? '*/*' : accept)
  for (const { type, parameters, weight } of asked) {
    if (weight <= 0) continue
    const media = openapi ? openApiMedia(type, parameters) : dataMedia(type, parameters, producer)
    if (media !== null) return media
  }
  throw fail('PGRST107', {
    types: asked
      .map(({ type, parameters }) =>
        shownType(
          type,
          parameters.filter((text) => !text.startsWith('q=')),
        ),
      )
      .join(', '),
  })
}

/** A type as the reference names it where it cannot be made: its own as it understood them, any other as it came. */
function shownType(type: string, parameters: readonly string[]): string {
  const own = /^application\/vnd\.pgrst\.(object|array|plan)(?:\+(json|text))?$/.exec(type)
  if (own === null) return [type, ...parameters].join(';')
  const stripped = parameters.includes('nulls=stripped') ? ';nulls=stripped' : ''
  switch (own[1]) {
    case 'object':
      return `application/vnd.pgrst.object+json${stripped}`
    case 'array':
      return stripped === '' ? 'application/json' : `application/vnd.pgrst.array+json${stripped}`
    default: {
      const { of, options } = planParameters(parameters)
      const [base = '', ...more] = of.split(';')
      return planType(own[2] === 'json' ? 'json' : 'text', shownType(base, more), options)
    }
  }
}

function dataMedia(type: string, parameters: readonly string[], producer: Producer): Media | null {
  const stripped = parameters.includes('nulls=stripped')
  switch (type) {
    // PostgREST's own cannot be made by a project.
    case 'application/vnd.pgrst.object+json':
    case 'application/vnd.pgrst.object':
      return { kind: 'object', stripped }
    case 'application/vnd.pgrst.array+json':
    case 'application/vnd.pgrst.array':
      return stripped ? { kind: 'array', stripped } : JSON_MEDIA
    case 'application/vnd.pgrst.plan':
    case 'application/vnd.pgrst.plan+text':
      return producer.plans ? planMedia('text', parameters, producer) : null
    case 'application/vnd.pgrst.plan+json':
      return producer.plans ? planMedia('json', parameters, producer) : null
  }
  const made = producer.make('*/*') ?? producer.make(type)
  if (made !== null) return made
  switch (type) {
    case '*/*':
    case 'application/*':
    case 'application/json':
      return JSON_MEDIA
    case 'text/csv':
      return { kind: 'csv' }
    default:
      return null
  }
}

const PLAN_OPTIONS = ['analyze', 'verbose', 'settings', 'buffers', 'wal'] as const

function planParameters(parameters: readonly string[]): { readonly of: string; readonly options: readonly string[] } {
  const parameter = (name: string) => parameters.find((text) => text.startsWith(name))?.slice(name.length)
  const asked = (parameter('options=') ?? '').split('|')
  return {
    of: (parameter('for=') ?? 'application/json').replaceAll('"', ''),
    options: PLAN_OPTIONS.filter((option) => asked.includes(option)),
  }
}

function planMedia(format: 'json' | 'text', parameters: readonly string[], producer: Producer): Media | null {
  const { of, options } = planParameters(parameters)
  const [type = '', ...more] = of.split(';')
  const media = dataMedia(type, more, { ...producer, plans: false })
  return media === null ? null : { kind: 'plan', of: media, format, options }
}

function planType(format: string, of: string, options: readonly string[]): string {
  return `application/vnd.pgrst.plan+${format}; for="${of}"${options.length === 0 ? '' : `; options=${options.join('|')}`}`
}

/** 2.0 is what PostgREST's clients read; 3.1 is answered to who asks for it. */
function openApiMedia(type: string, parameters: readonly string[]): Media | null {
  if (type === 'application/vnd.oai.openapi+json') return { kind: 'openapi', version: '3.1' }
  if (!['*/*', 'application/*', 'application/json', 'application/openapi+json'].includes(type)) return null
  const three = parameters.some((parameter) => /^version="?3/.test(parameter))
  return { kind: 'openapi', version: three ? '3.1' : '2.0' }
}

/** Types whose text is UTF-8 by what they are; of others nothing is said. */
const TEXTS = new Set(['application/json', 'application/geo+json', 'text/csv', 'text/plain', 'text/xml', 'application/openapi+json'])
const withCharset = (type: string) => (TEXTS.has(type) ? `${type}; charset=utf-8` : type)

export function contentType(media: Media): string {
  switch (media.kind) {
    case 'raw':
      return withCharset(media.type)
    case 'custom':
      return withCharset(media.handler.type === '*/*' ? 'application/octet-stream' : media.handler.type)
    default:
      return `${bareType(media)}; charset=utf-8`
  }
}

function bareType(media: Media): string {
  switch (media.kind) {
    case 'json':
      return 'application/json'
    case 'array':
      return 'application/vnd.pgrst.array+json;nulls=stripped'
    case 'object':
      return `application/vnd.pgrst.object+json${media.stripped ? ';nulls=stripped' : ''}`
    case 'csv':
      return 'text/csv'
    case 'openapi':
      return media.version === '2.0' ? 'application/openapi+json' : 'application/openapi+json;version=3.1'
    case 'geojson':
      return 'application/geo+json'
    case 'raw':
      return media.type
    case 'custom':
      return media.handler.type
    case 'plan':
      return planType(media.format, bareType(media.of), media.options)
  }
}
