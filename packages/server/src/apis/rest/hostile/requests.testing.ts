import fc from 'fast-check'
import { BATCH_TYPE } from '../batch/request.ts'
import { CASTS, COLUMNS, FUNCTIONS, HOSTILE, MARK, ODD_NAMES, OPERATORS, TABLES } from './words.testing.ts'

/** A request as it is sent: nothing in it is encoded but what HTTP itself asks for. */
export interface HostileRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE' | 'OPTIONS'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
}

const hostile = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
)
const quoted = (text: fc.Arbitrary<string>) => text.map((name) => `"${name.replace(/[\\"]/g, '\\$&')}"`)
const known = <T extends string>(names: readonly T[]) => fc.constantFrom(...names)
const oddName = fc.oneof(known(ODD_NAMES), hostile)
const nameOf = (names: readonly string[]) =>
  fc.oneof({ weight: 30, arbitrary: known(names) }, { weight: 1, arbitrary: quoted(oddName) }, { weight: 1, arbitrary: oddName })

const column = nameOf(COLUMNS)
const field = fc.oneof(
  { weight: 5, arbitrary: column },
  {
    weight: 1,
    arbitrary: fc
      .tuple(column, fc.constantFrom('->', '->>'), fc.oneof(fc.constantFrom('a', '0', '-1', 'n'), quoted(hostile), hostile))
      .map((parts) => parts.join('')),
  },
)
const scalar = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('1', '2', '0', 'a', 'x', 'null', 'true', '{1,2}', '[1,5)', '2020-01-01', '{"a":1}', '1.5', 'happy'),
  },
  { weight: 2, arbitrary: hostile },
  { weight: 1, arbitrary: quoted(hostile) },
)
const list = fc.array(fc.oneof({ weight: 6, arbitrary: quoted(hostile) }, scalar), { maxLength: 4 }).map((items) => `(${items.join(',')})`)
const operand = fc.oneof(
  { weight: 3, arbitrary: scalar },
  { weight: 1, arbitrary: list },
  { weight: 1, arbitrary: hostile.map((text) => `{"${text}",b}`) },
)
const IS = ['null', 'not_null', 'true', 'unknown', MARK] as const
const operationOn = (value: fc.Arbitrary<string>, values: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.tuple(known(OPERATORS), value).map((parts) => parts.join('.')) },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom('in', 'not.in'), values).map((parts) => parts.join('.')) },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom('is', 'not.is'), known(IS)).map((parts) => parts.join('.')) },
  )
const operation = operationOn(operand, list)
/** Quoted, for the most part: what is not ends the term. */
const term = fc.oneof(
  { weight: 8, arbitrary: fc.oneof(quoted(hostile), fc.constantFrom('1', 'a', '{a,b}', '2020-01-01')) },
  { weight: 1, arbitrary: scalar },
)
const innerOperation = operationOn(
  term,
  fc.array(term, { maxLength: 3 }).map((items) => `(${items.join(',')})`),
)

const selectItem = fc.letrec<{ item: string; list: string }>((tie) => ({
  item: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          fc.constantFrom('', 'alias:', `"${MARK}":`, `${MARK}:`),
          field,
          fc.oneof(
            fc.constant(''),
            known(CASTS).map((cast) => `::${cast}`),
          ),
          fc.constantFrom('', '', '', '', '', '', '', '', '', '', '.sum()', '.count()', '.min()', '.zq7mark()'),
        )
        .map((parts) => parts.join('')),
    },
    { weight: 1, arbitrary: fc.constantFrom('*', 'count()', '...', '...tasks(name)', '...clients(*)') },
    {
      weight: 2,
      arbitrary: fc
        .tuple(
          fc.constantFrom('', 'x:', '...'),
          nameOf(['clients', 'projects', 'wide', 'tasks', 'open_tasks', 'details']),
          fc.oneof(
            { weight: 12, arbitrary: fc.constantFrom('', '', '!inner', '!left', '!client_id') },
            { weight: 1, arbitrary: hostile.map((text) => `!${text}`) },
          ),
          tie('list'),
        )
        .map(([alias, table, hint, inner]) => `${alias}${table}${hint}(${inner})`),
    },
  ),
  list: fc.array(tie('item'), { minLength: 1, maxLength: 4 }).map((items) => items.join(',')),
}))
const logic = fc.letrec<{ term: string; list: string }>((tie) => ({
  term: fc.oneof(
    { depthSize: 'small' },
    { weight: 3, arbitrary: fc.tuple(field, innerOperation).map(([name, rest]) => `${name}.${rest}`) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom('and', 'or', 'and', 'or', 'and', 'or', 'and', 'or', 'not.and', 'not.or', MARK), tie('list'))
        .map(([word, terms]) => `${word}${terms}`),
    },
  ),
  list: fc.array(tie('term'), { minLength: 1, maxLength: 4 }).map((terms) => `(${terms.join(',')})`),
}))
const orderTerm = fc
  .tuple(
    fc.oneof(
      { weight: 8, arbitrary: field },
      { weight: 1, arbitrary: fc.tuple(nameOf(TABLES), column).map(([table, name]) => `${table}(${name})`) },
    ),
    fc.constantFrom('', '', '', '.asc', '.asc', '.desc', '.desc', '.nullsfirst', '.desc.nullslast', `.${MARK}`),
  )
  .map((parts) => parts.join(''))
