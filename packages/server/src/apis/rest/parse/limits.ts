/** What one request may hold, so that parsing and planning stay cheap whatever is sent. */
export const LIMITS = {
  /** Nested embeds, and nested and/or. */
  depth: 32,
  /** Filters and conditions of a request. */
  conditions: 10_000,
  /** Embedded resources of a request. */
  resources: 500,
  /** SELECTs that a plan is made of: a resource is looked at again where it is counted or asked for its rows. */
  selects: 1_000,
  /** Columns of a resource with those that are spread in it, where each is named. */
  columns: 10_000,
  /** Characters of SQL that a plan is made of, each part counted again in what holds it: parts that are said twice double at each level. */
  sql: 8_000_000,
  /** Characters of a shape that is kept planned. */
  cachedShape: 8_192,
} as const
