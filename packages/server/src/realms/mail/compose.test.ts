import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { compose, type Values } from './compose.ts'
import type { MailText } from './languages.ts'

const words = { subject: 's', heading: 'h', text: 't', button: null, code: 'c', ignore: 'i' }
const shipped = { words } as unknown as MailText
const values = (x: string) => ({ ConfirmationURL: 'https://a.test/?a=1&b=2', Data: { x } }) as unknown as Values
const textOf = (html: string, x = '') => compose(shipped, { subject: 's', html }, values(x)).text

describe('the text of a mail that is given as HTML alone', () => {
  it('says the same without its markup', () => {
    const html = '<h2>Hello</h2>\n<p>Click <a class="b" href="{{ .ConfirmationURL }}">here <b>now</b></a>.<br/>Or not &lt;</p><p>2 < 3'
    assert.equal(textOf(html), 'Hello\n\nClick here now (https://a.test/?a=1&b=2).\nOr not &lt;\n2 < 3')
    assert.equal(textOf('<a>no</a> <A HREF="x">yes</A></a>'), 'no yes (x)')
  })

  it('is made in one go, whatever the template is', () => {
    assert.equal(textOf('<'.repeat(65_000)).length, 65_000)
    assert.equal(textOf('<a href="'.repeat(7_000)).length, 63_000)
    assert.equal(textOf('<a '.repeat(20_000)).length, 59_999)
    assert.equal(textOf('{{ .Data.x }}'.repeat(5_000), 'y'.repeat(100_000)).length, 200_000)
  })
})
