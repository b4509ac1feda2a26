import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { keyIdOf, makeVault } from './crypto.ts'
import { isSovraError } from './errors.ts'
import { checkRootKey, jwtSecretFile, loadSecrets, rootKeyFile, type SecretsOptions } from './secrets.ts'

const root = mkdtempSync(join(tmpdir(), 'sovra-secrets-'))
after(() => rmSync(root, { recursive: true, force: true }))
let count = 0
const freshFolder = () => join(root, String(count++), 'keys')

const load = (folder: string, options: Partial<SecretsOptions> = {}) =>
  loadSecrets({ folder, env: {}, jwtSecret: null, dataExists: false, knownKeyId: null, ...options })

describe('vault', () => {
  const key = Buffer.alloc(32, 1)
  const other = Buffer.alloc(32, 2)

  test('what is sealed opens again in its context, and is different each time', () => {
    const vault = makeVault(key)
    for (const text of ['', 'secret', 'é\u0000😀', 'x'.repeat(100_000)]) {
      const sealed = vault.seal(text, 'api_keys/1')
      assert.equal(vault.open(sealed, 'api_keys/1'), text)
      assert.match(sealed, /^v1\.[0-9a-f]{12}\.[\w-]+$/)
      assert.notEqual(sealed, vault.seal(text, 'api_keys/1'))
      assert.ok(vault.isCurrent(sealed))
    }
  })

  test('a text that was moved, changed or cut does not open', () => {
    const vault = makeVault(key)
    const sealed = vault.seal('secret', 'api_keys/1')
    const [version, id, body] = sealed.split('.') as [string, string, string]
    const bytes = Buffer.from(body, 'base64url')
    const damaged = (error: unknown) => isSovraError(error, 'secret_damaged') && !error.message.includes('secret ') === false
    assert.throws(() => vault.open(sealed, 'api_keys/2'), damaged)
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes)
      changed[i] = (changed[i] ?? 0) ^ 1
      assert.throws(() => vault.open(`${version}.${id}.${changed.toString('base64url')}`, 'api_keys/1'), damaged)
    }
    for (const wrong of ['', 'v1', `v2.${id}.${body}`, `${version}.${id}.`, `${version}.${id}.AAAA`, `${sealed}.x`, body]) {
      assert.throws(() => vault.open(wrong, 'api_keys/1'), damaged, wrong)
    }
  })

  test('former keys open but do not seal; unknown ones are named', () => {
    const before = makeVault(key)
    const sealed = before.seal('secret', 'c')
    const rotated = makeVault(other, [key])
    assert.equal(rotated.open(sealed, 'c'), 'secret')
    assert.equal(rotated.isCurrent(sealed), false)
    assert.ok(rotated.isCurrent(rotated.seal('secret', 'c')))
    assert.throws(
      () => makeVault(other).open(sealed, 'c'),
      (error) => isSovraError(error, 'secret_key_unknown') && error.message.includes(keyIdOf(key)),
    )
  })
})

describe('first start', () => {
  test('makes both files once, 0600 in a folder of 0700', () => {
    const folder = freshFolder()
    const first = load(folder)
    assert.deepEqual(first.made, [rootKeyFile(folder), jwtSecretFile(folder)])
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    for (const file of first.made) assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.ok(first.jwtSecret.length >= 64)
    const again = load(folder, { dataExists: true, knownKeyId: first.vault.keyId })
    assert.deepEqual(again.made, [])
    assert.equal(again.vault.keyId, first.vault.keyId)
    assert.equal(again.jwtSecret, first.jwtSecret)
    assert.deepEqual(readdirSync(folder).sort(), ['jwt.secret', 'root.key'])
  })

  test('a given session secret makes no file', () => {
    const folder = freshFolder()
    const secrets = load(folder, { jwtSecret: 'g'.repeat(32) })
    assert.equal(secrets.jwtSecret, 'g'.repeat(32))
    assert.ok(!existsSync(jwtSecretFile(folder)))
  })

  test('processes that start at once agree', async () => {
    const folder = freshFolder()
    const script = `import('${import.meta.dirname}/secrets.ts').then(({ loadSecrets }) => {
      const s = loadSecrets({ folder: ${JSON.stringify(folder)}, env: {}, jwtSecret: null, dataExists: false, knownKeyId: null })
      console.log(s.vault.keyId, s.jwtSecret, s.made.length)
    })`
    const answers = await Promise.all(Array.from({ length: 4 }, () => output(script)))
    assert.equal(new Set(answers.map((answer) => answer.split(' ').slice(0, 2).join(' '))).size, 1)
    assert.equal(
      answers.reduce((sum, answer) => sum + Number(answer.trim().split(' ')[2]), 0),
      2,
      'each file was made by one of them',
    )
    assert.equal(readdirSync(folder).length, 2)
  })

  test('a folder that cannot be made is named', () => {
    writeFileSync(join(root, 'file'), '')
    assert.throws(
      () => load(join(root, 'file', 'keys')),
      (error) => isSovraError(error, 'secret_file_unusable') && error.message.includes('keys/root.key'),
    )
  })
})

