import { LRUCache } from 'lru-cache'
import type { Catalogue, Routine } from '../../runtime/engines/postgres/catalogue/types.ts'
import { hoistedOf, type Preparation, prepare } from './before.ts'
import type { Plan } from './plan/types.ts'
import { type RestSettings, settingsInForce } from './settings.ts'

/** Plans kept for one catalogue and one settings. */
const PLANS = 2_000
const PLAN_CHARACTERS = 8_000_000
/** Roles whose preparation is kept, and functions that have one of their own. */
const ROLES = 1_000

/** Settings in force and the plans made under them: lives as long as both the catalogue and the settings do. */
export interface Space {
  readonly settings: RestSettings
  readonly plans: LRUCache<string, Plan>
  /** What runs before a role's statements; `routine`: that are calls of it. */
  preparation(role: string, routine: Routine | null, zoned: boolean): Preparation
  /** By schema: search_path of its requests. */
  readonly searchPaths: ReadonlyMap<string, string>
}

const spaces = new WeakMap<Catalogue, WeakMap<object, Space>>()
const NO_SECTION = {}

/** `section`: the project's stored `rest` settings, whose identity tells whether they changed. */
export function spaceOf(catalogue: Catalogue, section: object | undefined): Space {
  const own = section ?? NO_SECTION
  let bySection = spaces.get(catalogue)
  if (!bySection) {
    bySection = new WeakMap()
    spaces.set(catalogue, bySection)
  }
  let space = bySection.get(own)
  if (!space) {
    const settings = settingsInForce(own, catalogue.settings)
    space = {
      settings,
      plans: new LRUCache({ max: PLANS, maxSize: PLAN_CHARACTERS, sizeCalculation: (plan, key) => plan.sql.length + key.length + 500 }),
      preparation: preparations(catalogue, settings),
      searchPaths: new Map(settings.schemas.map((schema) => [schema, searchPath([schema, ...settings.extraSearchPath])])),
    }
    bySection.set(own, space)
  }
  return space
}

interface Kept {
  /** What a function lifts. */
  readonly lifted: ReturnType<typeof hoistedOf>
  readonly made: Map<string, Preparation>
}

function preparations(catalogue: Catalogue, settings: RestSettings): Space['preparation'] {
  const plain: Kept = { lifted: null, made: new Map() }
  const ofRoutines = new WeakMap<Routine, Kept>()
  function keptFor(routine: Routine): Kept {
    let kept = ofRoutines.get(routine)
    if (kept === undefined) {
      const lifted = hoistedOf(routine.settings, settings.hoisted)
      kept = lifted === null ? plain : { lifted, made: new Map() }
      ofRoutines.set(routine, kept)
    }
    return kept
  }
  return (role, routine, zoned) => {
    const { lifted, made } = routine?.settings ? keptFor(routine) : plain
    const key = zoned ? `\0${role}` : role
    let found = made.get(key)
    if (found === undefined) {
      found = prepare(catalogue, settings, { role, routine: lifted, zoned })
      if (made.size < ROLES) made.set(key, found)
    }
    return found
  }
}

/** Plain names stay plain, so that the text equals the one that sessions have from their start. */
const searchPath = (names: readonly string[]): string =>
  [...new Set(names)].map((name) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)).join(', ')
