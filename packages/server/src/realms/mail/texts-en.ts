import type { Texts } from './compose.ts'

const ignore = 'If you did not ask for this, ignore this mail.'

export const EN: Texts = {
  confirmation: {
    subject: 'Confirm your address',
    heading: 'Confirm your address',
    text: 'One step is left to finish your sign-up.',
    button: 'Confirm the address',
    code: 'Or enter this code:',
    ignore,
  },
  recovery: {
    subject: 'Reset your password',
    heading: 'Reset your password',
    text: 'Follow the link and choose a new password.',
    button: 'Reset the password',
    code: 'Or enter this code:',
    ignore,
  },
  magic_link: {
    subject: 'Your sign-in link',
    heading: 'Sign in',
    text: 'The link signs you in once.',
    button: 'Sign in',
    code: 'Or enter this code:',
    ignore,
  },
  invite: {
    subject: 'You have been invited',
    heading: 'You have been invited',
    text: 'Accept the invitation to make your account.',
    button: 'Accept the invitation',
    code: 'Or enter this code:',
    ignore,
  },
  email_change: {
    subject: 'Confirm the change of your address',
    heading: 'Confirm the change of your address',
    text: 'Your account is to use another e-mail address.',
    button: 'Confirm the change',
    code: 'Or enter this code:',
    ignore,
  },
  reauthentication: {
    subject: 'Confirm that it is you',
    heading: 'Confirm that it is you',
    text: 'A change of your account needs this code.',
    button: null,
    code: 'Your code:',
    ignore,
  },
}
