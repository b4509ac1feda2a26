const WORD = /[A-Za-z0-9]+/g

/** `order_items` → `OrderItems`; begins with a letter. */
export function pascal(...parts: readonly string[]): string {
  const words = parts.flatMap((part) => part.match(WORD) ?? [])
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return /^[A-Za-z]/.test(joined) ? joined : `X${joined}`
}

/** Gives each name once: `Todos`, `Todos2`. */
export function distinct(): (wanted: string) => string {
  const taken = new Set<string>()
  return (wanted) => {
    let name = wanted
    for (let n = 2; taken.has(name); n++) name = `${wanted}${n}`
    taken.add(name)
    return name
  }
}

/** The names of named types in a language without schemas: qualified by the schema's. */
export function typeNames(
  schemas: readonly {
    readonly name: string
    readonly enums: readonly { name: string }[]
    readonly composites: readonly { name: string }[]
  }[],
) {
  const free = distinct()
  const names = new Map<string, string>()
  for (const schema of schemas)
    for (const { name } of [...schema.enums, ...schema.composites]) names.set(`${schema.name}\0${name}`, free(pascal(schema.name, name)))
  return { free, of: (schema: string, name: string): string | undefined => names.get(`${schema}\0${name}`) }
}
