// Options, checked when a verifier is made: a wrong one names its key and the mend.

import { bytes, digest, known, name, secrets, seconds, wanted } from './checks.js'
import { ConfigurationError } from './errors.js'
import { FIELD } from './module.js'

/** The options that there are. */
const KEYS = [
  'realm', 'secrets', 'digest', 'maxAge', 'leeway', 'allowShortSecrets', 'audience', 'scope', 'issuer', 'jwks', 'jwksUrl', 'rules',
  'revocations', 'allowStale', 'kv', 'cache', 'timeout', 'fetch', 'onWarning'
]

/**
 * Reads options into what an instance is told, in order: `{ field, value, number, key }`. Kept, so that an instance that
 * trapped can be replaced.
 */
export function read(options) {
  known(options, KEYS)
  const plan = []
  const say = (key, field, value, number) => plan.push({ key, field: FIELD[field], value, number })

  say('realm', 'realm', name(options, 'realm', 'the name in WWW-Authenticate, such as "corp"'))
  if (options.maxAge !== undefined) say('maxAge', 'maxAge', '', seconds(options, 'maxAge', 1, 86400))
  if (options.leeway !== undefined) say('leeway', 'leeway', '', seconds(options, 'leeway', 0, 60))
  for (const [key, field] of [['audience', 'audience'], ['scope', 'scope']]) {
    for (const value of names(options[key], key)) say(key, field, value)
  }

  const list = secrets(options)
  list.forEach((entry, i) => secret(entry, `secrets[${i}]`, options, say))

  const sources = ['jwks', 'jwksUrl'].filter(key => options[key] !== undefined)
  if (sources.length === 2) {
    throw new ConfigurationError('conflict', 'jwksUrl', 'either the keys (jwks) or where they are (jwksUrl), not both')
  }
  if (sources.length === 0) {
    if (list.length === 0) {
      throw new ConfigurationError('missing', 'jwksUrl', 'nothing is trusted: name secrets, jwks or jwksUrl')
    }
    for (const key of ['issuer', 'allowStale', 'kv', 'cache', 'timeout', 'fetch']) {
      if (options[key] !== undefined) throw new ConfigurationError('conflict', key, 'it goes with jwksUrl, which is missing')
    }
  } else {
    const [source] = sources
    if (options.issuer === undefined) {
      throw new ConfigurationError('missing', 'issuer', `required with ${source}: the "iss" of the tokens, exactly`)
    }
    say('issuer', 'issuer', name(options, 'issuer', 'the "iss" of the tokens'))
    if (names(options.audience, 'audience').length === 0) {
      throw new ConfigurationError(
        'missing', 'audience', `required with ${source}: who this service is, or tokens for others would be good here`)
    }
    if (source === 'jwks') say('jwks', 'jwks', json(options, 'jwks', '{ keys: [...] }'))
    else say('jwksUrl', 'fetched')
  }
  if (options.rules !== undefined) say('rules', 'rules', json(options, 'rules', '{ rules: [...] }'))
  if (options.revocations !== undefined) say('revocations', 'revocations', json(options, 'revocations', 'a list'))
  return {
    plan,
    realm: options.realm,
    rules: options.rules !== undefined,
    upkeep: sources[0] === 'jwksUrl' ? upkeep(options) : null,
    onWarning: wanted(options, 'onWarning', 'function') ?? (message => console.warn(`seamless: warning: ${message}`))
  }
}

function secret(entry, key, options, say) {
  const plain = typeof entry === 'string' || entry instanceof Uint8Array
  if (!plain && (entry === null || typeof entry !== 'object')) return bytes(entry, key, options)
  const { value, purpose = 'seamless', digest: own, audience, scopes, ...rest } = plain ? { value: entry } : entry
  for (const other of Object.keys(rest)) {
    throw new ConfigurationError(
      'unknown_option', `${key}.${other}`, 'no such option; there are value, purpose, digest, audience, scopes')
  }
  if (purpose !== 'seamless' && purpose !== 'chap') {
    throw new ConfigurationError('out_of_range', `${key}.purpose`, 'seamless or chap (crtauth)')
  }
  if (purpose === 'chap' && own !== undefined) {
    throw new ConfigurationError('conflict', `${key}.digest`, 'tokens of crtauth have their own')
  }
  const hash = purpose === 'chap' ? 0 : digest(own ?? options.digest, own === undefined ? 'digest' : `${key}.digest`)
  const found = bytes(value, plain || value !== undefined ? key : `${key}.value`, options)
  for (const name of names(audience, `${key}.audience`)) say(`${key}.audience`, 'secretAudience', name)
  for (const name of names(scopes, `${key}.scopes`)) say(`${key}.scopes`, 'secretScope', name)
  say(key, 'secret', found, hash)
}

function upkeep(options) {
  let url
  try {
    url = new URL(wanted(options, 'jwksUrl', 'string'))
  } catch {
    throw new ConfigurationError('wrong_type', 'jwksUrl', 'a URL is wanted, such as https://login.example.com/corp/jwks.json')
  }
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
    throw new ConfigurationError('out_of_range', 'jwksUrl', 'https is wanted: whoever is on the way could put in keys of their own')
  }
  if (url.username !== '' || url.password !== '') {
    throw new ConfigurationError('out_of_range', 'jwksUrl', 'no user and password in it: they would be in logs')
  }
  const { kv } = options
  if (kv !== undefined && typeof kv !== 'string' && typeof kv?.get !== 'function') {
    throw new ConfigurationError('wrong_type', 'kv', 'a KV namespace is wanted, or the name of its binding')
  }
  return {
    url: url.href,
    issuer: options.issuer,
    kv,
    cache: wanted(options, 'cache', 'boolean') ?? true,
    allowStale: wanted(options, 'allowStale', 'boolean') ?? false,
    timeout: options.timeout === undefined ? 5 : seconds(options, 'timeout', 1, 30),
    fetch: wanted(options, 'fetch', 'function')
  }
}

/** One name, or a list of them. */
function names(value, key) {
  if (value === undefined) return []
  const list = Array.isArray(value) ? value : [value]
  if (list.length === 0 && /audience/.test(key)) throw new ConfigurationError('missing', key, 'the list is empty')
  for (const item of list) {
    if (typeof item !== 'string' || item === '') {
      throw new ConfigurationError('wrong_type', key, 'a name or a list of names is wanted, none of them empty')
    }
  }
  return list
}

function json(options, key, what) {
  const value = options[key]
  if (typeof value === 'string') return value
  if (value === null || typeof value !== 'object') {
    throw new ConfigurationError('wrong_type', key, `${what} is wanted, or the same as JSON text`)
  }
  return JSON.stringify(value)
}
