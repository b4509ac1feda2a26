import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

/**
 * The SCRAM-SHA-256 verifier of a password as PostgreSQL stores it (RFC 5803, RFC 7677), so that no password is ever part of a statement.
 *
 * The salt is derived from the password and the role: the same password gives the same verifier, which a wake can compare with the
 * stored one in a query. That is safe for the passwords that we make (32 random bytes) and for those only: it would show
 * that two roles of one name share a password. `iterations` 1 likewise: stretching adds nothing to 256 random bits but a few ms a connection.
 */
export function scramVerifier(role: string, password: string, iterations = 1): string {
  const salt = createHmac('sha256', password).update(`sovrabase scram salt ${role}`).digest().subarray(0, 16)
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const clientKey = createHmac('sha256', salted).update('Client Key').digest()
  const storedKey = createHash('sha256').update(clientKey).digest('base64')
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}
