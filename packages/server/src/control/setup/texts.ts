import type { ErrorCode } from '@sovrabase/contract/errors'

const en = {
  welcome: 'Welcome to Sovrabase',
  welcomeBody: 'This server runs projects, each with a PostgreSQL of its own.',
  readReference: 'Read the API reference',
  setup: 'Set up this installation',
  setupIntro: 'You become its first administrator. This link works once.',
  email: 'E-mail',
  password: 'Password',
  passwordHint: 'At least 8 characters',
  organisation: "Your organisation's name",
  create: 'Create',
  done: 'Done. Sovrabase is yours.',
  next: 'The next three commands, beside the server:',
  linkOver: 'This link has expired or was used already',
  linkOverBody: 'On the server, `sovra admin link` makes another.',
  invitation: 'You are invited',
  invitationIntro: 'With an account already, give its password; else choose one.',
  join: 'Join',
  joined: 'You are a member now.',
  signIn: 'Sign in as an administrator',
  signInIntro: 'This link works once, for 30 minutes.',
  newPassword: 'New password',
  newPasswordHint: 'Leave it empty to keep the one you have; at least 8 characters',
  continue: 'Continue',
  errors: {} as Readonly<Partial<Record<ErrorCode, string>>>,
  signedIn: 'You are signed in.',
  authenticator: 'Passkey or security key',
  authenticatorIntro: 'A `sovra` command on this machine wants to sign you in. Go on only if you have just started it.',
  authenticatorCreates: 'A `sovra` command on this machine wants to add a passkey to your account. Go on only if you have just started it.',
}

const fr: typeof en = {
  welcome: 'Bienvenue sur Sovrabase',
  welcomeBody: 'Ce serveur fait tourner des projets, chacun avec son propre PostgreSQL.',
  readReference: "Lire la référence de l'API",
  setup: 'Configurer cette installation',
  setupIntro: 'Vous en devenez le premier administrateur. Ce lien ne sert qu’une fois.',
  email: 'Adresse e-mail',
  password: 'Mot de passe',
  passwordHint: 'Au moins 8 caractères',
  organisation: 'Nom de votre organisation',
  create: 'Créer',
  done: 'C’est fait. Sovrabase est à vous.',
  next: 'Les trois prochaines commandes, à côté du serveur :',
  linkOver: 'Ce lien a expiré ou a déjà servi',
  linkOverBody: 'Sur le serveur, « sovra admin link » en crée un autre.',
  invitation: 'Vous êtes invité',
  invitationIntro: 'Si vous avez déjà un compte, donnez son mot de passe ; sinon, choisissez-en un.',
  join: 'Rejoindre',
  joined: 'Vous êtes membre à présent.',
  signIn: 'Se connecter comme administrateur',
  signInIntro: 'Ce lien ne sert qu’une fois, pendant 30 minutes.',
  newPassword: 'Nouveau mot de passe',
  newPasswordHint: 'Laissez vide pour garder l’actuel ; au moins 8 caractères',
  continue: 'Continuer',
  errors: {
    email_malformed: 'Cette adresse e-mail n’est pas valable.',
    password_too_weak: 'Le mot de passe est trop faible : au moins 8 caractères.',
    email_taken: 'Une personne a déjà cette adresse e-mail.',
    invalid_credentials: 'Adresse e-mail ou mot de passe erronés.',
    sign_in_refused: 'Ce compte ne peut pas se connecter.',
    rate_limited: 'Trop de tentatives ; réessayez plus tard.',
    too_many_sign_ins: 'Trop de connexions en même temps ; réessayez dans un instant.',
    invitation_of_another: 'Cette invitation est destinée à une autre adresse.',
    name_taken: 'Ce nom est déjà pris.',
  },
  signedIn: 'Vous êtes connecté.',
  authenticator: 'Clé d’accès ou clé de sécurité',
  authenticatorIntro: 'Une commande `sovra` de cette machine veut vous connecter. Ne continuez que si vous venez de la lancer.',
  authenticatorCreates:
    'Une commande `sovra` de cette machine veut ajouter une clé d’accès à votre compte. Ne continuez que si vous venez de la lancer.',
}

export type Texts = typeof en

const weightOf = (range: string): number => Number(/;\s*q=([\d.]+)/.exec(range)?.[1] ?? 1)

/** The better of French and English by Accept-Language (RFC 9110 §12.5.4); English when neither is asked for. */
export function textsFor(acceptLanguage: string | undefined): { lang: 'fr' | 'en'; t: Texts } {
  const ranges = (acceptLanguage ?? '').split(',').map((range) => ({ tag: range.trim().toLowerCase(), weight: weightOf(range) }))
  const best = (language: string) =>
    Math.max(0, ...ranges.filter(({ tag }) => tag.split(/[-;\s]/, 1)[0] === language).map(({ weight }) => weight))
  return best('fr') > best('en') ? { lang: 'fr', t: fr } : { lang: 'en', t: en }
}
