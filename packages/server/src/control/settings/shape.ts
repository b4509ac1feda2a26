import type { Section, SectionValue } from '@sovrabase/contract/settings'
import { Type } from 'typebox'
import { type Stored, shownSettings } from '../../metadata/settings.ts'

export const SectionAnswer = Type.Object({ version: Type.Integer(), settings: Type.Unknown(), own: Type.Unknown() })
export const SectionPatch = Type.Record(Type.String(), Type.Unknown(), {
  description: 'A JSON merge patch (RFC 7396); null goes back to the default. What lies in a setting is replaced as a whole',
})

export const shown = <S extends Section>(section: S, { version, value, own }: Stored<S>) => ({
  version,
  settings: shownSettings(section, value),
  own: shownSettings(section, own),
})

export function merged<S extends Section>(_section: S, own: SectionValue<S>, patch: Readonly<Record<string, unknown>>): SectionValue<S> {
  const entries = Object.entries({ ...own, ...patch }).filter(([, value]) => value !== null)
  return Object.fromEntries(entries) as SectionValue<S>
}
