import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { groupRoom, type MemoryGroup, memoryGroups } from './cgroups.ts'

const MIB = 1 << 20

/** A folder with these files, gone after `fn`. */
function withFiles(files: Record<string, string>, fn: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'sovra-cgroups-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true })
      writeFileSync(join(root, name), text)
    }
    fn(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

test('where a process stands: version 1, version 2, both, and in a container', () => {
  const v2 = '25 24 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw'
  const v1 = '30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory'
  const inside = '30 24 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory'
  const rows: [cgroup: string, mountinfo: string[], MemoryGroup[]][] = [
    [
      '0::/system.slice/a.service\n',
      [v2],
      [{ kind: 'cgroup2', mount: '/sys/fs/cgroup', dirs: ['/sys/fs/cgroup/system.slice/a.service', '/sys/fs/cgroup'] }],
    ],
    [
      '4:memory:/x\n1:cpu:/\n',
      [v1],
      [{ kind: 'cgroup1', mount: '/sys/fs/cgroup/memory', dirs: ['/sys/fs/cgroup/memory/x', '/sys/fs/cgroup/memory'] }],
    ],
    [
      '4:memory:/docker/abc\n',
      [inside],
      [{ kind: 'cgroup1', mount: '/sys/fs/cgroup/memory', dirs: ['/sys/fs/cgroup/memory', '/sys/fs/cgroup/memory'] }],
    ],
    [
      '4:memory:/x\n0::/y\n',
      [v1, v2],
      [
        { kind: 'cgroup2', mount: '/sys/fs/cgroup', dirs: ['/sys/fs/cgroup/y', '/sys/fs/cgroup'] },
        { kind: 'cgroup1', mount: '/sys/fs/cgroup/memory', dirs: ['/sys/fs/cgroup/memory/x', '/sys/fs/cgroup/memory'] },
      ],
    ],
    ['', [], []],
  ]
  for (const [cgroup, mountinfo, expected] of rows)
    withFiles({ cgroup, mountinfo: mountinfo.join('\n') }, (proc) => assert.deepEqual(memoryGroups(proc), expected))
})

test('what is left: of the narrowest of all groups above, with half of what files take', () => {
  const group = (limit: string, used: number, file: number) => (dir: string) => ({
    [`${dir}memory.max`]: `${limit}\n`,
    [`${dir}memory.current`]: `${used * MIB}\n`,
    [`${dir}memory.stat`]: `anon 1\nfile ${9 * file * MIB}\nactive_file ${(file / 2) * MIB}\ninactive_file ${(file / 2) * MIB}\n`,
  })
  const rows: [outer: ReturnType<typeof group>, inner: ReturnType<typeof group>, expected: number][] = [
    [group('max', 900, 0), group(String(1024 * MIB), 300, 100), 774 * MIB],
    [group(String(1000 * MIB), 900, 0), group(String(1024 * MIB), 300, 100), 100 * MIB],
    [group(String(1000 * MIB), 1100, 0), group('max', 300, 100), 0],
    [group('max', 1, 0), group('max', 1, 0), Number.POSITIVE_INFINITY],
  ]
  for (const [outer, inner, expected] of rows)
    withFiles({ ...outer(''), ...inner('a/b/') }, (mount) =>
      assert.equal(groupRoom([{ kind: 'cgroup2', mount, dirs: [join(mount, 'a/b'), mount] }]), expected),
    )
  assert.equal(groupRoom([]), Number.POSITIVE_INFINITY)
})

/** A group that this machine lets us make, with 256 MiB. */
function limitedGroup(): string | undefined {
  for (const { kind, dirs } of memoryGroups()) {
    const dir = join(dirs[0] ?? '/', `sovra-test-${process.pid}`)
    try {
      mkdirSync(dir)
      writeFileSync(join(dir, kind === 'cgroup1' ? 'memory.limit_in_bytes' : 'memory.max'), String(256 * MIB))
      return dir
    } catch {
      // Not ours to write in, or without memory.
      if (existsSync(dir)) rmdirSync(dir)
    }
  }
  return undefined
}

test('a process in a group with a limit sees what the group has left', (t) => {
  const dir = limitedGroup()
  if (dir === undefined) return t.diagnostic('this machine lets us make no group: only the files of others were read')
  try {
    const ask = `import { groupRoom } from ${JSON.stringify(new URL('./cgroups.ts', import.meta.url).href)}; console.log(groupRoom())`
    const script = 'echo $$ > "$1/cgroup.procs" && exec "$2" --input-type=module -e "$3"'
    const room = Number(execFileSync('sh', ['-c', script, 'sh', dir, process.execPath, ask], { encoding: 'utf8' }))
    assert.ok(room > 0 && room < 256 * MIB, `${room}`)
  } finally {
    rmdirSync(dir)
  }
})
