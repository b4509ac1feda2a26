import type { Preferences } from '../parse/headers.ts'

type Choice = 'resolution' | 'missing' | 'return' | 'count' | 'tx' | 'handling' | 'timezone' | 'max-affected'

/** The value of Preference-Applied: those of the given preferences that were asked for; '' for none. */
export function appliedPreferences(prefer: Preferences, choices: readonly Choice[]): string {
  const applied: string[] = []
  for (const choice of choices) {
    if (choice === 'max-affected') {
      if (prefer.maxAffected !== null && prefer.handling === 'strict') applied.push(`max-affected=${prefer.maxAffected}`)
    } else if (prefer[choice] !== null) applied.push(`${choice}=${prefer[choice]}`)
  }
  return applied.join(', ')
}
