import { fail } from './errors.ts'

/** What a start looks at, of this process. */
export interface Machine {
  readonly platform: string
  readonly arch: string
  /** False where Node says for sure that it runs without glibc (Alpine). */
  readonly glibc: boolean
}

const ARCHITECTURES = ['x64', 'arm64']

/** The report costs some ms with its network part, which nobody wants here. */
function hasGlibc(): boolean {
  // Node's types do not know the switch yet.
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined
  if (!report) return true
  const before = report.excludeNetwork ?? false
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  report.excludeNetwork = before
  return header?.glibcVersionRuntime !== undefined
}

const here = (): Machine => ({ platform: process.platform, arch: process.arch, glibc: process.platform !== 'linux' || hasGlibc() })

/** `platform_unsupported`: what is missing is said before anything is made. */
export function checkPlatform({ platform, arch, glibc }: Machine = here()): void {
  if (platform !== 'linux') throw fail('platform_unsupported', { reason: `this is ${platform}` })
  if (!ARCHITECTURES.includes(arch)) throw fail('platform_unsupported', { reason: `there is no PostgreSQL for ${arch}` })
  if (!glibc) throw fail('platform_unsupported', { reason: 'this system has no glibc' })
}
