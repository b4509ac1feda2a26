import { t } from './words.ts'

export type State = 'ok' | 'warn' | 'fail' | 'skipped'

/** What one look has found. */
export interface Check {
  /** Always the same word, for scripts. */
  readonly name: string
  readonly state: State
  readonly says: string
  /** What to do about it. */
  readonly remedy: string | null
}

export const ok = (name: string, says: string): Check => ({ name, state: 'ok', says, remedy: null })
export const warn = (name: string, says: string, remedy: string): Check => ({ name, state: 'warn', says, remedy })
export const bad = (name: string, says: string, remedy: string): Check => ({ name, state: 'fail', says, remedy })
export const skipped = (name: string, says: string): Check => ({ name, state: 'skipped', says, remedy: null })

/** A look that itself fails is a finding. */
export async function look(name: string, check: () => Check | readonly Check[] | Promise<Check | readonly Check[]>): Promise<Check[]> {
  try {
    const found = await check()
    return Array.isArray(found) ? [...found] : [found as Check]
  } catch (error) {
    const { message = 'unknown', hint } = error as { message?: string; hint?: string }
    return [bad(name, message.split('\n').join('; '), hint ?? t('look there'))]
  }
}
