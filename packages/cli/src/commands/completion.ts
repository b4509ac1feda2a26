import type { Command } from 'commander'
import { command, type Spec } from '../program/command.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

interface Level {
  /** '' or the words up to here: 'projects create'. */
  readonly path: string
  readonly words: readonly { readonly word: string; readonly says: string }[]
}

function levels(at: Command, path: string): Level[] {
  const below = at.commands.map((child) => ({ word: child.name(), says: child.description() }))
  const flags = at.options.map((option) => ({ word: option.long ?? option.flags, says: option.description }))
  const own = { path, words: [...below, ...flags, { word: '--help', says: 'how to use it' }] }
  return [own, ...at.commands.flatMap((child) => levels(child, `${path} ${child.name()}`.trim()))]
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** The longest path of known words decides; options and arguments in between are passed over. */
const bash = (tree: readonly Level[]): string => `_sovra() {
  local path='' word next
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in
      ${tree
        .filter(({ path }) => path !== '')
        .map(({ path }) => quoted(path))
        .join('|')}) path="$next" ;;
    esac
  done
  local words=''
  case "$path" in
${tree.map(({ path, words }) => `    ${quoted(path)}) words=${quoted(words.map(({ word }) => word).join(' '))} ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _sovra sovra`

const zsh = (tree: readonly Level[]): string => `#compdef sovra
_sovra() {
  local path_='' word next
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    next="\${path_:+$path_ }$word"
    case "$next" in
      ${tree
        .filter(({ path }) => path !== '')
        .map(({ path }) => quoted(path))
        .join('|')}) path_="$next" ;;
    esac
  done
  case "$path_" in
${tree.map(({ path, words }) => `    ${quoted(path)}) found=(${words.map(({ word, says }) => quoted(`${word}:${says.replaceAll(':', '\\:')}`)).join(' ')}) ;;`).join('\n')}
  esac
  _describe 'sovra' found || _files
}
compdef _sovra sovra`

const fish = (tree: readonly Level[]): string => {
  const paths = tree.filter(({ path }) => path !== '').map(({ path }) => quoted(path))
  const lines = tree.flatMap(({ path, words }) =>
    words.map(({ word, says }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`
      return `complete -c sovra -n 'test "$(__sovra_path)" = "${path}"' ${what} -d ${quoted(says)}`
    }),
  )
  return `function __sovra_path
  set -l path ''
  for word in (commandline -opc)[2..]
    set -l next (string trim -- "$path $word")
    if contains -- $next ${paths.join(' ')}
      set path $next
    end
  end
  echo $path
end
${lines.join('\n')}`
}

const SCRIPTS: Readonly<Record<Shell, (tree: readonly Level[]) => string>> = { bash, zsh, fish }

/** `program`: the whole tree, which this command is a part of. */
export const completion = (program: () => Command): Spec =>
  command<object, [shell: Shell]>({
    use: 'completion <shell>',
    says: `completion for ${SHELLS.join(', ')}`,
    examples: ['source <(sovra completion bash)', 'sovra completion fish > ~/.config/fish/completions/sovra.fish'],
    choices: { shell: SHELLS },
    run(_context, _options, shell) {
      const script = SCRIPTS[shell](levels(program(), ''))
      return { data: { shell, script }, text: script }
    },
  })
