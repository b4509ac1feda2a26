import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { MAIL_KINDS } from '@sovrabase/contract/plain'
import { isSovraError } from '../../base/errors.ts'
import { compose } from './compose.ts'
import { readLanguages, SHIPPED } from './languages.ts'

const root = mkdtempSync(join(tmpdir(), 'sovra-languages-'))
after(() => rmSync(root, { recursive: true, force: true }))
let count = 0
/** A directory of an operator's. */
function directory(files: Readonly<Record<string, string>>): string {
  const dir = join(root, String(++count))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
  return dir
}
const WORDS = 'subject: Sag ja\nheading: H\ntext: T\nbutton: B\ncode: C\nignore: I\n'
const values = {
  ConfirmationURL: 'https://x/?a&b',
  Token: '1',
  TokenHash: '',
  SiteURL: '',
  RedirectTo: '',
  Email: '',
  NewEmail: '',
  SendingTo: '',
  Data: {},
}

test('each language that is shipped says all that there is to say', () => {
  const { names, missing } = readLanguages(null)
  assert.deepEqual(missing, [], 'these files are missing below realms/mail/languages')
  assert.ok(names.includes('en') && names.includes('fr'))
})

test('a third language is a folder; what it lacks is told, and said in English', () => {
  const languages = readLanguages(
    directory({ 'de/invite.yaml': WORDS, 'de/sms.yaml': "text: 'Code: {{ .Code }}'", 'fr/invite.yaml': WORDS }),
  )
  assert.deepEqual(languages.names, ['de', 'en', 'fr'])
  assert.deepEqual(
    languages.missing,
    MAIL_KINDS.filter((kind) => kind !== 'invite').map((kind) => `de/${kind}`),
  )
  assert.equal(languages.mail('invite', 'de').words.subject, 'Sag ja')
  assert.equal(languages.mail('invite', 'fr').words.subject, 'Sag ja', 'other words in a language that is there')
  assert.equal(languages.mail('recovery', 'fr').words.subject, 'Réinitialisez votre mot de passe')
  assert.equal(languages.mail('recovery', 'de').words.subject, 'Reset your password')
  assert.equal(languages.mail('recovery', 'xx').words.subject, 'Reset your password')
  assert.deepEqual([languages.sms('de'), languages.sms('xx')], ['Code: {{ .Code }}', 'Your code is {{ .Code }}'])
})

test('a layout of its own, with the values escaped', () => {
  const files = { 'de/invite.yaml': WORDS, 'de/invite.html': '<b>{{ .ConfirmationURL }}</b>' }
  const html = compose(readLanguages(directory(files)).mail('invite', 'de'), undefined, values)
  assert.deepEqual([html.html, html.text, html.subject], ['<b>https://x/?a&#38;b</b>', 'https://x/?a&b', 'Sag ja'])
  const both = readLanguages(directory({ ...files, 'de/invite.txt': 'T {{ .Token }}' })).mail('invite', 'de')
  assert.equal(compose(both, undefined, values).text, 'T 1')
  assert.equal(compose(both, { html: '<i>own</i>' }, values).text, 'own', 'the project’s own goes first')
})

test('the language is the best that is asked for and there is', () => {
  const { named } = readLanguages(directory({ 'pt-br/invite.yaml': WORDS, 'pt/invite.yaml': WORDS }))
  for (const [asked, language] of [
    ['pt-BR,pt;q=0.8', 'pt-br'],
    ['pt_PT', 'pt'],
    ['de, fr;q=0.5, en;q=0.4', 'fr'],
    ['en;q=0.3, fr-CA;q=0.9', 'fr'],
    ['fr;q=0, en', 'en'],
    ['de', null],
    ['constructor', null],
    ['', null],
    [undefined, null],
  ] as const)
    assert.equal(named(asked), language, String(asked))
})

test('a folder that is wrong says which file and why', () => {
  const refused = (files: Readonly<Record<string, string>>, reason: RegExp) =>
    assert.throws(
      () => readLanguages(directory(files)),
      (error) => isSovraError(error, 'mail_language_unreadable') && reason.test(error.message),
    )
  refused({ 'Deutsch/invite.yaml': WORDS }, /named as a language/)
  refused({ 'de/welcome.yaml': WORDS }, /named by a mail/)
  refused({ 'de/invite.yaml': 'subject: only' }, /does not say 'heading'/)
  refused({ 'de/invite.yaml': `${WORDS}footer: x` }, /'footer' has no place/)
  refused({ 'de/invite.yaml': '{' }, /no YAML/)
  refused({ 'de/invite.yaml': 'hello' }, /must say/)
  refused({ 'de/invite.html': 'x' }, /invite\.yaml.*not there/)
  refused({ 'de/invite.yaml': `text: ${'x'.repeat(70_000)}` }, /longer/)
  refused({ 'de/sms.yaml': 'text: no code' }, /\.Code/)
  assert.throws(() => readLanguages(join(root, 'nowhere')), /cannot be read/)
  cpSync(SHIPPED, join(root, 'copy'), { recursive: true })
  assert.deepEqual(readLanguages(join(root, 'copy')).missing, [], 'a copy of what is shipped is a beginning')
})
