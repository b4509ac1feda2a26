import { fail, type SovraError } from '../../../base/errors.ts'

/** Reads one text from left to right; `what` names it in errors as PostgREST does. Pure. */
export class Cursor {
  readonly text: string
  readonly what: string
  at = 0

  /** What errors show of the text, where it is not the text itself. */
  readonly shown: string

  constructor(text: string, what: string, shown = text) {
    this.text = text
    this.what = what
    this.shown = shown
  }

  get end(): boolean {
    return this.at >= this.text.length
  }

  peek(token: string): boolean {
    return this.text.startsWith(token, this.at)
  }

  take(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false
    this.at += token.length
    return true
  }

  /** Takes what a sticky expression matches here; null for nothing. */
  match(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.at
    const found = sticky.exec(this.text)
    if (found) this.at += found[0].length
    return found
  }

  spaces(): void {
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at++
  }

  /** How many characters from here on are those of `word`. */
  common(word: string): number {
    let count = 0
    while (count < word.length && this.text[this.at + count] === word[count]) count++
    return count
  }

  /** PGRST100 at this place; `ahead`: what was not expected stands so many characters further on. */
  error(expected: string, ahead = 0): SovraError {
    return this.#error(expected, ahead, '"')
  }

  /** The same for one character that ends what could go on: PostgREST's parser writes it in other quotes. */
  stray(expected: string): SovraError {
    return this.#error(expected, 0, "'")
  }

  #error(expected: string, ahead: number, quote: string): SovraError {
    const code = this.text.codePointAt(this.at + ahead)
    const found = code === undefined ? 'end of input' : `${quote}${String.fromCodePoint(code)}${quote}`
    const message = `"failed to parse ${this.what} (${this.shown})" (line 1, column ${this.at + 1})`
    return syntaxError(message, `unexpected ${found} expecting ${expected}`)
  }
}

export const syntaxError = (message: string, details: string): SovraError => fail('PGRST100', { message }, { details })
