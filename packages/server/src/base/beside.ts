import { registerHooks } from 'node:module'

/** Of `.js` it is what its package says. */
const FORMATS: Readonly<Record<string, string>> = { '.ts': 'module-typescript', '.mjs': 'module' }

const WHOLE = /^\.\.?\/.*(\.ts|\.mjs|\.js)$/

/**
 * Imports a large graph of files: one that is named whole, beside the file that imports it, is there. Node asks the disk at each of some
 * 4,000 such imports whether it is a file, where links lead and which package it is of, which was a tenth of a start's CPU. What is named
 * otherwise (a package, the built-in ones, by `require`) is found as ever, and so is all that is imported later.
 */
export async function importBeside<T>(load: () => Promise<T>): Promise<T> {
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const [, ending] = WHOLE.exec(specifier) ?? []
      if (ending === undefined || context.parentURL === undefined || !context.conditions.includes('import')) return next(specifier, context)
      return { url: new URL(specifier, context.parentURL).href, format: FORMATS[ending], shortCircuit: true }
    },
  })
  try {
    return await load()
  } finally {
    hooks.deregister()
  }
}
