import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ERRORS } from './errors.ts'
import { ERRORS_FR } from './errors-fr.ts'
import { languageAccepted, languageOf, wordingOf } from './wording.ts'

const named = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort()

test('every error of our own has French words with the parameters of the English ones', () => {
  const french: Partial<Record<string, readonly [string, string]>> = ERRORS_FR
  for (const [code, [, english, advice]] of Object.entries(ERRORS)) {
    if (/^(PGRST|auth_)/.test(code)) continue
    const [message, hint] = french[code] ?? assert.fail(`errors-fr.ts has no words for ${code}: add them`)
    assert.deepEqual([named(message), named(hint)], [named(english), named(advice)], code)
    assert.equal(hint === '', advice === '', code)
  }
  assert.deepEqual(
    Object.keys(ERRORS_FR).filter((code) => !Object.hasOwn(ERRORS, code)),
    [],
  )
})

test('the language is that of the locale, or of the request', () => {
  for (const [env, language] of [
    [{ LANG: 'fr_FR.UTF-8' }, 'fr'],
    [{ LANG: 'fr' }, 'fr'],
    [{ LANG: 'fr_FR.UTF-8', LC_ALL: 'C' }, 'en'],
    [{ LANG: 'en_GB.UTF-8', LC_MESSAGES: 'fr_CA.UTF-8' }, 'fr'],
    [{ LANG: 'fro' }, 'en'],
    [{}, 'en'],
  ] as const)
    assert.equal(languageOf(env), language, JSON.stringify(env))
  for (const [header, language] of [
    ['fr-FR,fr;q=0.9,en;q=0.8', 'fr'],
    ['en-US,en;q=0.9,fr;q=0.8', 'en'],
    ['de, fr', 'fr'],
    [undefined, 'en'],
  ] as const)
    assert.equal(languageAccepted(header), language, header)
})

test('the words of other products stay as their clients know them', () => {
  assert.equal(wordingOf('not_found', {}, 'fr').message, 'Introuvable.')
  assert.equal(wordingOf('auth_user_not_found', {}, 'fr').message, ERRORS.auth_user_not_found[1])
})
