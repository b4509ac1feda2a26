/**
 * Every error that Sovrabase itself can answer: code → [HTTP status, message, hint].
 * `{name}` in a text is replaced by the parameter of that name given to `fail()`.
 * docs/errors.md is generated from this table.
 */
export const ERRORS = {
  internal: [500, 'An unexpected error occurred.', 'Look for the request id in the server log.'],
  invalid_request: [400, 'The request is not valid: {reason}.', 'Compare it with /v1/openapi.json.'],
  not_found: [404, 'Not found.', 'The thing does not exist, or you may not know of it.'],
  forbidden: [403, 'You may not do {action} here.', 'Ask an owner or admin of the organisation for a role that may.'],
  unauthenticated: [401, 'No valid credentials were given.', 'Send a token as `Authorization: Bearer …`.'],
} as const satisfies Record<string, readonly [status: number, message: string, hint: string]>

export type ErrorCode = keyof typeof ERRORS