function output(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.on('data', (data: Buffer) => {
      text += data.toString()
    })
    child.on('error', reject)
    child.on('close', () => resolve(text))
  })
}

describe('the root key is never made again', () => {
  test('lost: the error names the file and the id', () => {
    const folder = freshFolder()
    const { vault } = load(folder)
    rmSync(rootKeyFile(folder))
    for (const options of [{ dataExists: true, knownKeyId: vault.keyId }, { knownKeyId: vault.keyId }]) {
      assert.throws(
        () => load(folder, options),
        (error) =>
          isSovraError(error, 'root_key_missing') && error.message.includes(rootKeyFile(folder)) && error.message.includes(vault.keyId),
      )
    }
    assert.throws(
      () => load(folder, { dataExists: true }),
      (error) => isSovraError(error, 'root_key_missing'),
    )
    assert.ok(!existsSync(rootKeyFile(folder)))
  })

  test('another one: the error names both ids', () => {
    const folder = freshFolder()
    const { vault } = load(folder)
    const wrong = Buffer.alloc(32, 9)
    writeFileSync(rootKeyFile(folder), wrong.toString('hex'))
    assert.throws(
      () => load(folder, { dataExists: true, knownKeyId: vault.keyId }),
      (error) =>
        isSovraError(error, 'root_key_wrong') &&
        [vault.keyId, keyIdOf(wrong), rootKeyFile(folder)].every((part) => `${error.message}${error.hint}`.includes(part)),
    )
  })

  test('no key at all in the file, or half of one', () => {
    const folder = freshFolder()
    mkdirSync(folder, { recursive: true })
    for (const text of ['abc', '0'.repeat(63), '# only a remark', 'g'.repeat(64)]) {
      writeFileSync(rootKeyFile(folder), text)
      assert.throws(
        () => load(folder),
        (error) => isSovraError(error, 'root_key_malformed') && !error.message.includes(text),
        text,
      )
    }
    writeFileSync(rootKeyFile(folder), '\n')
    assert.throws(
      () => load(folder),
      (error) => isSovraError(error, 'secret_file_unusable'),
    )
  })
})

describe('given from outside', () => {
  const key = Buffer.alloc(32, 7)

  test('by variable, hexadecimal or base64, and nothing is written', () => {
    for (const text of [key.toString('hex'), key.toString('base64'), key.toString('base64url')]) {
      const folder = freshFolder()
      const secrets = load(folder, { env: { SOVRABASE_ROOT_KEY: text }, jwtSecret: 'x'.repeat(32) })
      assert.equal(secrets.vault.keyId, keyIdOf(key))
      assert.equal(secrets.source, 'SOVRABASE_ROOT_KEY')
      assert.ok(!existsSync(folder))
    }
    assert.throws(
      () => load(freshFolder(), { env: { SOVRABASE_ROOT_KEY: 'canary' } }),
      (error) => isSovraError(error, 'root_key_malformed') && !error.message.includes('canary'),
    )
  })

  test('by a file, which is not made', () => {
    const file = join(root, 'given.key')
    assert.throws(
      () => load(freshFolder(), { env: { SOVRABASE_ROOT_KEY_FILE: file } }),
      (error) => isSovraError(error, 'secret_file_unusable') && error.message.includes(file),
    )
    writeFileSync(file, `${key.toString('hex')}\n`)
    const secrets = load(freshFolder(), { env: { SOVRABASE_ROOT_KEY_FILE: file } })
    assert.equal(secrets.source, file)
    assert.equal(secrets.vault.keyId, keyIdOf(key))
  })
})

test('rotation: a new key seals, the former one still opens, what was recorded still fits', () => {
  const folder = freshFolder()
  const before = load(folder)
  const sealed = before.vault.seal('secret', 'c')
  const former = before.vault.keyId
  const id = before.rotateRootKey()
  assert.equal(before.vault.keyId, id)
  assert.equal(before.vault.open(sealed, 'c'), 'secret')
  assert.equal(before.vault.isCurrent(sealed), false)
  assert.equal(statSync(rootKeyFile(folder)).mode & 0o777, 0o600)
  const after = load(folder, { dataExists: true, knownKeyId: former })
  assert.equal(after.vault.keyId, id)
  assert.notEqual(id, former)
  assert.equal(after.vault.open(sealed, 'c'), 'secret')
  assert.deepEqual(after.keyIds, [id, former])
  assert.equal(readFileSync(rootKeyFile(folder), 'utf8').trim().split('\n').length, 2)
  assert.throws(
    () => checkRootKey(before, id, folder),
    (error) => isSovraError(error, 'root_key_wrong'),
  )
  assert.equal(before.forgetFormerRootKeys(), 1)
  assert.equal(readFileSync(rootKeyFile(folder), 'utf8').trim(), before.revealRootKeys().join())
  assert.throws(
    () => before.vault.open(sealed, 'c'),
    (error) => isSovraError(error, 'secret_key_unknown'),
  )
  const given = load(freshFolder(), { env: { SOVRABASE_ROOT_KEY: '07'.repeat(32) } })
  assert.throws(
    () => given.rotateRootKey(),
    (error) => isSovraError(error, 'root_key_elsewhere'),
  )
})
