import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { config, send } from './frame.ts'
import { page } from './html.ts'
import { textsFor } from './texts.ts'

/**
 * Asks the browser for a passkey or security key, or to make one, in the name of a command of this machine: authenticators answer to pages of our own site
 * alone. What is asked comes in the fragment, which no server sees; the answer goes to a port of the machine that the browser runs on, and
 * to nowhere else, so that a link from elsewhere gains nothing by it.
 */
const SCRIPT = `const status = document.querySelector('[role=status]')
const button = document.querySelector('button')
const bytesOf = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0))
const textOf = (value) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value)))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
function asked() {
  try {
    const { options, kind, to, state } = JSON.parse(new TextDecoder().decode(bytesOf(location.hash.slice(1))))
    const url = new URL(to)
    const here = url.protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(url.hostname) && url.pathname === '/sovra' && url.username === ''
    return here && typeof state === 'string' ? { options, kind, url, state } : null
  } catch {
    return null
  }
}
const wish = asked()
if (wish === null) {
  button.hidden = true
  status.textContent = status.dataset.wrong
} else if (wish.kind === 'create') document.querySelector('[data-create]').textContent = document.querySelector('[data-create]').dataset.create
const ask = ({ kind, options }) =>
  kind === 'create'
    ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) })
button.addEventListener('click', async () => {
  try {
    const credential = await ask(wish)
    wish.url.searchParams.set('state', wish.state)
    wish.url.searchParams.set('code', textOf(credential))
    location.assign(wish.url)
  } catch (error) {
    status.textContent = error.message
  }
})
`

export const authenticatorPages = (): FastifyPluginAsyncTypebox => async (app) => {
  app.get('/authenticator', { config }, (request, reply) => {
    const { lang, t } = textsFor(request.headers['accept-language'])
    const body = `<h1>${t.authenticator}</h1><p data-create="${t.authenticatorCreates}">${t.authenticatorIntro}</p><button>${t.continue}</button><p role="status" data-wrong="${t.linkOver}"></p><script src="/authenticator.js"></script>`
    return send(reply, page(lang, t.authenticator, body))
  })
  app.get('/authenticator.js', { config }, (_request, reply) =>
    reply.header('cache-control', 'no-cache').type('text/javascript; charset=utf-8').send(SCRIPT),
  )
}
