import type { Template } from '@sovrabase/contract/auth'
import type { MailKind } from '@sovrabase/contract/plain'
import { type Composed, compose } from './compose.ts'
import type { MailText } from './languages.ts'

/** A mail as somebody would get it, with values that are nobody's. */
export const preview = (kind: MailKind, shipped: MailText, template: Template | undefined, site: string): Composed =>
  compose(shipped, template, {
    ConfirmationURL: `${site}/auth/v1/verify?token=example&type=${kind}`,
    Token: '123456',
    TokenHash: 'example',
    SiteURL: site,
    RedirectTo: site,
    Email: 'zoe@example.org',
    NewEmail: 'zoe@example.com',
    SendingTo: 'zoe@example.org',
    Data: { name: 'Zoé' },
  })
