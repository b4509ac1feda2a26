import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { sha256 } from '../crypto.ts'
import { fail } from '../errors.ts'
import { END, type End, HEADER, type Header, IDENTITY, INSTALLATION, MANIFEST, type Manifest, METADATA, projectMember } from './format.ts'
import type { SHAPES } from './schemas.ts'
import { macOf, type OpenWith, unseal } from './seal.ts'
import { BLOCK, padding, readHeader } from './tar.ts'

interface Place {
  readonly size: number
  readonly at: number
}

const SMALL = 64 << 20

/** The command line starts without the library of schemas. */
type Schemas = typeof import('./schemas.ts')
const schemas = (): Promise<Schemas> => import('./schemas.ts')

/** A backup in a file: its list is read and checked for wholeness; contents are checked by `verify`. */
export class Archive {
  readonly file: string
  readonly header: Header
  readonly manifest: Manifest
  readonly #places: ReadonlyMap<string, Place>
  readonly #end: End
  readonly #manifestText: Buffer

  private constructor(
    file: string,
    places: ReadonlyMap<string, Place>,
    { header, manifest, end }: { header: Header; manifest: Buffer; end: Buffer },
    { parsedAs, SHAPES }: Schemas,
  ) {
    this.file = file
    this.#places = places
    this.#manifestText = manifest
    this.header = header
    this.manifest = parsedAs<Manifest>(SHAPES.manifest, manifest.toString(), { file, member: MANIFEST })
    this.#end = parsedAs<End>(SHAPES.end, end.toString(), { file, member: END })
  }

  /** `backup_unreadable`, `backup_foreign`, `backup_truncated`, `backup_damaged`, `backup_newer`. */
  static async open(file: string): Promise<Archive> {
    const unreadable = (cause: NodeJS.ErrnoException) => {
      throw fail('backup_unreadable', { file, reason: cause.code ?? 'unknown' }, { cause })
    }
    const handle = await open(file).catch(unreadable)
    try {
      // A directory opens too, and is found out by reading.
      await handle.read(Buffer.alloc(1), 0, 1, 0).catch(unreadable)
      const places = await index(handle, file)
      const text = async (name: string) => {
        const place = places.get(name)
        if (!place || place.size > SMALL) throw fail('backup_truncated', { file })
        return await readAt(handle, place, file)
      }
      const all = await schemas()
      const header = all.headerOf(file, await text(HEADER))
      const archive = new Archive(file, places, { header, manifest: await text(MANIFEST), end: await text(END) }, all)
      archive.#check()
      return archive
    } finally {
      await handle.close()
    }
  }

  #check(): void {
    const { file } = this
    if (sha256(this.#manifestText) !== this.#end.manifest_sha256) throw fail('backup_damaged', { file, member: MANIFEST })
    const listed = new Set([MANIFEST, END])
    for (const { name, size } of this.manifest.members) {
      listed.add(name)
      if (this.#places.get(name)?.size !== size) throw fail('backup_damaged', { file, member: name })
    }
    for (const name of this.#places.keys()) if (!listed.has(name)) throw fail('backup_damaged', { file, member: name })
    for (const name of this.#needed()) if (!listed.has(name)) throw fail('backup_damaged', { file, member: name })
  }

  /** What no backup of its kind is without; each project once. */
  *#needed(): Generator<string> {
    yield* this.header.scope === 'installation' ? [HEADER, IDENTITY, INSTALLATION, METADATA] : [HEADER, IDENTITY]
    const seen = new Set<string>()
    for (const { ref } of this.manifest.projects) {
      if (seen.has(ref)) throw fail('backup_damaged', { file: this.file, member: MANIFEST })
      seen.add(ref)
      yield projectMember(ref)
    }
  }

  /** Bytes of all contents. */
  get bytes(): number {
    return this.manifest.members.reduce((sum, member) => sum + member.size, 0)
  }

  has(name: string): boolean {
    return this.#places.has(name)
  }

  #place(name: string): Place {
    const place = this.#places.get(name)
    if (!place) throw fail('backup_damaged', { file: this.file, member: name })
    return place
  }

  size = (name: string): number => this.#place(name).size

  /** SHA-256 as the manifest has it. */
  sha256(name: string): string {
    const member = this.manifest.members.find((one) => one.name === name)
    if (!member) throw fail('backup_damaged', { file: this.file, member: name })
    return member.sha256
  }

  stream(name: string): Readable {
    const { at, size } = this.#place(name)
    return createReadStream(this.file, { start: at, end: at + size - 1, highWaterMark: 1 << 20 })
  }

  /** One that is kept in memory. */
  async read(name: string): Promise<Buffer> {
    if (this.#place(name).size > SMALL) throw fail('backup_damaged', { file: this.file, member: name })
    const handle = await open(this.file)
    try {
      return await readAt(handle, this.#place(name), this.file)
    } finally {
      await handle.close()
    }
  }

  /** Reads everything once; `backup_damaged` names the first member whose contents are not what was written. */
  async verify(names?: ReadonlySet<string>, seen: (bytes: number) => void = () => {}): Promise<void> {
    for (const { name, sha256: wanted } of this.manifest.members) {
      if (names && !names.has(name)) continue
      const hash = createHash('sha256')
      for await (const chunk of this.stream(name)) {
        hash.update(chunk as Buffer)
        seen((chunk as Buffer).length)
      }
      if (hash.digest('hex') !== wanted) throw fail('backup_damaged', { file: this.file, member: name })
    }
  }

  /** The backup's identity; `backup_locked`, and `backup_damaged` where the manifest is not its maker's. */
  async unlock(key: OpenWith): Promise<string> {
    const identity = await unseal(await this.read(IDENTITY), key)
    if (macOf(identity, this.#manifestText) !== this.#end.manifest_hmac) throw fail('backup_damaged', { file: this.file, member: MANIFEST })
    return identity
  }

  /** A sealed member, opened with the identity. */
  async open<T>(name: string, identity: string, shape: keyof typeof SHAPES): Promise<T> {
    const { parsedAs, SHAPES } = await schemas()
    return parsedAs<T>(SHAPES[shape], await unseal(await this.read(name), { identities: [identity] }), { file: this.file, member: name })
  }
}

async function readAt(handle: FileHandle, { at, size }: Place, file: string): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, at)
  if (bytesRead !== size) throw fail('backup_truncated', { file })
  return buffer
}

async function index(handle: FileHandle, file: string): Promise<Map<string, Place>> {
  const places = new Map<string, Place>()
  const { size: whole } = await handle.stat()
  for (let at = 0; ; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(BLOCK), 0, BLOCK, at)
    const header = bytesRead === BLOCK ? readHeader(buffer) : undefined
    if (at === 0 && header?.name !== HEADER) throw fail('backup_foreign', { file, reason: `it does not begin with ${HEADER}` })
    if (bytesRead < BLOCK) throw fail('backup_truncated', { file })
    if (header === null) return places
    if (header === undefined || places.has(header.name)) throw fail('backup_damaged', { file, member: `at byte ${at}` })
    at += BLOCK
    if (at + header.size > whole) throw fail('backup_truncated', { file })
    places.set(header.name, { size: header.size, at })
    at += header.size + padding(header.size)
  }
}
