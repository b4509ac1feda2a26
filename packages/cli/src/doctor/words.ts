/** What `sovra doctor` says, in English and in French: the same sentence under the same name. Names of checks are never translated. */
import { fill, type Params } from '@sovrabase/contract/wording'
import { LANGUAGE } from '../terminal/errors.ts'

const WORDS = {
  unsupported: [
    'Sovrabase brings PostgreSQL for Linux on x64 and arm64. Use a container or another machine.',
    'Sovrabase apporte PostgreSQL pour Linux sur x64 et arm64. Prenez un conteneur ou une autre machine.',
  ],
  'without glibc': ['{what}, without glibc', '{what}, sans glibc'],
  'use glibc': [
    'Use Debian, Ubuntu, Fedora or another system with glibc.',
    'Prenez Debian, Ubuntu, Fedora ou un autre système avec glibc.',
  ],
  memory: ['{total}, {free} free, {cpus} CPUs', '{total}, dont {free} libres, {cpus} processeurs'],
  'more memory': [
    'From 1 GiB on it works well: give it more, or lower limits.awake.clusters.',
    'À partir de 1 Gio tout va bien : donnez-lui-en plus, ou baissez limits.awake.clusters.',
  ],
  'not root': [
    'not root: every cluster has the uid of the server (isolation: same-user)',
    'pas root : chaque cluster a l’uid du serveur (isolation : same-user)',
  ],
  uids: ['{mapped} uids: each cluster gets one of its own', '{mapped} uids : chaque cluster en reçoit un à lui'],
  'few uids': [
    'only {mapped} uids are mapped here: clusters share one (isolation: same-user)',
    'seuls {mapped} uids existent ici : les clusters en partagent un (isolation : same-user)',
  ],
  'map more': [
    'Map more: --userns of the container engine, /etc/subuid.',
    'Donnez-en plus : --userns du moteur de conteneurs, /etc/subuid.',
  ],
  'open files': ['{soft} allowed', '{soft} permis'],
  'few files': ['{soft} allowed here', '{soft} permis ici'],
  'raise files': [
    'Raise it: LimitNOFILE= in the unit, `ulimit -n` in a shell. Each connection takes one.',
    'Augmentez : LimitNOFILE= dans l’unité, `ulimit -n` dans un shell. Chaque connexion en prend un.',
  ],
  'clock wrong': [
    'It is wrong: tokens would never be valid. Set it (timedatectl set-ntp true).',
    'Elle est fausse : aucun jeton ne serait valable. Réglez-la (timedatectl set-ntp true).',
  ],
  'clock back': [
    'the data was written {minutes} min from now: the clock was put back',
    'les données ont été écrites dans {minutes} min : l’horloge a été reculée',
  ],
  'set clock': [
    'Set it (timedatectl set-ntp true). Until it has caught up, sessions and jobs may end later than they should.',
    'Réglez-la (timedatectl set-ntp true). En attendant, sessions et tâches peuvent finir plus tard que prévu.',
  ],
  'data made': ['{dir} is made at the first start', '{dir} sera créé au premier démarrage'],
  'data not made': ['{dir} cannot be made', '{dir} ne peut pas être créé'],
  'make data': [
    'Make it for the user that runs the server, or set data.dir.',
    'Créez-le pour l’utilisateur du serveur, ou changez data.dir.',
  ],
  'data foreign': ['{dir} belongs to uid {uid}, this is {me}', '{dir} appartient à l’uid {uid}, ici c’est {me}'],
  'as owner': ['Run this as that user (sudo -u \\#{uid} sovra doctor).', 'Lancez ceci en tant que lui (sudo -u \\#{uid} sovra doctor).'],
  'data read-only': ['{dir} cannot be written', '{dir} ne peut pas être écrit'],
  'give data': [
    'Is it mounted read-only? Else give it to the user that runs the server.',
    'Est-il monté en lecture seule ? Sinon, donnez-le à l’utilisateur du serveur.',
  ],
  'keys open': ['{keys} can be entered by others', '{keys} est ouvert à d’autres'],
  'network disk': ['{at} lies on {network}', '{at} est sur {network}'],
  'local disk': [
    'Locks and fsync cannot be trusted there: use a local disk.',
    'Ni les verrous ni fsync n’y sont sûrs : prenez un disque local.',
  ],
  'in memory': ['{at} lies in memory ({kind})', '{at} est en mémoire ({kind})'],
  'to a disk': [
    'It is gone at the next boot: set data.dir to a disk.',
    'Tout disparaît au prochain démarrage : mettez data.dir sur un disque.',
  ],
  'is local': ['{at} is local', '{at} est local'],
  disk: ['{free} free of {total}, reserve {reserve}', '{free} libres sur {total}, réserve {reserve}'],
  'disk low': [
    'Nothing new is taken (disk_low). `sovra disk` shows what takes it.',
    'Rien de nouveau n’est accepté (disk_low). `sovra disk` montre ce qui prend la place.',
  ],
  inodes: ['{says}; only {inodes} inodes', '{says} ; plus que {inodes} inodes'],
  'more inodes': [
    'Each project takes about 1,000 files: use a file system with more.',
    'Chaque projet prend environ 1 000 fichiers : prenez un système de fichiers qui en a plus.',
  ],
  'make room': ['Make room soon: `sovra disk` shows what takes it.', 'Faites bientôt de la place : `sovra disk` montre ce qui la prend.'],
  'has ports': ['the server runs and has them', 'le serveur tourne et les tient'],
  'port taken': [
    'Somebody else has it (ss -ltnp). Stop that, or set {variable}.',
    'Un autre le tient (ss -ltnp). Arrêtez-le, ou réglez {variable}.',
  ],
  'port refused': [
    'Set {variable} or {name}.host to what this user may listen on.',
    'Réglez {variable} ou {name}.host sur ce que cet utilisateur peut ouvrir.',
  ],
  'port free': ['{at} is free', '{at} est libre'],
  renew: ['Renew it; the server reads it again by itself.', 'Renouvelez-le ; le serveur le relit de lui-même.'],
  ended: ['{file} ended {validTo}', '{file} a expiré le {validTo}'],
  ends: ['{file} ends in {left} days', '{file} expire dans {left} jours'],
  'days left': ['{file}: {left} days left', '{file} : encore {left} jours'],
  'no file': ['no file: defaults and variables', 'pas de fichier : valeurs par défaut et variables'],
  'correct lines': ['Correct these lines.', 'Corrigez ces lignes.'],
  'look there': ['Look at the message.', 'Lisez le message.'],
  'no processes': ['no PostgreSQL runs on these data', 'aucun PostgreSQL ne tourne sur ces données'],
  'own processes': ['every PostgreSQL belongs to the server', 'chaque PostgreSQL appartient au serveur'],
  'orphans run': [
    '{count} PostgreSQL of no server on these data (pid {pids})',
    '{count} PostgreSQL sans serveur sur ces données (pid {pids})',
  ],
  'end orphans': [
    'Stop them cleanly before a server starts: kill -INT {pids}',
    'Arrêtez-les proprement avant de démarrer un serveur : kill -INT {pids}',
  ],
  'same version': ['version {version} of both', 'version {version} des deux côtés'],
  'two versions': ['the server has {version}, this sovra {own}', 'le serveur a {version}, ce sovra {own}'],
  'match versions': [
    'Restart the server after an upgrade (systemctl reload sovrabase), or upgrade this one.',
    'Redémarrez le serveur après une mise à niveau (systemctl reload sovrabase), ou mettez celui-ci à niveau.',
  ],
  'engines behind': [
    '{count} projects run an older PostgreSQL than the next wake brings',
    '{count} projets utilisent un PostgreSQL plus ancien que celui de leur prochain réveil',
  ],
  'projects well': ['{count}, none is degraded', '{count}, aucun n’est dégradé'],
  'projects ill': ['{count} degraded or failed: {names}', '{count} dégradés ou en échec : {names}'],
  'why ill': [
    'Why: sovra logs {name} --level error, sovra projects list',
    'Pourquoi : sovra logs {name} --level error, sovra projects list',
  ],
  'do backups': [
    'sovra backup create --all --to FILE, and backup.dir for scheduled ones',
    'sovra backup create --all --to FICHIER, et backup.dir pour celles qui sont planifiées',
  ],
  'backup failed': ['the last one failed: {reason}', 'la dernière a échoué : {reason}'],
  'backup old': ['the last one is overdue', 'la dernière aurait dû être refaite'],
  'backup none': ['there is none yet', 'il n’y en a pas encore'],
  'backup good': ['the last one is as it should be', 'la dernière est comme il faut'],
  'root exported': ['it was exported once', 'elle a été exportée'],
  'root here only': ['it lies on this machine only', 'elle n’est que sur cette machine'],
  'export root': ['sovra keys export-root, and into the safe with it.', 'sovra keys export-root, puis au coffre.'],
  'isolation full': ['full: each cluster has a uid of its own', 'full : chaque cluster a son propre uid'],
  'isolation less': [
    '{kind}: clusters are apart by their passwords and sockets only',
    '{kind} : seuls mots de passe et sockets séparent les clusters',
  ],
  'start as root': [
    'Start it as root (sudo make install): the server itself runs without rights all the same.',
    'Démarrez-le en root (sudo make install) : le serveur lui-même tourne quand même sans droits.',
  ],
  'volumes owned': ['every volume belongs to a project', 'chaque volume appartient à un projet'],
  'volumes orphaned': ['{count} volumes of no project, {size}', '{count} volumes sans projet, {size}'],
  'look at volumes': [
    'sovra disk --json names them. Look at each before you remove it below projects/.',
    'sovra disk --json les nomme. Regardez chacun avant de le supprimer sous projects/.',
  ],
  'no time': ['the server says no time', 'le serveur ne dit pas l’heure'],
  'clocks apart': ['its clock and this one are {seconds} s apart', 'son horloge et celle-ci diffèrent de {seconds} s'],
  'set both': ['Set both by NTP (timedatectl set-ntp true).', 'Réglez les deux par NTP (timedatectl set-ntp true).'],
  'clocks agree': ['its clock and this one agree', 'son horloge et celle-ci concordent'],
  'none runs': ['none runs here', 'aucun ne tourne ici'],
  'look at log': ['Look at its log.', 'Lisez son journal.'],
  server: ['version {version}, {active} projects, {awake} awake', 'version {version}, {active} projets, {awake} éveillés'],
  queue: ['{queued} callers wait for a place', '{queued} appels attendent une place'],
  'more places': [
    'Raise limits.awake.clusters, or give the machine more memory.',
    'Augmentez limits.awake.clusters, ou donnez plus de mémoire à la machine.',
  ],
  looking: ['Looking', 'Examen'],
  wrote: [
    'Wrote {bundle}. Look at it before you send it: zcat {bundle}',
    '{bundle} est écrit. Regardez-le avant de l’envoyer : zcat {bundle}',
  ],
  well: ['All is well.', 'Tout va bien.'],
  sum: ['{failed} wrong, {warned} to look at.', '{failed} à corriger, {warned} à regarder.'],
} as const satisfies Record<string, readonly [english: string, french: string]>

export const t = (words: keyof typeof WORDS, params: Params = {}): string => fill(WORDS[words][LANGUAGE === 'fr' ? 1 : 0], params)
