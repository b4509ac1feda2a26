/** Majors of PostgreSQL whose data can be run: they know the builtin locale provider, and our system schema suits them. */
export const MAJORS = [17, 18] as const
