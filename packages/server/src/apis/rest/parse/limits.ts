/** What one request may hold, so that parsing and planning stay cheap whatever is sent. */
export const LIMITS = {
  /** Nested embeds, and nested and/or. */
  depth: 32,
  /** Filters and conditions of a request. */
  conditions: 10_000,
  /** Characters of a shape that is kept planned. */
  cachedShape: 8_192,
} as const
