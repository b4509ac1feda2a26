import { Type } from 'typebox'
import { MailLanguage, Template } from './auth.ts'
import { Id, Time } from './common.ts'
import { MAIL_KINDS } from './plain.ts'

const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()])

/** Newest first, the last hundred. `text` holds links and codes while a mail waits, and nothing once it was sent. */
export const Outbox = Type.Object({
  /** Whether an SMTP server is set, by the project or the platform. */
  configured: Type.Boolean(),
  waiting: Type.Integer(),
  items: Type.Array(
    Type.Object({
      id: Id,
      kind: Type.String(),
      to: Type.String(),
      subject: Type.String(),
      text: Type.String(),
      state: Type.Union([
        Type.Literal('waiting'),
        Type.Literal('sending'),
        Type.Literal('sent'),
        Type.Literal('failed'),
        Type.Literal('expired'),
      ]),
      attempts: Type.Integer(),
      last_error: orNull(Type.String()),
      created_at: Time,
      expires_at: Time,
      sent_at: orNull(Time),
    }),
  ),
})

export const MailTest = Type.Object(
  { to: Type.String({ maxLength: 320, pattern: '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$' }) },
  { additionalProperties: false },
)

/** `answer`: what the server said. */
export const MailTested = Type.Object({ host: Type.String(), answer: Type.String() })

/** `template`: one that is not saved yet; without it the one in force. */
export const MailPreview = Type.Object(
  {
    kind: Type.Union(MAIL_KINDS.map((kind) => Type.Literal(kind))),
    language: Type.Optional(MailLanguage),
    template: Type.Optional(Template),
  },
  { additionalProperties: false },
)
export const MailPreviewed = Type.Object({ subject: Type.String(), html: Type.String(), text: Type.String() })