const number = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('0', '1', '5', '100', '2000') },
  { weight: 2, arbitrary: fc.constantFrom('-1', '99999999999999999999', '999999999999999999', '1.5', '') },
  { weight: 1, arbitrary: hostile },
)
const embed = fc.oneof({ weight: 12, arbitrary: fc.constant('') }, { weight: 1, arbitrary: nameOf(TABLES).map((name) => `${name}.`) })

const pair = fc.oneof(
  { weight: 12, arbitrary: fc.tuple(selectItem.list).map(([value]) => ['select', value]) },
  { weight: 18, arbitrary: fc.tuple(embed, field, operation).map(([table, name, value]) => [`${table}${name}`, value]) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(embed, fc.constantFrom('and', 'or', 'not.and'), logic.list)
      .map(([table, word, value]) => [`${table}${word}`, value]),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(embed, fc.array(orderTerm, { maxLength: 3 })).map(([table, terms]) => [`${table}order`, terms.join(',')]),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(embed, fc.constantFrom('limit', 'offset'), number).map(([table, word, value]) => [`${table}${word}`, value]),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom('on_conflict', 'columns'), fc.array(column, { maxLength: 3 }))
      .map(([word, names]) => [word, names.join(',')]),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('a', 'b', 'client', 'pid', 'v', 'l', 'name', '', MARK), scalar) },
  { weight: 1, arbitrary: fc.tuple(hostile, hostile) },
) as fc.Arbitrary<[string, string]>

/** Lone surrogates cannot be encoded, and what is not encoded at all must be survived too. */
const encode = (text: string): string => {
  try {
    return encodeURIComponent(text)
  } catch {
    return '%ED%A0%80'
  }
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: they cannot stand in a request line
const raw = (text: string): string => text.replaceAll(/[\u0000-\u0020\u007f-\uffff#\\]/gu, (char) => encode(char))
const query = fc
  .tuple(fc.array(pair, { maxLength: 5 }), fc.boolean())
  .map(([pairs, careful]) =>
    pairs.map(([name, value]) => `${careful ? encode(name) : raw(name)}=${careful ? encode(value) : raw(value)}`).join('&'),
  )

const path = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.oneof({ weight: 5, arbitrary: known(TABLES) }, { weight: 2, arbitrary: oddName }).map((name) => `/${encode(name)}`),
  },
  {
    weight: 3,
    arbitrary: fc
      .oneof({ weight: 5, arbitrary: known(FUNCTIONS) }, { weight: 1, arbitrary: oddName })
      .map((name) => `/rpc/${encode(name)}`),
  },
  { weight: 1, arbitrary: hostile.map((text) => `/${raw(text)}`) },
)

const headerText = fc.oneof(hostile, fc.string({ maxLength: 10 })).map((text) => text.replaceAll(/[^\x20-\x7e]/g, '?'))
const ACCEPT = [
  '*/*',
  'application/json',
  'text/csv',
  'application/vnd.pgrst.object+json',
  'application/vnd.pgrst.array+json;nulls=stripped',
  'application/geo+json',
  'text/x-names',
  'image/png',
  'application/vnd.pgrst.plan+json; options=analyze|zq7mark',
  'application/vnd.pgrst.plan+text; for="text/csv"; options=verbose',
  'text/html;q=0.5, */*;q=0.1',
]
const PREFER = [
  'return=representation',
  'return=minimal',
  'return=headers-only',
  'count=exact',
  'count=planned',
  'count=estimated',
  'resolution=merge-duplicates',
  'resolution=ignore-duplicates',
  'missing=default',
  'handling=strict',
  'handling=lenient',
  'max-affected=1',
  'tx=rollback',
  'timezone=Europe/Paris',
  `timezone=${MARK}`,
  MARK,
]
const TYPES = [
  'application/json',
  'text/csv',
  'application/x-www-form-urlencoded',
  'text/plain',
  'application/octet-stream',
  'application/vnd.pgrst.array+json',
  'application/vnd.sovrabase.batch+json',
  MARK,
]
/** Most requests have few headers: one that is refused hides what lies behind it. */
const seldom = (text: fc.Arbitrary<string>, every = 6) =>
  fc.oneof({ weight: every, arbitrary: fc.constant('') }, { weight: 1, arbitrary: text })
const headers = fc
  .record({
    accept: seldom(fc.oneof({ weight: 5, arbitrary: known(ACCEPT) }, headerText)),
    prefer: seldom(
      fc
        .array(fc.oneof({ weight: 12, arbitrary: known(PREFER) }, { weight: 1, arbitrary: headerText }), { maxLength: 4 })
        .map((all) => all.join(', ')),
      1,
    ),
    range: seldom(fc.oneof(fc.constantFrom('0-5', '5-', '9-1', '99999999999999999-'), headerText)),
    'content-type': fc.oneof(
      { weight: 12, arbitrary: fc.constant('application/json') },
      { weight: 2, arbitrary: known(TYPES) },
      { weight: 1, arbitrary: headerText },
    ),
    'accept-profile': seldom(fc.oneof(fc.constantFrom('public', 'other'), headerText), 20),
    'content-profile': seldom(fc.oneof(fc.constantFrom('public', 'other'), headerText), 20),
    'x-role': fc.constantFrom('anon', 'authenticated', 'service_role'),
    cookie: seldom(headerText),
    'x-any': seldom(headerText),
  })
  .map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== '')))

