import { Readable } from 'node:stream'

/** A tar that is read in whichever thread opens it: `open(args)` of this module (a URL) gives it, chunk by chunk; each counts until the next is asked for. */
export interface TarApart {
  readonly module: string
  /** Goes to another thread as a copy. */
  readonly args: unknown
  /** Settled once all of it is written: only who writes knows whether what came is all of it. */
  readonly whole: Promise<unknown>
}

export type Tar = Readable | TarApart

interface TarModule {
  open(args: unknown): AsyncIterable<Buffer> | Promise<AsyncIterable<Buffer>>
}

/** What is read of it, without knowing whether that is all. */
export async function openApart({ module, args }: Pick<TarApart, 'module' | 'args'>): Promise<AsyncIterable<Buffer>> {
  return await ((await import(module)) as TarModule).open(args)
}

async function* wholeOf(tar: TarApart): AsyncGenerator<Buffer> {
  for await (const chunk of await openApart(tar)) yield Buffer.from(chunk)
  await tar.whole
}

/** In this thread; the stream fails where it is not whole. */
export function openTar(tar: Tar): Readable {
  if (tar instanceof Readable) return tar
  const stream = Readable.from(wholeOf(tar), { objectMode: false })
  tar.whole.catch((error: Error) => void stream.destroy(error))
  return stream
}
