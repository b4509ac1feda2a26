import { createInterface } from 'node:readline/promises'
import { stop } from './errors.ts'

const ENTER = new Set(['\r', '\n', '\u0004'])
const BACK = new Set(['\u007f', '\b'])
const INTERRUPT = '\u0003'
const INTERRUPTED = 130

/** Asks on the terminal; without one, the next line of standard input. */
export async function ask(question: string): Promise<string> {
  if (left !== null) return (await nextLine()).trim()
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await lines.question(question)).trim()
  } finally {
    lines.close()
  }
}

/** As `ask`, without echo. */
export function askSecret(question: string): Promise<string> {
  if (!process.stdin.isTTY) return nextLine()
  const { stdin, stderr } = process
  stderr.write(question)
  stdin.setRawMode(true).setEncoding('utf8').resume()
  return new Promise((done) => {
    let text = ''
    const end = () => {
      stdin.off('data', typed).setRawMode(false).pause()
      stderr.write('\n')
    }
    const typed = (chunk: string) => {
      for (const char of chunk) {
        if (char === INTERRUPT) {
          end()
          process.exit(INTERRUPTED)
        }
        if (ENTER.has(char)) {
          end()
          return done(text)
        }
        text = BACK.has(char) ? [...text].slice(0, -1).join('') : text + char
      }
    }
    stdin.on('data', typed)
  })
}

export async function allOfStdin(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) text += String(chunk)
  return text
}

/** What standard input still holds once all of it was read: the answers to the questions that follow. */
let left: string[] | null = null

async function nextLine(): Promise<string> {
  left ??= (await allOfStdin()).split(/\r?\n/)
  return left.shift() ?? ''
}

/** Asks to type `word` before what cannot be taken back; `yes`: asked before. Without a terminal nobody can be asked. */
export async function confirm(question: string, word: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) throw stop('usage_wrong', { reason: 'Nobody can be asked here', hint: 'Add --yes if you are sure.' })
  if ((await ask(question)) !== word) throw stop('usage_wrong', { reason: 'Not done', hint: `It goes on when you type ${word}.` })
}