const jsonValue = fc.oneof(
  { weight: 3, arbitrary: scalar },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(1, 2, null, true, 1e308, -1) },
)
const row = fc.dictionary(nameOf(COLUMNS), jsonValue, { maxKeys: 4 })
/** Of a batch: sound requests first, whose results those behind them refer to. */
const REFERENCES = [
  '$0.id',
  '$0[0].id',
  '$0[*].id',
  '$1.name',
  '$0.$',
  '$9.id',
  '$$0.id',
  `$0."${MARK}"`,
  '$0.',
  '$',
  '$0.constructor',
] as const
const FIRST = [
  { method: 'GET', path: '/wide?select=id,name,data&order=id&limit=1' },
  { method: 'GET', path: '/wide?select=id,name&order=id&limit=3' },
  { method: 'POST', path: '/wide', headers: { Prefer: 'return=representation' }, body: { name: `${MARK}'"); --` } },
] as const
const referring = fc.oneof(
  fc
    .tuple(column, known(OPERATORS), known(REFERENCES))
    .map(([name, operator, value]) => ({ method: 'GET', path: `/wide?${encode(name)}=${operator}.${encode(value)}` })),
  known(REFERENCES).map((value) => ({ method: 'GET', path: `/wide?id=in.(${encode(value)},1)&select=id` })),
  fc.tuple(column, known(REFERENCES)).map(([name, value]) => ({ method: 'PATCH', path: '/wide?id=eq.1', body: { [name]: value } })),
  known(REFERENCES).map((value) => ({ method: 'POST', path: '/rpc/echo_text', headers: { Prefer: value }, body: [value, { a: value }] })),
)
const stray = fc.record(
  {
    method: fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE'),
    path: fc.tuple(path, query).map(([at, text]) => `${at}?${text}`),
    headers: fc.constantFrom({}, { Prefer: 'return=representation' }),
    body: row,
  },
  { requiredKeys: ['method', 'path'] },
)
const batch = fc
  .tuple(fc.subarray([...FIRST]), fc.array(referring, { maxLength: 2 }), fc.array(stray, { maxLength: 1 }))
  .map((parts) => parts.flat())
const body = fc.oneof(
  { weight: 4, arbitrary: row.map((value) => JSON.stringify(value)) },
  { weight: 3, arbitrary: fc.array(row, { maxLength: 3 }).map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: batch.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: fc.json({ maxDepth: 4 }) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.array(scalar, { maxLength: 3 }), { maxLength: 3 })
      .map((lines) => lines.map((line) => line.join(',')).join('\n')),
  },
  { weight: 1, arbitrary: hostile },
)

const METHODS = ['GET', 'GET', 'GET', 'GET', 'HEAD', 'POST', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS'] as const
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

export const requests: fc.Arbitrary<HostileRequest> = fc
  .tuple(
    known(METHODS),
    fc.oneof({ weight: 20, arbitrary: path }, { weight: 2, arbitrary: fc.constant('/') }),
    query,
    headers,
    fc.option(body, { freq: 8 }),
    batch,
  )
  .map(([asked, at, text, all, content, list]) => {
    if (at === '/' && asked !== 'GET') {
      const keyed: Record<string, string> = text.length % 3 === 0 ? { 'idempotency-key': MARK } : {}
      return { method: 'POST', url: at, headers: { ...all, 'content-type': BATCH_TYPE, ...keyed }, body: JSON.stringify(list) }
    }
    // Most of what is asked of a function by another method is refused before it is looked at.
    const method = at.startsWith('/rpc/') && !['GET', 'HEAD', 'OPTIONS'].includes(asked) && text.length % 8 > 0 ? 'POST' : asked
    return { method, url: text === '' ? at : `${at}?${text}`, headers: all, body: BODILESS.has(method) ? null : content }
  })
