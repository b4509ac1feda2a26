import type { ErrorCode } from './errors.ts'

/** The codes whose words belong to another product's dialect (PostgREST's, GoTrue's): its clients compare them, so they stay English. */
type OfADialect = `PGRST${string}` | `auth_${string}`

/** Every error of our own has its French words: [message, hint] with the parameters of the English text. The codes are the same. */
export const ERRORS_FR: Readonly<Record<Exclude<ErrorCode, OfADialect>, readonly [message: string, hint: string]>> = {
  internal: ['Une erreur inattendue est survenue.', 'Cherchez l’identifiant de la requête dans le journal du serveur.'],
  invalid_request: ['La requête n’est pas valide : {reason}.', 'Comparez-la avec /v1/openapi.json.'],
  method_not_allowed: ['{method} n’est pas permis ici.', 'Permis : {allow}.'],
  not_found: ['Introuvable.', 'La chose n’existe pas, ou vous n’avez pas le droit de le savoir.'],
  forbidden: [
    'Vous n’avez pas le droit de faire {action} ici.',
    'Demandez à un propriétaire ou administrateur de l’organisation un rôle qui le permet.',
  ],
  administrators_only: ['Vous n’avez pas le droit de faire {action}.', 'Il faut être administrateur de l’installation.'],
  machine_only: [
    '{action} ne se fait que sur la machine du serveur.',
    'Lancez-y la commande de `sovra` : elle n’y demande pas de connexion.',
  ],
  session_needed: [
    'Un jeton d’accès personnel n’a pas le droit de faire {action}.',
    'Connectez-vous par mot de passe, clé d’accès ou `sovra login`.',
  ],
  unauthenticated: ['Aucun identifiant valide n’a été donné.', 'Envoyez un jeton : `Authorization: Bearer …`.'],

  outbound_forbidden: ['L’adresse {host} ne peut pas être appelée : {reason}.', 'L’exploitant ouvre des plages avec network.allow.'],
  outbound_timeout: ['Pas de réponse complète de {host} en {ms} ms ({phase}).', 'Vérifiez que l’adresse répond, et en combien de temps.'],
  outbound_too_large: ['La réponse de {host} dépasse {bytes} octets.', 'Qu’elle réponde moins, ou par pages.'],
  outbound_failed: ['L’appel à {host} a échoué : {reason}.', 'Vérifiez l’adresse, son certificat et son pare-feu.'],
  outbound_range_invalid: ['« {range} » n’est pas une plage d’adresses.', 'Écrivez-la comme 10.0.0.0/8 ou fd00::/8.'],
  outbound_settings_invalid: ['Le réglage {setting} ne peut pas être utilisé : {reason}.', 'Corrigez-le dans config.yaml.'],

  wire_port_busy: [
    'Le port {port} de l’écoute PostgreSQL est pris par un autre programme.',
    'Libérez-le, ou donnez-en un autre à {variable}.',
  ],
  wire_port_none: ['Aucun port libre pour l’écoute PostgreSQL entre {from} et {to}.', 'Donnez un port libre à {variable}.'],
  wire_tls_invalid: [
    'Le certificat de l’écoute PostgreSQL ne peut pas être utilisé : {reason}.',
    'Donnez-lui une chaîne de certificats PEM et sa clé.',
  ],
  database_error: ['La base de données a refusé l’instruction (SQLSTATE {sqlstate}).', 'Les détails portent ce que PostgreSQL a dit.'],
  connection_lost: ['La connexion à la base de données est perdue : {reason}.', 'Réessayez ; une écriture peut avoir été faite ou non.'],
  overloaded: ['La base de données de ce projet est occupée : {reason}.', 'Réessayez après les secondes de Retry-After.'],
  request_cancelled: ['La requête a été annulée par son client.', 'Rien n’a été écrit.'],
  result_too_large: ['Le résultat dépasse {limit} octets.', 'Demandez moins de lignes (limit, Range) ou de colonnes.'],
  statement_unsupported: ['L’instruction ne peut pas être exécutée ici : {reason}.', 'Prenez pour elle le protocole PostgreSQL du projet.'],
  role_not_allowed: ['Ce rôle ne peut pas être pris par des requêtes.', 'Prenez un rôle accordé à authenticator.'],

  already_running: [
    'Déjà en marche : pid {pid}, {url}.',
    'Un seul serveur à la fois utilise {dir}. Arrêtez celui-là, ou donnez un autre dossier à `data.dir` (SOVRABASE_DATA_DIR).',
  ],
  directory_closed: [
    'L’uid {uid} ne peut pas entrer dans {path} ni le lire : {dir} lui est fermé.',
    'Lancez `chmod o+x {dir}`, ou déplacez-le là où chacun peut entrer (/srv, /var/lib), ou démarrez sous l’utilisateur à qui il appartient.',
  ],
  directory_unusable: [
    'Le dossier {dir} ne peut pas être utilisé : {reason}.',
    'Donnez-le à l’utilisateur qui démarre Sovrabase (`chown -R`), ou donnez un autre dossier à `data.dir` (SOVRABASE_DATA_DIR).',
  ],
  directory_of_another: [
    'Le dossier {dir} appartient à un serveur démarré sous {owner} ; ce processus tourne sous {user}. Rien n’a été touché.',
    'Démarrez-le sous {owner}, ou donnez-lui d’abord le dossier en tant que root : chown -R {user}: {dir}',
  ],
  path_too_long: [
    'Le chemin du socket {path} est trop long : {length} octets sur {limit}.',
    'Donnez à XDG_RUNTIME_DIR ou TMPDIR un dossier plus court.',
  ],
  program_missing: ['Le programme {program} est introuvable.', '{remedy}'],
  uids_taken: [
    'Les {count} plages d’uid que cette machine a pour des dossiers de données sont toutes prises.',
    'Chaque fichier de {dir} nomme un dossier de données. Enlevez les dossiers qui ne servent plus, puis redémarrez.',
  ],
  account_missing: [
    'L’uid {uid} n’a pas de compte sur cette machine, et on ne peut pas lui en prêter un.',
    'Créez-en un (`useradd --uid {uid} sovrabase`), ou démarrez sous un utilisateur qui en a un.',
  ],
  only_root: [
    'Seul l’uid 0 existe dans ce conteneur, et PostgreSQL refuse de tourner sous root.',
    'Démarrez le conteneur avec plus d’uid (subuid), ou sous un autre utilisateur que root.',
  ],
  order_refused: ['Le gardien refuse cet ordre : {reason}.', 'Il n’exécute qu’une liste fermée d’ordres, sur des noms vérifiés.'],
  keeper_gone: [
    'Le processus qui garde les dossiers des projets s’est arrêté.',
    'Le serveur s’arrête avec lui ; lisez son journal et redémarrez.',
  ],
  volume_missing: ['Le volume {volume} n’existe pas.', 'Il a été enlevé, ou jamais fait sur ce nœud.'],
  volume_exists: ['Le volume {volume} existe déjà.', 'Enlevez-le d’abord, ou prenez un autre nom.'],
  volume_foreign: [
    'Les données contiennent {name}, qui n’est ni un fichier ni un dossier.',
    'Dans une archive : méfiez-vous de sa provenance. Dans un dossier de données : mettez à la place du lien ce vers quoi il mène.',
  ],
  volume_running: ['Le volume {volume} est utilisé par un processus en marche.', 'Endormez d’abord le service.'],
  template_missing: [
    'Le modèle {template} n’existe pas sur ce nœud.',
    'Il est fait au premier démarrage ; lisez le journal de ce démarrage.',
  ],
  start_failed: ['Le processus de {volume} n’a pas pu être démarré : {reason}.', 'Lisez le journal du service.'],
  disk_full: ['Plus de place sur le disque de {dir}.', 'Libérez de la place, ou déplacez le dossier des données sur un disque plus grand.'],

  service_not_found: ['Le projet n’a pas de service nommé {name}.', 'Listez les services du projet.'],
  project_unavailable: [
    'Le projet n’a pas démarré ; nouvel essai dans {seconds} s.',
    'Son état dit pourquoi. Ses voisins ne sont pas touchés.',
  ],
  project_broken: ['Le projet n’a pas démarré ; nouvel essai dans {seconds} s.', 'Les derniers mots de son PostgreSQL :\n{log}'],
  service_elsewhere: ['Ce projet tourne sur le nœud {node}.', 'Envoyez la requête à ce nœud.'],
  copy_source_gone: ['Le projet dont celui-ci devait être copié n’est plus là.', 'Supprimez ce projet et refaites-le.'],
  service_ended: ['Le service s’est arrêté pendant son démarrage : {detail}', 'Son journal dit pourquoi.'],
  node_busy: [
    'Toutes les places de ce nœud pour des projets éveillés sont prises par des projets occupés.',
    'Réessayez bientôt, ou relevez limits.awake.',
  ],
  node_closing: ['Le serveur est en train de s’arrêter.', 'Réessayez dans un instant.'],
  engine_unknown: ['Il n’y a pas de moteur nommé {name}.', 'Les moteurs de ce serveur : {known}.'],
  driver_unknown: ['Il n’y a pas de pilote nommé {name}.', 'Les pilotes de ce serveur : {known}.'],
  region_unknown: ['Il n’y a pas de nœud dans la région {name}.', 'Les régions de cette installation : {known}.'],

  platform_unsupported: [
    'Sovrabase ne peut pas fonctionner ici : {reason}.',
    'Il faut Linux avec glibc, en x64 ou arm64 : Debian, Ubuntu, Fedora et semblables, ou un conteneur de l’un d’eux.',
  ],
  node_too_old: [
    'Node {version} est trop ancien : il faut {needed} ou plus récent.',
    'Lancez `npm ci` ici et démarrez par `make start` (qui apporte son propre Node), ou installez Node 24.',
  ],
  config_invalid: ['{where} : {problem}', '{remedy}'],
  config_unreadable: [
    'La configuration {file} ne peut pas être lue : {reason}.',
    'Rendez-la lisible pour l’utilisateur qui démarre le serveur, ou nommez un autre fichier dans CONFIG_PATH.',
  ],
  root_key_missing: [
    'La clé racine {key_id} manque : il n’y a pas de {file}, mais cette installation a des données.',
    'Remettez la copie de ce fichier, ou donnez la clé dans SOVRABASE_ROOT_KEY ou SOVRABASE_ROOT_KEY_FILE. Elle n’est pas refaite : les secrets gardés ne s’ouvriraient plus. Perdue pour de bon : sovra recover --without-root-key',
  ],
  root_key_wrong: [
    'La clé racine de {source} a l’identifiant {found}, mais les secrets gardés ont été scellés avec {key_id}.',
    'Mettez la bonne clé dans {file}, ou donnez-la dans SOVRABASE_ROOT_KEY ou SOVRABASE_ROOT_KEY_FILE.',
  ],
  root_key_malformed: [
    '{source} n’est pas une clé racine : il faut 32 octets, en 64 chiffres hexadécimaux ou en base64.',
    'Remettez la copie de votre clé racine. Une nouvelle n’est faite que là où il n’y a pas encore de données.',
  ],
  secret_file_unusable: [
    'Le secret {file} ne peut pas être utilisé : {reason}.',
    'Son dossier doit exister et être ouvert en écriture à l’utilisateur qui démarre le serveur, le fichier lisible et non vide.',
  ],
  tls_unreadable: [
    'Les fichiers TLS {file} et {key} ne peuvent pas être lus.',
    'Rendez-les lisibles pour l’utilisateur qui démarre le serveur, ou retirez api.tls et wire.tls de config.yaml.',
  ],
  secret_key_unknown: [
    'Le secret gardé {context} a été scellé avec la clé racine {key_id}, qui n’est pas ici.',
    'Ajoutez cette clé comme ancienne clé racine, ou remettez-la.',
  ],
  secret_damaged: [
    'Le secret gardé {context} ne s’ouvre pas : il a été changé ou déplacé.',
    'Restaurez la base des métadonnées d’une sauvegarde, ou refaites ce secret.',
  ],

  malformed_http: ['La requête n’est pas du HTTP valide.', 'Regardez le client ou le mandataire entre les deux.'],
  headers_too_large: [
    'La ligne de requête et les en-têtes dépassent {limit} octets.',
    'Raccourcissez l’URL ou les en-têtes ; limits.headers dans config.yaml est la limite.',
  ],
  request_timeout: ['La requête n’est pas arrivée à temps.', 'Renvoyez-la ; limits.timeouts dans config.yaml a les limites.'],
  body_too_large: ['Le corps dépasse {limit} octets.', 'Envoyez moins à la fois ; limits.body dans config.yaml a les limites.'],
  unsupported_media_type: ['Le type de contenu {type} n’est pas compris ici.', 'Envoyez `Content-Type: application/json`.'],
  invalid_json: [
    'Le corps n’est pas du JSON valide.',
    'Regardez guillemets et virgules ; le corps ne doit pas être vide quand un type de contenu est donné.',
  ],
  rate_limited: ['Trop de requêtes : {what}.', 'Attendez les secondes de Retry-After.'],

  invalid_api_key: ['Clé d’API non valide.', 'Envoyez comme `apikey` une clé vivante de ce projet ; `sovra keys list` les montre.'],
  invalid_token: [
    'Le jeton n’est pas valide : {reason}.',
    'Reconnectez-vous là où vous l’envoyez : un projet ne signe que pour lui-même, la plateforme (/v1) pour ses membres.',
  ],
  token_expired: ['Le jeton a expiré.', 'Renouvelez la session ou reconnectez-vous.'],
  session_ended: ['La session de ce jeton est terminée.', 'Reconnectez-vous.'],
  keyless_refused: ['Il faut une clé : ce projet n’accepte pas de requêtes sans clé.', 'Envoyez une clé du projet comme `apikey`.'],
  invalid_credentials: ['Identifiants non valides.', 'Vérifiez l’adresse e-mail et le mot de passe.'],
  sign_in_refused: ['Ce compte ne peut pas se connecter.', 'Demandez à un administrateur.'],
  password_too_weak: ['Le mot de passe n’est pas assez fort : {reason}.', 'Prenez-en un plus long.'],
  email_taken: ['Une personne avec cette adresse e-mail existe déjà.', 'Connectez-vous, ou prenez une autre adresse.'],
  email_malformed: ['Ce n’est pas une adresse e-mail.', 'Écrivez-la comme nom@example.org.'],
  invitation_of_another: [
    'Cette invitation est pour une autre adresse e-mail.',
    'Connectez-vous avec l’adresse invitée, ou demandez une autre invitation.',
  ],
  link_not_valid: ['Ce lien a expiré ou a déjà servi.', 'Demandez-en un autre : `sovra admin link` en fait un sur le serveur.'],
  refresh_token_not_found: ['Jeton de renouvellement non valide : introuvable.', 'Reconnectez-vous.'],
  refresh_token_already_used: [
    'Jeton de renouvellement non valide : déjà utilisé.',
    'La session a été terminée par sûreté ; reconnectez-vous.',
  ],
  too_many_sign_ins: ['Trop de connexions à la fois.', 'Attendez les secondes de Retry-After et réessayez.'],
  wake_budget_spent: [
    'Sans clé, une adresse ne peut réveiller des projets endormis que {limit} fois par heure.',
    'Envoyez une clé du projet, ou attendez les secondes de Retry-After.',
  ],
  csrf_refused: [
    'Une requête avec le cookie de session doit venir de ce site.',
    'Les programmes envoient un jeton (`Authorization: Bearer …`) au lieu du cookie.',
  ],
  route_undeclared: [
    'La route {method} {url} ne dit pas {what}.',
    "Donnez-lui `config: { action, resource }` de contract/actions.ts ; une route publique dit `action: 'public'`.",
  ],
  key_not_prepared: [
    'L’authentification unique n’a pas encore de clé suivante.',
    'Préparez-en une, redonnez nos métadonnées aux fournisseurs d’identité, puis renouvelez : `sovra keys saml prepare`.',
  ],
  key_in_use: ['Cette clé signe encore ; renouvelez-la d’abord.', '`sovra keys rotate` fait la suivante.'],
  metadata_unavailable: [
    'La base de données du serveur ne répond pas : {reason}.',
    'Réessayez ; vérifiez que la base nommée dans config.yaml est en marche.',
  ],
  metadata_refused: [
    'La base de données a refusé la connexion : {reason}.',
    'Corrigez database.connection_string (ou SOVRABASE_DATABASE_CONNECTION_STRING).',
  ],
  metadata_malformed: [
    'database.connection_string ne peut pas être utilisé : {reason}.',
    'Écrivez postgresql://user:password@host:5432/name ou mysql://user:password@host:3306/name.',
  ],
  metadata_too_old: [
    'La base de données du serveur est {found} : il faut au moins {needed}.',
    'Mettez-la à niveau, ou prenez-en une autre : database.type: sqlite n’en demande aucune.',
  ],
  metadata_newer: [
    'Les données ont été écrites par une version plus récente de Sovrabase : elles connaissent la migration {name}, cette version non.',
    'Démarrez cette version-là (ou une plus récente), ou restaurez une sauvegarde faite par celle-ci.',
  ],
  metadata_used: ['La base {type} a déjà des métadonnées : rien n’est écrasé.', 'Nommez une base vide dans database.connection_string.'],
  metadata_lost: [
    'La base des métadonnées ne connaît aucun projet, mais {dir} en contient les données.',
    '`database` est-il juste dans la configuration ? Depuis une copie (d’une sauvegarde, de <data>/snapshots, <data>/metadata.sqlite) : sovra metadata import FICHIER',
  ],
  copy_unreadable: [
    '{file} ne se lit pas comme une copie des métadonnées : {reason}',
    'Donnez un fichier SQLite : de <data>/snapshots, ou metadata.sqlite.',
  ],
  metadata_locked: ['Un autre processus met la base de données à niveau depuis {seconds} s.', 'Attendez qu’il ait fini, ou arrêtez-le.'],
  migration_failed: [
    'La migration {name} de la base de données a échoué.',
    'La cause est dans le journal. Un fichier SQLite est comme avant : la version précédente démarre avec lui. Sur un serveur de bases, corrigez la cause et redémarrez.',
  ],
  statement_outside_transaction: [
    'Une instruction a été envoyée à côté de la transaction ouverte, depuis celle-ci.',
    'Prenez l’accès que la transaction donne (`trx`), aussi dans ce qu’elle appelle.',
  ],
  setting_malformed: [
    'Les réglages de la section {section} ne sont pas valides en {path} : {reason}.',
    'Voyez settings.{section} parmi components.schemas de /v1/openapi.json.',
  ],
  setting_changed: [
    'Les réglages de la section {section} ont été changés par quelqu’un d’autre entre-temps.',
    'Relisez-les et refaites le changement.',
  ],

  engine_not_ready: [
    'PostgreSQL n’a pas été prêt en {seconds} s : {reason}.',
    'Son journal dit pourquoi ; il est redémarré à la prochaine requête.',
  ],
  engine_version_unsupported: [
    'PostgreSQL {version} ne peut pas être utilisé : {reason}.',
    'Prenez celui qui est livré (sans engines.postgres.bin_dir), ou PostgreSQL {wanted} de votre distribution.',
  ],
  extension_tree_invalid: [
    'Les extensions de PostgreSQL dans {dir} ne peuvent pas être préparées : {reason}.',
    'Enlevez ce dossier et redémarrez.',
  ],
  extension_refused: ['L’extension {name} n’est pas dans la liste de celles qui sont permises.', 'Permises : {allowed}.'],
  extension_failed: [
    'L’extension {name} n’a pas pu être faite dans le schéma extensions (SQLSTATE {sqlstate}).',
    'Enlevez ce qui la gêne, ou retirez-la de la spécification ; le prochain réveil réessaie.',
  ],
  mail_language_unreadable: [
    'Une langue des messages ne peut pas servir : {file} : {reason}.',
    'Corrigez le fichier, ou retirez-le du dossier de `auth.mail_languages`.',
  ],
  mail_language_unknown: [
    'Aucun message n’est rédigé en {language}.',
    'Connues : {known}. auth.mail_languages désigne un dossier avec d’autres.',
  ],
  system_schema_files: [
    'Les fichiers du schéma système ne sont pas en ordre : {reason}.',
    'Restaurez l’installation ; ils en font partie.',
  ],
  system_schema_failed: [
    'Le schéma système du projet n’a pas pu être mis à niveau : {file} a échoué (SQLSTATE {sqlstate}).',
    'Le projet continue avec sa version précédente. Enlevez ce qui gêne et endormez-le : le prochain réveil réessaie.',
  ],
  system_schema_changed: ['Le schéma système {version} du projet n’est pas celui de ce serveur.', 'Démarrez le serveur qui l’a écrit.'],
  system_schema_newer: [
    'Le schéma système du projet est à {version}, ce serveur connaît jusqu’à {known}.',
    'Démarrez le serveur plus récent qui l’a écrit (ou un plus récent encore).',
  ],
  cluster_sign_in_refused: ['Le serveur n’a pas pu se connecter au PostgreSQL du projet.', 'Il réessaie à la prochaine requête.'],
  disk_quota_exceeded: [
    'Le projet a épuisé son quota de disque de {limit} Mio.',
    'Supprimez ou videz des lignes ou des tables, ou demandez un quota plus grand. Par le protocole PostgreSQL d’abord : SET default_transaction_read_only = off.',
  ],

  name_taken: ['Le nom {name} est pris.', 'Choisissez-en un autre.'],
  organisation_in_use: [
    'L’organisation a encore des projets.',
    'Supprimez et purgez ses projets, ou déplacez-les dans une autre organisation.',
  ],
  last_owner: ['Une organisation garde au moins un propriétaire.', 'Faites d’abord de quelqu’un d’autre un propriétaire.'],
  role_unknown: ['Il n’y a pas de rôle nommé {role}.', 'Les rôles : {known}.'],
  role_too_high: ['Vous ne pouvez ni donner ni retirer le rôle {role}.', 'Seul un propriétaire fait des propriétaires.'],
  quota_exceeded: [
    'L’organisation peut avoir {limit} projets et les a déjà.',
    'Supprimez-en un, ou faites relever la limite par l’exploitant.',
  ],
  over_organisation_limit: [
    'Un projet de cette organisation peut avoir {what} jusqu’à {limit} (tailles en Mio) ; 0 serait sans limite.',
    'Demandez moins, ou faites relever la limite par l’exploitant : PATCH /v1/organisations/<nom>/quotas.',
  ],
  idempotency_mismatch: ['Cette Idempotency-Key a servi pour une autre requête.', 'Prenez une nouvelle clé pour chaque requête.'],
  idempotency_running: [
    'La première requête avec cette Idempotency-Key est encore en cours.',
    'Redemandez après les secondes de Retry-After.',
  ],
  idempotency_lost: [
    'La première requête avec cette Idempotency-Key a été exécutée ({event} {subject}), mais sa réponse s’est perdue.',
    'Elle n’est pas refaite. Regardez ce qu’il y a maintenant ; prenez une nouvelle clé pour une autre requête.',
  ],
  project_deleted: ['Le projet est supprimé.', 'Restaurez-le d’abord : `sovra projects restore`.'],
  project_not_deleted: ['Le projet n’est pas supprimé.', 'Seul un projet supprimé est restauré ou purgé.'],
  engine_major_missing: [
    'Ces données sont de PostgreSQL {version}, dont les programmes ne sont pas sur cette machine.',
    'Dans le dépôt du serveur : `make majors`, puis redémarrez-le (en service : `sudo make install`). Les données sont inchangées.',
  ],
  program_failed: ['{program} a échoué : {reason}', 'Ce qu’il dit en est la cause ; les données sont comme avant.'],
  upgrade_current: [
    'Il utilise PostgreSQL {version} : il n’y a pas de version majeure plus récente ici.',
    'Une plus récente vient avec une version de Sovrabase : docs/upgrade.fr.md.',
  ],
  upgrade_tools_missing: [
    'Les programmes qui font passer des données de PostgreSQL {from} à {to} ne sont pas sur cette machine.',
    'Dans le dépôt du serveur : `make majors`, puis redémarrez-le (en service : `sudo make install`).',
  ],
  upgrade_version_unknown: ['On ne sait pas encore de quel PostgreSQL sont ses données.', 'Réveillez le projet une fois, puis réessayez.'],
  upgrade_running: ['Il est en train de passer à un autre PostgreSQL.', 'Attendez la fin : `sovra projects show` donne l’étape.'],
  upgrade_kept: [
    'Le répertoire de son PostgreSQL précédent est encore gardé.',
    'Supprimez-le par `sovra upgrade --confirm`, ou revenez en arrière par `sovra upgrade --back`.',
  ],
  upgrade_nothing_kept: ['Aucun répertoire d’un PostgreSQL précédent n’est gardé.', 'C’est déjà confirmé, ou rien n’a été déplacé.'],
  upgrade_no_room: [
    'Le passage demande {need} Mio de disque en plus de ce qu’il a ; il en reste {free} au-dessus de la réserve.',
    'Faites de la place (`sovra disk` montre ce qui la prend), ou confirmez ceux qui sont déjà passés.',
  ],
  upgrade_failed: [
    'Il n’a pas pu passer de PostgreSQL {from} à {to} ({step}) : {reason}',
    'Il continue avec ce qu’il avait. Corrigez la cause et relancez `sovra upgrade --engines`.',
  ],
  upgrade_superseded: ['Un autre serveur a repris ce travail.', 'Regardez le projet : il a ce que celui-là a fait.'],
  project_upgrading: [
    'Le projet passe à un PostgreSQL plus récent ; réessayez dans {seconds} s.',
    'Quelques minutes au plus pour ce qui tient dans le quota habituel ; rien n’est perdu entre-temps.',
  ],
  project_busy: ['Le projet a des requêtes en cours.', 'Réessayez, ou forcez.'],
  version_conflict: ['Quelqu’un d’autre l’a changé entre-temps.', 'Relisez-le et envoyez la nouvelle version dans If-Match.'],
  user_unknown: ['Il n’y a pas d’administrateur {email}.', 'Donnez l’adresse e-mail d’un administrateur de cette installation.'],
  wire_off: ['L’écoute PostgreSQL est éteinte.', 'Donnez une valeur à wire.port dans config.yaml.'],
  port_busy: ['Le port {port} de {host} est pris par un autre programme.', 'Libérez-le, ou donnez-en un autre à {variable}.'],
  port_refused: [
    'Le port {port} de {host} ne peut pas être écouté.',
    'Les ports sous 1024 demandent des droits, et l’adresse doit être à cette machine ; donnez une valeur à {variable}.',
  ],
  setup_done: ['L’installation est déjà préparée.', '`sovra admin link` fait un lien qui vous connecte.'],
  spec_invalid: ['La spécification du service {name} n’est pas valide : {reason}.', 'Voyez dans /docs ce que le moteur prend.'],

  users_not_readable: ['{file} ne peut pas être lu : {reason}.', 'Comparez --format avec ce qui a écrit le fichier.'],
  server_not_running: ['Aucun serveur ne tourne sur {dir}.', 'Démarrez-le par `sovra start`, ou nommez-en un autre avec --server.'],
  server_starting: ['Le serveur (pid {pid}) démarre encore.', 'Réessayez dans un instant.'],
  server_unreachable: ['{url} ne répond pas comme il faut : {reason}.', 'Vérifiez l’adresse, et que le serveur est en marche.'],
  server_unknown: ['Il n’y a pas de serveur nommé {name}.', 'Connus : {known}. `sovra login URL --name NOM` en ajoute un.'],
  browser_sign_in_failed: [
    'La connexion dans le navigateur n’a pas abouti : {reason}.',
    'Réessayez, ou demandez à la personne qui gère le serveur.',
  ],
  browser_sign_in_late: ['Personne ne s’est connecté en {minutes} minutes.', 'Relancez la commande, et ouvrez l’adresse qu’elle affiche.'],
  not_signed_in: ['Vous n’êtes pas connecté à {server}.', 'Lancez `sovra login {url}`.'],
  data_closed: [
    'Le dossier des données {dir} appartient à un autre utilisateur.',
    'Lancez la commande sous cet utilisateur (sudo), ou connectez-vous : `sovra login URL`.',
  ],
  servers_file_unusable: ['{file} ne peut pas être utilisé : {reason}.', 'Corrigez-le ou enlevez-le, et reconnectez-vous.'],
  usage_wrong: ['{reason}.', '{hint}'],
  project_unknown: ['Il n’y a pas de projet {name}.', '`sovra projects list` montre ceux que vous pouvez connaître.'],
  organisation_needed: ['Il y a plus d’une organisation : dites laquelle.', 'Ajoutez --org avec l’une de : {known}.'],
  organisation_none: ['Il n’y a pas encore d’organisation.', 'Créez-en une : `sovra orgs create NOM`.'],
  name_ambiguous: ['Le nom {name} désigne plus d’une chose.', 'Dites laquelle : {known}.'],
  project_not_ready: [
    'Le projet {ref} est fait, mais son service {service} est {status} : {reason}.',
    'Voyez `sovra projects show {ref}`.',
  ],
  member_unknown: ['Il n’y a pas de membre {name} dans {organisation}.', '`sovra members list` les montre.'],
  key_unknown: ['Il n’y a pas de clé vivante {name}.', '`sovra keys list PROJET` les montre.'],
  sql_failed: ['{message} (SQLSTATE {sqlstate})', '{hint}'],

  migration_stopped: ['{place} : {message} (SQLSTATE {sqlstate})', '{hint}'],
  migrations_invalid: ['Les migrations de {dir} ne peuvent pas être utilisées : {reason}.', '{hint}'],
  migrations_out_of_order: [
    'Plus anciennes que la dernière migration de {project}, et pas appliquées chez lui : {versions}.',
    'Renommez-les avec une version plus récente, ou appliquez-les quand même avec --include-all.',
  ],
  migrations_missing: [
    '{project} a des migrations qui ne sont pas dans {dir} : {versions}.',
    'Allez chercher leurs fichiers, ou que le projet les oublie : `sovra db migration repair {project} {versions} --status reverted`.',
  ],
  migration_changed: [
    '{file} a été appliqué à moitié ({done} de ses instructions), et son début a changé depuis.',
    'Remettez ces instructions et ne changez que les suivantes, ou recommencez : `sovra db migration repair {project} {version} --status reverted`.',
  ],
  migration_busy: ['Une autre migration de {project} est en cours depuis {seconds} s.', 'Attendez-la, puis réessayez.'],
  extension_unavailable: ['L’extension {name} n’est pas disponible ici.', '{substitute}'],
  tools_missing: [
    'Le programme {program} de PostgreSQL, version {major}, n’est pas ici.',
    'Lancez `make tools` dans le dossier de Sovrabase, ou installez postgresql-client-{major} de votre distribution.',
  ],
  tool_failed: ['{program} a échoué : {message}', '{hint}'],

  query_timed_out: [
    'Le SQL a duré plus de {seconds} s et a été arrêté ; rien de sa transaction n’est gardé.',
    'Accordez plus avec `timeout`.',
  ],
  query_cancelled: ['Le SQL a été annulé ; rien de sa transaction n’est gardé.', ''],
  query_not_found: ['Aucun SQL ne tourne sous l’identifiant {id}.', 'Il a pu finir.'],

  sms_refused: [
    'Le fournisseur de SMS n’a pas pris le message : {reason}.',
    'Comparez compte, clés et expéditeur avec ce que dit le fournisseur.',
  ],
  mfa_required: ['Ce compte a un second facteur, que la session n’a pas montré.', 'Vérifiez-le à /auth/v1/factors/<id>/verify.'],
  logs_off: [
    'Le journal de ce serveur n’est pas dans des fichiers.',
    'Ses premières lignes après le démarrage disent pourquoi : regardez sa sortie standard.',
  ],
  disk_low: [
    'Le disque de ce serveur est presque plein : rien de neuf ni de grand n’est accepté.',
    '`sovra disk` montre ce qui le prend ; tout revient de soi-même dès qu’il y a de la place. Lire, supprimer et écrire peu restent possibles.',
  ],
  server_lingers: [
    'Le serveur (processus {pid}) ne s’est pas arrêté en {seconds} s.',
    'Il se vide peut-être encore. Regardez de nouveau avec `sovra status`, ou arrêtez-le : kill -9 {pid}',
  ],
  server_not_ready: [
    'Le serveur (processus {pid}) n’a pas été prêt en {seconds} s. Sa sortie :\n{log}',
    'Il continue de démarrer. Regardez avec `sovra status`, ou arrêtez-le : sovra stop',
  ],
  mail_not_configured: [
    'Aucun serveur SMTP n’est réglé pour ce projet : {waiting} e-mails attendent dans sa boîte d’envoi.',
    'Donnez une valeur à `smtp` dans les réglages `auth` du projet ou de la plateforme.',
  ],
  mail_refused: [
    'Le serveur de messagerie n’a pas pris l’e-mail : {reason}.',
    'Comparez hôte, port, tls, utilisateur et expéditeur avec ce que dit son exploitant.',
  ],
  backup_unsealed: [
    'Une sauvegarde demande une phrase secrète ou une clé publique.',
    'Donnez `passphrase` (8 caractères au moins) ou `recipients`.',
  ],
  backup_key_malformed: [
    'La sauvegarde n’a pas pu être scellée : {reason}.',
    'Les clés publiques commencent par age1… ; `age-keygen` en fait une.',
  ],
  backup_locked: [
    'La sauvegarde n’a pas été ouverte : {reason}.',
    'Donnez la phrase secrète, ou la clé privée, avec laquelle elle a été faite.',
  ],
  backup_unreadable: ['{file} ne peut pas être lu : {reason}.', 'Vérifiez son chemin et ses droits.'],
  backup_unwritable: ['{file} ne peut pas être écrit : {reason}.', 'Regardez son dossier, ses droits et la place sur son disque.'],
  backup_foreign: ['{file} n’est pas une sauvegarde de Sovrabase : {reason}.', 'Les sauvegardes sont faites par `sovra backup create`.'],
  backup_truncated: ['{file} n’est pas entier : il finit trop tôt.', 'Recopiez-le de là où il a été fait, ou prenez une autre sauvegarde.'],
  backup_damaged: [
    '{file} est abîmé : {member} n’est pas ce qui a été écrit.',
    'Recopiez-le de là où il a été fait, ou prenez une autre sauvegarde.',
  ],
  backup_newer: ['{file} a le format {version} ; cette version connaît {known}.', 'Prenez un Sovrabase plus récent.'],
  backup_not_whole: [
    '{file} contient des projets, pas une installation entière.',
    'Restaurez-en un à côté d’un serveur en marche : `sovra restore FICHIER --project P`.',
  ],
  backup_project_missing: ['La sauvegarde n’a pas de projet {name} : elle a {known}.', ''],
  backup_section_unknown: ['La sauvegarde a des réglages {section} que cette version ne connaît pas.', 'Prenez un Sovrabase plus récent.'],
  backup_failed: [
    'Le projet {project} n’a pas pu être sauvegardé : {reason}',
    'Lisez le journal du serveur ; la sauvegarde a été interrompue.',
  ],
  backup_broken_off: [
    'Le serveur a interrompu la sauvegarde ; rien n’en a été gardé.',
    'Son journal dit pourquoi : `sovra logs --level error`.',
  ],
  backup_reader_gone: ['Celui qui demandait la sauvegarde n’est plus là.', ''],
  backup_unsupported: ['Le pilote {name} ne sait pas copier les données vers l’extérieur ni vers l’intérieur.', ''],
  backup_not_started: [
    '{name} n’a pas pu démarrer depuis la sauvegarde : {reason}',
    'Prenez une autre sauvegarde ; les mots de PostgreSQL sont au-dessus.',
  ],
  run_under_way: [
    'Cette même commande tourne déjà, dans le processus {pid}.',
    'Attendez sa fin. Si ce processus n’existe pas : supprimez {file}.',
  ],
  run_old: [
    'Une exécution de cette commande, commencée {since}, est inachevée : {done} projets sont faits.',
    'Ajoutez --resume pour la poursuivre, ou --anew pour recommencer au premier projet.',
  ],
  run_uncertain: [
    'Une tentative précédente a été interrompue dans ce projet : rien ne dit si c’est fait.',
    'Regardez le projet ; faites-le pour lui seul s’il le faut. --anew le fait pour tous.',
  ],
  run_unrecorded: [
    'Ce qui est fait ne peut pas être noté : {reason}.',
    'Donnez à XDG_STATE_HOME un dossier dans lequel vous pouvez écrire.',
  ],
  backup_exists: ['{file} est déjà là.', 'Nommez un autre fichier, ou un dossier.'],
  backup_dir_unusable: [
    'Les sauvegardes ne peuvent pas être écrites dans {dir} : {reason}.',
    'Le dossier doit exister et être ouvert en écriture à l’uid {uid}.',
  ],
  parcel_failed: ['Les données n’ont pas pu être emballées ou déballées : {reason}', ''],
  object_missing: ['{place} n’a pas {key}.', ''],
  pack_damaged: [
    'Le paquet de ce projet est abîmé : {key} dans {place}.',
    'Il a été laissé tel quel. Remettez-y une copie intacte, ou restaurez le projet depuis une sauvegarde.',
  ],
  store_failed: [
    '{place} n’a pas pu être utilisé : {reason}.',
    'Vérifiez son adresse, ses droits (un répertoire doit être accessible en écriture pour l’uid {uid} du serveur) et ses identifiants.',
  ],
  store_denied: [
    '{place} refuse : {reason}.',
    'Vérifiez les identifiants (`sovra backup store`) et leurs droits : s3:GetObject, PutObject, DeleteObject, ListBucket.',
  ],
  store_place_invalid: ['{place} n’est ni un chemin absolu ni s3://bucket/préfixe.', ''],
  store_keys_missing: [
    'Il n’y a pas d’identifiants pour {place}.',
    'Définissez-les : `sovra backup store --access-key-id …`, ou AWS_ACCESS_KEY_ID et AWS_SECRET_ACCESS_KEY dans l’environnement de `sovra restore` et de `sovra recover`.',
  ],
  archive_store_missing: [
    'Il n’y a pas de lieu pour les archives.',
    'Définissez backup.archive dans la configuration du serveur, ou donnez au projet un dépôt S3 à lui (réglages backup, `store`).',
  ],
  archive_off: [
    'Le projet {ref} n’a pas d’archive.',
    'Activez-la d’abord : `sovra backup archive PROJET --on` ; les instants sont disponibles à partir de la première sauvegarde de base.',
  ],
  archive_time_outside: ['L’archive ne va pas jusqu’à {time} : elle a {ranges}.', 'Indiquez un instant qui en fait partie.'],
  archive_gap: [
    'L’archive a un trou avant {time} : le journal manque à partir de {lsn}.',
    'Indiquez un instant antérieur, ou postérieur à la sauvegarde de base suivante.',
  ],
  archive_damaged: [
    '{place}/{key} n’est pas ce qui a été écrit : {reason}.',
    'Rien n’a été touché. Indiquez un instant qui demande une autre sauvegarde de base.',
  ],
  archive_foreign: ['{place}/{key} appartient à autre chose : {reason}.', 'Vérifiez le lieu de l’archive.'],
  archive_recovery_failed: ['Les données n’ont pas pu être amenées à cet instant : {reason}.', 'Consultez le journal du serveur.'],
  history_lost: ['Le journal n’a pas été conservé : {reason}.', 'Une nouvelle sauvegarde de base recommence l’archive.'],
  archive_follow_failed: ['Le journal n’a pas pu être suivi : {reason}.', ''],
  restore_target_used: ['{dir} n’est pas vide : rien n’est écrasé.', 'Nommez-en un vide avec --data-dir, ou déplacez-le d’abord.'],
  restore_no_room: [
    'La sauvegarde prend {need} Mio une fois déballée ; {dir} en a {free} de libres.',
    'Faites-y de la place, ou nommez un dossier sur un disque plus grand (--data-dir ; pour `backup verify --start`, $TMPDIR).',
  ],
  restore_under_way: ['Une autre restauration vers {dir} est en cours.', 'Attendez sa fin, ou nommez un autre dossier avec --data-dir.'],
  restore_project_exists: ['Le projet {ref} est là ({name}).', 'Restaurez-le à côté sous un autre nom (--as NOM), ou purgez-le d’abord.'],
  root_key_elsewhere: [
    'La clé racine vient de {source}, que le serveur ne peut pas changer.',
    'Mettez-y une nouvelle clé avant la précédente, séparées par une espace ou une fin de ligne, et redémarrez : tout est alors scellé avec elle.',
  ],
  root_key_shared: [
    '{nodes} serveurs partagent ces métadonnées : une clé faite par l’un ne pourrait pas être ouverte par les autres.',
    'Mettez une nouvelle clé avant la précédente dans keys/root.key de chacun, et redémarrez-les.',
  ],
  root_key_resealing: [
    'Ce qui est gardé est encore en train d’être scellé avec la clé racine {key_id}.',
    'Attendez que `sovra keys root` dise que tout est scellé.',
  ],
  root_key_in_use: [
    '{failed} secrets gardés ont besoin d’une ancienne clé racine.',
    'Gardez-la. Le journal du serveur les nomme ; refaites-les, puis réessayez.',
  ],
  recover_refused: ['Rien n’a été récupéré : {reason}.', '{hint}'],
  recover_stuck: [
    'Les mots de passe de {failed} projets n’ont pas pu être changés : {refs}. Rien d’autre n’a été changé.',
    'Lisez le journal ci-dessus. --continue-on-error continue sans eux ; leurs lignes restent comme elles sont.',
  ],
  restore_organisation_unknown: ['Il n’y a pas d’organisation {name} ici.', 'Nommez-en une avec --org, ou créez-la d’abord.'],
  batch_malformed: [
    'Le lot est mal formé : {reason}.',
    'Un lot est une liste JSON de { "method", "path", "headers", "body" } ; docs/batch.md a la grammaire.',
  ],
  batch_too_large: ['Un lot contient au plus {limit} requêtes.', 'Envoyez plusieurs lots.'],
  batch_reference: [
    'La référence {reference} ne désigne rien : {reason}.',
    'Un texte qui n’est pas une référence mais y ressemble s’écrit avec $$ ; docs/batch.md a la grammaire.',
  ],
}
