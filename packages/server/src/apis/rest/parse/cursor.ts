import { fail, type SovraError } from '../../../base/errors.ts'

/** Reads one text from left to right; `what` names it in errors as PostgREST does. Pure. */
export class Cursor {
  readonly text: string
  readonly what: string
  at = 0

  constructor(text: string, what: string) {
    this.text = text
    this.what = what
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

  /** PGRST100 at this place. */
  error(expected: string): SovraError {
    const found = this.end ? 'unexpected end of input' : `unexpected "${String.fromCodePoint(this.text.codePointAt(this.at) ?? 0)}"`
    return syntaxError(`"failed to parse ${this.what} (${this.text})" (line 1, column ${this.at + 1})`, `${found} expecting ${expected}`)
  }
}

export const syntaxError = (message: string, details: string): SovraError => fail('PGRST100', { message }, { details })
