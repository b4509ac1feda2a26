import type { Client } from 'pg'

/** What a batch of statements came to. */
export interface Sent {
  /** How many of them were done. */
  readonly done: number
  readonly error: Error | null
}

/** What pg's client calls while a query of ours is the running one; its types leave this out. */
interface Wired {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

const CHUNK = 65_536

/** Statements as one message, counted as they are done; the lines of a COPY go with it. */
class Batch {
  readonly #text: string
  readonly #data: string | undefined
  readonly #end: (sent: Sent) => void
  #done = 0
  callback = () => {}

  constructor(text: string, data: string | undefined, end: (sent: Sent) => void) {
    this.#text = text
    this.#data = data
    this.#end = end
  }

  submit(connection: Wired): null {
    connection.query(this.#text)
    return null
  }

  handleCommandComplete(): void {
    this.#done++
  }

  handleCopyInResponse(connection: Wired): void {
    const data = Buffer.from(this.#data ?? '')
    for (let at = 0; at < data.length; at += CHUNK) connection.sendCopyFromChunk(data.subarray(at, at + CHUNK))
    connection.endCopyFrom()
  }

  /** pg's client takes it as ended: no ReadyForQuery follows. */
  handleError(error: Error): void {
    this.#end({ done: this.#done, error })
  }

  handleReadyForQuery(): void {
    this.#end({ done: this.#done, error: null })
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyData(): void {}
}

/** Runs one or more statements as one message; rows that they answer are passed over. Never rejects. */
export const send = (client: Client, text: string, data?: string): Promise<Sent> =>
  new Promise((end) => {
    client.query(new Batch(text, data, end) as unknown as Parameters<Client['query']>[0])
  })
