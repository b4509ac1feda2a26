const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)

export interface Field {
  readonly name: string
  readonly label: string
  readonly type: 'email' | 'password' | 'text'
  readonly autocomplete: string
  readonly value?: string
  readonly hint?: string
  /** May be left empty. */
  readonly optional?: boolean
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 34rem; margin: 10vh auto; padding: 0 1.25rem }
h1 { font-size: 1.6rem; margin-bottom: .25rem }
label { display: block; margin: 1.1rem 0 .25rem; font-weight: 600 }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .55rem .7rem; border: 1px solid #8886; border-radius: .4rem }
small { color: #777 }
button { font: inherit; font-weight: 600; margin-top: 1.6rem; padding: .6rem 1.2rem; border: 0; border-radius: .4rem; background: #1d4ed8; color: #fff; cursor: pointer }
pre { background: #8881; padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto }
.error { border-left: 4px solid #dc2626; padding: .5rem .9rem; background: #dc26261a }
`

/** A whole page of ours; `body` is HTML already. Works without JavaScript: the page policy forbids it anyway. */
export const page = (lang: string, title: string, body: string): string =>
  `<!doctype html><html lang="${lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="referrer" content="same-origin"><title>${escapeHtml(title)} · Sovrabase</title><style>${STYLE}</style></head><body><main>${body}</main></body></html>`

const input = ({ name, label, type, autocomplete, value = '', hint, optional }: Field): string =>
  `<label for="${name}">${escapeHtml(label)}</label><input id="${name}" name="${name}" type="${type}" autocomplete="${autocomplete}" value="${escapeHtml(value)}"${optional ? '' : ' required'} maxlength="255">${hint ? `<small>${escapeHtml(hint)}</small>` : ''}`

export interface Form {
  readonly action: string
  readonly token: string
  readonly fields: readonly Field[]
  readonly submit: string
  readonly error?: string
}

export const form = ({ action, token, fields, submit, error }: Form): string =>
  `${error ? `<p class="error" role="alert">${escapeHtml(error)}</p>` : ''}<form method="post" action="${action}"><input type="hidden" name="token" value="${escapeHtml(token)}">${fields.map(input).join('')}<button>${escapeHtml(submit)}</button></form>`
