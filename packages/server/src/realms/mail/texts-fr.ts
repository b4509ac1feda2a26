import type { Texts } from './compose.ts'

const ignore = "Si vous n'êtes pas à l'origine de cette demande, ignorez ce message."

export const FR: Texts = {
  confirmation: {
    subject: 'Confirmez votre adresse',
    heading: 'Confirmez votre adresse',
    text: 'Il reste une étape pour terminer votre inscription.',
    button: "Confirmer l'adresse",
    code: 'Ou saisissez ce code :',
    ignore,
  },
  recovery: {
    subject: 'Réinitialisez votre mot de passe',
    heading: 'Réinitialisez votre mot de passe',
    text: 'Suivez le lien et choisissez un nouveau mot de passe.',
    button: 'Réinitialiser le mot de passe',
    code: 'Ou saisissez ce code :',
    ignore,
  },
  magic_link: {
    subject: 'Votre lien de connexion',
    heading: 'Connexion',
    text: 'Le lien vous connecte une seule fois.',
    button: 'Se connecter',
    code: 'Ou saisissez ce code :',
    ignore,
  },
  invite: {
    subject: 'Vous êtes invité',
    heading: 'Vous êtes invité',
    text: "Acceptez l'invitation pour créer votre compte.",
    button: "Accepter l'invitation",
    code: 'Ou saisissez ce code :',
    ignore,
  },
  email_change: {
    subject: "Confirmez le changement d'adresse",
    heading: "Confirmez le changement d'adresse",
    text: 'Votre compte va utiliser une autre adresse électronique.',
    button: 'Confirmer le changement',
    code: 'Ou saisissez ce code :',
    ignore,
  },
  reauthentication: {
    subject: "Confirmez qu'il s'agit de vous",
    heading: "Confirmez qu'il s'agit de vous",
    text: 'Une modification de votre compte demande ce code.',
    button: null,
    code: 'Votre code :',
    ignore,
  },
}
