// Verifies a token in the page. It is never stored, sent or put into an address; what is fetched are public keys.

import { ConfigurationError, KeysUnavailableError, Verifier } from '@seamless-auth/verifier'
import { WORDS } from './words.js'

const find = id => document.getElementById(id)
const form = find('form')
const section = find('result')
const button = find('check')
let timer
/** Which check is the last: a slower one before it must not overwrite it. */
let turn = 0

form.addEventListener('submit', event => {
  event.preventDefault()
  check()
})

form.addEventListener('reset', () => {
  turn++
  clearInterval(timer)
  for (const name of ['token', 'issuer', 'audience', 'jwks']) wrong(name, '')
  section.hidden = true
  busy(false)
  find('raw').textContent = ''
  find('live').textContent = 'Cleared'
  find('token').focus()
})

find('token').addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
})

async function check() {
  const mine = ++turn
  const wanted = read()
  if (wanted === null) return
  busy(true)
  clearInterval(timer)
  try {
    const { issuer, audience, jwksUrl, scope } = wanted
    const verifier = await Verifier.create({ realm: 'page', issuer, audience, jwksUrl, ...(scope.length > 0 ? { scope } : {}) })
    const result = verifier.verify(wanted.token)
    verifier.close()
    if (mine !== turn) return
    if (result.ok) good(result.identity)
    else bad(result.rejection.code, wanted, skewed(result.rejection))
  } catch (error) {
    if (mine === turn) failed(error, wanted)
  } finally {
    if (mine === turn) busy(false)
  }
}

/** The form's content, or null where something is missing; then that field has the focus. */
function read() {
  const value = name => form.elements[name].value.trim()
  // As it is copied out of a header or of two lines of a terminal.
  const token = value('token').replace(/^(?:bearer|seamless)\s+/i, '').replace(/[\r\n]+/g, '')
  const [issuer, audience] = [value('issuer'), value('audience')]
  const jwksUrl = value('jwks') || `${issuer.replace(/\/+$/, '')}/.well-known/jwks.json`
  const problems = {
    token: token === '' ? 'Paste a token.' : '',
    issuer: issuer === '' ? 'Name the realm\'s issuer.' : address(issuer),
    audience: audience === '' ? 'Name the service.' : '',
    jwks: value('jwks') === '' ? '' : address(value('jwks'))
  }
  for (const [name, problem] of Object.entries(problems)) wrong(name, problem)
  const first = Object.keys(problems).find(name => problems[name] !== '')
  if (first === undefined) return { token, issuer, audience, jwksUrl, scope: value('scope').split(/\s+/).filter(Boolean) }
  const field = find(first)
  field.closest('details')?.setAttribute('open', '')
  field.focus()
  return null
}

function address(text) {
  let url
  try {
    url = new URL(text)
  } catch {
    return 'An address is wanted, beginning with https://.'
  }
  const loopback = url.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  return url.protocol === 'https:' || loopback ? '' : 'https is wanted: keys that came over http are nobody\'s.'
}

function wrong(name, problem) {
  const error = find(`${name}-error`)
  error.textContent = problem
  error.hidden = problem === ''
  if (problem === '') find(name).removeAttribute('aria-invalid')
  else find(name).setAttribute('aria-invalid', 'true')
}

function good(identity) {
  const groups = [
    ['Speaks for', identity.subject],
    ['Valid until', time(identity.expiresAt)],
    ['Still good for', left(identity.expiresAt), 'left'],
    ['Issued', time(identity.issuedAt)],
    ['Issuer', identity.issuer],
    ['For', identity.audiences],
    ['May', identity.scopes],
    ['Groups', identity.groups],
    ['Proven by', identity.amr],
    ['SSH key', identity.sshFp],
    ['Signed by key', identity.kid]
  ]
  show('good', `It speaks for ${identity.subject}`, 'The signature is the realm\'s, and everything that you demand is there.', '', groups)
  timer = setInterval(() => {
    const seconds = identity.expiresAt - Date.now() / 1000
    find('left').textContent = left(identity.expiresAt)
    if (seconds <= 0) check()
  }, 1000)
}

function bad(code, wanted, more) {
  const [title, why, mend] = WORDS[code] ?? ['It is refused', '', '']
  show('bad', title, [why, more].filter(Boolean).join(' '), mend, [['Code', code]])
  const claims = decode(wanted.token)
  find('claims').hidden = claims === null
  find('raw').textContent = claims ?? ''
}

function failed(error, wanted) {
  if (error instanceof ConfigurationError) {
    const name = { jwksUrl: 'jwks' }[error.key] ?? error.key.replace(/\W.*/, '')
    if (find(`${name}-error`) !== null) {
      wrong(name, error.message)
      find(name).focus()
      return
    }
  }
  const why = error instanceof KeysUnavailableError ? error.message : String(error?.message ?? error)
  bad('keys_unavailable', wanted, `(${why})`)
}

function show(kind, title, why, mend, rows) {
  section.className = kind
  find('verdict').textContent = title
  find('why').textContent = why
  find('mend').textContent = mend
  find('claims').hidden = true
  find('raw').textContent = ''
  find('facts').replaceChildren(...rows.flatMap(row))
  section.hidden = false
  // Heard and seen, where the reader is.
  find('verdict').focus()
  find('live').textContent = `${kind === 'good' ? 'Good' : 'Refused'}: ${title}. ${mend}`
}

function row([name, value, id]) {
  if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) return []
  const [dt, dd] = [document.createElement('dt'), document.createElement('dd')]
  dt.textContent = name
  if (id !== undefined) dd.id = id
  if (Array.isArray(value)) {
    for (const one of value) {
      const chip = document.createElement('span')
      chip.className = 'chip'
      chip.textContent = one
      dd.append(chip)
    }
  } else if (value instanceof Node) dd.append(value)
  else dd.textContent = value
  return [dt, dd]
}

function time(seconds) {
  const element = document.createElement('time')
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime())) return String(seconds)
  element.dateTime = date.toISOString()
  element.textContent = date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
  return element
}

function left(until) {
  const seconds = Math.max(0, Math.ceil(until - Date.now() / 1000))
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} hours`
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`
}

function skewed({ skew }) {
  return skew === undefined ? '' : `It is ${skew} seconds ahead.`
}

/** Header and claims as they stand, or null. Only ever shown as text. */
function decode(token) {
  try {
    const parts = token.split('.')
    if (parts.length !== 3) return null
    return parts.slice(0, 2).map(part => {
      const bytes = Uint8Array.from(atob(part.replace(/-/g, '+').replace(/_/g, '/')), character => character.charCodeAt(0))
      return JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)), null, 2)
    }).join('\n')
  } catch {
    return null
  }
}

function busy(yes) {
  button.setAttribute('aria-disabled', String(yes))
  button.textContent = yes ? 'Fetching the keys …' : 'Check the token'
}
