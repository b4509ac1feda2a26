/** A step of `pgrst.jwt_role_claim_key`: a member, an element, or the first text of a list that compares so. */
type Step = string | number | ((text: string) => boolean)

const STEP = /\.([A-Za-z_][\w-]*)|\.?"([^"]+)"|\[(\d{1,9})\]|\["([^"]+)"\]|\[\?\(\s*@\s*(==|!=|\^==|==\^|\*==)\s*"([^"]*)"\s*\)\]/y

const COMPARISONS: Readonly<Record<string, (text: string, with_: string) => boolean>> = {
  '==': (text, wanted) => text === wanted,
  '!=': (text, wanted) => text !== wanted,
  '^==': (text, wanted) => text.startsWith(wanted),
  '==^': (text, wanted) => text.endsWith(wanted),
  '*==': (text, wanted) => text.includes(wanted),
}

export type ClaimPath = readonly Step[]

/** `.app_metadata.role`, `."a claim".roles[0]`, `.roles[?(@ == "editor")]`, with or without a `$` before it. Null for what is no path. Pure. */
export function parseClaimPath(text: string): ClaimPath | null {
  const path = text.trim().replace(/^\$/, '')
  const steps: Step[] = []
  let at = 0
  while (at < path.length) {
    STEP.lastIndex = at
    const found = STEP.exec(path)
    // Nothing follows a comparison.
    if (!found || typeof steps.at(-1) === 'function') return null
    const [all, plain, quoted, index, bracketed, operator, operand = ''] = found
    const compare = operator === undefined ? undefined : COMPARISONS[operator]
    steps.push(compare ? (text) => compare(text, operand) : index !== undefined ? Number(index) : (plain ?? quoted ?? bracketed ?? ''))
    at += all.length
  }
  return steps.length === 0 ? null : steps
}

/** What a token says at a path; undefined for nothing. Pure. */
export function claimAt(claims: unknown, path: ClaimPath): unknown {
  let value = claims
  for (const step of path) {
    if (typeof step === 'function') return Array.isArray(value) ? value.find((each) => typeof each === 'string' && step(each)) : undefined
    if (typeof step === 'number' ? !Array.isArray(value) : typeof value !== 'object' || value === null || Array.isArray(value))
      return undefined
    value = Object.hasOwn(value as object, step) ? (value as Record<string | number, unknown>)[step] : undefined
  }
  return value
}
