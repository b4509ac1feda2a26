import { X509Certificate } from 'node:crypto'
import { encrypt } from 'xml-encryption'

/** What a provider does that encrypts for the first key of our metadata. */
export function encryptFor(metadata: string, xml: string): Promise<string> {
  const found = /use="encryption"[\s\S]*?X509Certificate>([^<]+)/.exec(metadata)?.[1] ?? ''
  const { publicKey, raw } = new X509Certificate(Buffer.from(found, 'base64'))
  const options = {
    rsa_pub: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    pem: `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----\n`,
    encryptionAlgorithm: 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
    keyEncryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
  } as const
  return new Promise((done, failed) => encrypt(xml, options, (error, text) => (error ? failed(error) : done(String(text)))))
}
