import { askAuthenticator } from '../api/authenticator.ts'
import type { Browsing } from '../api/browser.ts'
import type { Asking } from '../api/session.ts'
import { ask } from '../terminal/prompt.ts'
import type { Context } from './command.ts'

/** How the address is told that a browser goes to. */
export const browsingOf = (context: Context, opens: boolean): Browsing => ({
  says: (address) => context.note(`Sign in in the browser:\n\n  ${address}\n`),
  opens,
})

/** How somebody shows who they are besides a password. */
export const askingOf = (url: string, browsing: Browsing): Asking => ({
  askCode: () => ask('Code of your second factor: '),
  askKey: (options) => askAuthenticator(url, 'get', options, browsing),
  makeKey: (options) => askAuthenticator(url, 'create', options, browsing),
})
