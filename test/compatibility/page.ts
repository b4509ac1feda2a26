/** What became of one method. */
export interface Outcome {
  readonly method: string
  readonly shown: string
  /** '' where it answered as it must. */
  readonly failure: string
  readonly needs: string
}

export interface Client {
  readonly name: string
  readonly version: string
  readonly outcomes: readonly Outcome[]
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')

const HEAD = `# Compatibility

Made from runs of the unmodified clients against the data API on a real cluster (\`npm run compatibility\`), and compared with them by the tests: what stands here is what happened.

Errors have PostgREST's codes, messages and statuses; [batch.md](batch.md) and [search.md](search.md) say what there is beyond it. What differs from PostgREST on purpose:

| what | here | why |
|---|---|---|
| rights of new tables | none for \`anon\` and \`authenticated\`; the refusal names the GRANT and the policy | nothing is open by chance (\`default_grants: "supabase"\` gives them) |
| \`max_rows\` | 1,000 unless the project says otherwise | one request cannot take all |
| \`pgrst.jwt_secret\` in the database | refused: keys are the project's | who may sign is not for SQL to say |
| \`Allow\` of an OPTIONS request | what can be done and the caller's role may do (there: what can be done) | it tells a client what is worth asking for |
| a row merged twice, a key too long for its index, too many columns | 400 (500 there) | the request is at fault, not the server |
| writing to a view that cannot be written | 405 (500 there) | the same |
| nesting of embeds and of and/or, conditions of a request | 32 levels, 10,000 | a request stays cheap whatever is sent |
| line and headers of a request | 64 KiB, then 431 | the same |
`

function section({ name, version, outcomes }: Client): string {
  const failed = outcomes.filter(({ failure }) => failure !== '')
  const rows = outcomes.map(
    ({ method, shown, failure, needs }) =>
      `| \`${method}\` | ${failure === '' ? 'works' : `**fails**: ${cell(failure)}`} | \`${cell(shown)}\` | ${cell(needs)} |`,
  )
  return [
    `## ${name} ${version}`,
    '',
    `${outcomes.length - failed.length} of ${outcomes.length} work.${failed.length === 0 ? '' : ` These do not: ${failed.map(({ method }) => `\`${method}\``).join(', ')}.`}`,
    '',
    '| method | | run | needs |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

export const pageOf = (clients: readonly Client[]): string => `${HEAD}\n${clients.map(section).join('\n')}`
