import { ERRORS } from '@sovrabase/contract/errors'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

/** docs/errors.md */
export function errorReference(): string {
  const rows = Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, [status, message, hint]]) => `| \`${code}\` | ${status} | ${cell(message)} | ${cell(hint)} |`)
  return `# Errors

<!-- Generated from packages/contract/src/errors.ts by \`npm run generate\`: edit there. -->

Every error that Sovrabase itself answers. The control API sends \`{ "code", "message", "hint", "details", "request_id" }\`; the APIs of a project
render the same errors in their own dialects. \`{name}\` stands for a value of the case at hand. Errors of PostgreSQL keep their SQLSTATE.

| code | status | message | hint |
|---|---|---|---|
${rows.join('\n')}
`
}
