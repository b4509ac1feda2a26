/** A line of the log, as it is answered. */
export interface LogLine {
  readonly time: string
  readonly level: string
  /** server, or the engine of a service. */
  readonly source: string
  readonly msg: string
  readonly project?: string
  readonly [field: string]: unknown
}

// `%m [%p] ` and the severity: see engines/postgres/workload.ts.
const HEAD = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) UTC \[(\d+)\] (?:[^\s:]+ )?([A-Z]+\d?):\s+(.*)$/
const LEVELS: Readonly<Record<string, string>> = {
  PANIC: 'fatal',
  FATAL: 'error',
  ERROR: 'error',
  WARNING: 'warn',
  NOTICE: 'info',
  INFO: 'info',
  LOG: 'info',
}
/** They belong to the line before. */
const FURTHER: ReadonlySet<string> = new Set(['DETAIL', 'HINT', 'CONTEXT', 'STATEMENT', 'QUERY', 'LOCATION'])

/** The text of a cluster's log as lines; a first one that is cut is left out. */
export function clusterLines(text: string, project: string, source: string): LogLine[] {
  const lines: { time: string; level: string; source: string; msg: string; project: string; pid: number }[] = []
  for (const line of text.split('\n')) {
    const [, day, hour, pid, severity = '', msg = ''] = HEAD.exec(line) ?? []
    const last = lines.at(-1)
    if (day !== undefined && !FURTHER.has(severity)) {
      const level = severity.startsWith('DEBUG') ? 'debug' : (LEVELS[severity] ?? 'info')
      lines.push({ time: `${day}T${hour}Z`, level, source, msg, project, pid: Number(pid) })
    } else if (last && line !== '') last.msg += day === undefined ? `\n${line.trim()}` : `\n${severity.toLowerCase()}: ${msg}`
  }
  return lines
}
