/** What the command line knows of the API without its schemas: loading the library of those would double the start of each command. */

/** Kinds of mail that a realm sends. */
export const MAIL_KINDS = ['confirmation', 'recovery', 'magic_link', 'invite', 'email_change', 'reauthentication'] as const
export type MailKind = (typeof MAIL_KINDS)[number]

/** Users of one request of an import or an export. */
export const USER_BATCH = 500

/** Hours that statements are logged at most; then it ends by itself. */
export const STATEMENT_HOURS = 24
