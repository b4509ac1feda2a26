/** The set-up page in a real browser, JavaScript off. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chromium } from 'playwright-core'
import { startServer } from '../node.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
const skip = BROWSER || process.env.CI === 'true' ? false : 'chromium is not installed: run scripts/test-tools.sh'
/** The browser asks nobody but us. */
const QUIET = [
  ...['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions'],
  ...['--disable-default-apps', '--no-first-run', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
]

test('the set-up page works in a browser without JavaScript', { skip }, async (t) => {
  const server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  t.after(() => server.stop())
  const pictures = mkdtempSync(join(tmpdir(), 'sovra-pages-'))
  t.after(() => rmSync(process.env.KEEP_PICTURES ? '/nonexistent' : pictures, { recursive: true, force: true }))
  const browser = await chromium.launch({ ...(BROWSER ? { executablePath: BROWSER } : {}), headless: true, args: QUIET })
  t.after(() => browser.close())
  const context = await browser.newContext({ javaScriptEnabled: false, locale: 'fr-FR' })
  const page = await context.newPage()
  const link = /^Set up\s+(\S+)/m.exec(server.output())?.[1] ?? ''

  await page.goto(link)
  assert.equal(await page.locator('html').getAttribute('lang'), 'fr')
  assert.equal(await page.locator('h1').textContent(), 'Configurer cette installation')
  // The style of the page is in force: its own policy lets it through.
  assert.equal(await page.evaluate("getComputedStyle(document.querySelector('button')).cursor"), 'pointer')
  const picture = join(pictures, 'setup.png')
  await page.screenshot({ path: picture })
  assert.ok(statSync(picture).size > 5_000)
  if (process.env.KEEP_PICTURES) t.diagnostic(picture)

  await page.getByLabel('Adresse e-mail').fill('ada@example.org')
  await page.getByLabel('Mot de passe').fill('short')
  await page.getByLabel('Nom de votre organisation').fill('Ada & Cie')
  await page.getByRole('button').click()
  assert.ok(await page.getByRole('alert').isVisible())
  assert.equal(await page.getByLabel('Nom de votre organisation').inputValue(), 'Ada & Cie')
  await page.getByLabel('Mot de passe').fill('a long enough passphrase')
  await page.getByRole('button').click()
  assert.match((await page.locator('pre').textContent()) ?? '', /npx sovra projects create/)
  await page.screenshot({ path: join(pictures, 'done.png') })

  await page.goto(link)
  assert.equal(await page.locator('h1').textContent(), 'Ce lien a expiré ou a déjà servi')
  const [cookie] = await context.cookies()
  assert.deepEqual([cookie?.httpOnly, cookie?.sameSite], [true, 'Strict'])
})
