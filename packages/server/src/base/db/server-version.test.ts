import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSovraError } from '../errors.ts'
import { checkServerVersion } from './server-version.ts'

test('database servers that are too old are named with what is needed', () => {
  for (const version of ['13.0', '15.4 (Debian 15.4-1)', '18beta1']) checkServerVersion('postgresql', version)
  for (const version of ['10.11.6-MariaDB-0+deb12u1', '10.5.1-MariaDB', '8.0.36', '9.1.0']) checkServerVersion('mysql', version)
  for (const [dialect, version, found] of [
    ['postgresql', '9.6.24', 'PostgreSQL 9.6'],
    ['mysql', '10.3.39-MariaDB', 'MariaDB 10.3'],
    ['mysql', '5.7.44', 'MySQL 5.7'],
  ] as const)
    assert.throws(
      () => checkServerVersion(dialect, version),
      (error) => isSovraError(error, 'metadata_too_old') && error.message.includes(found),
    )
})
