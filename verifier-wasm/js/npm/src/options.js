// Options, checked when a verifier is made: a wrong one names its key and the mend.

import { ConfigurationError } from './errors.js'
import { FIELD } from './module.js'

const DIGESTS = { sha1: 1, sha256: 256, sha512: 512 }
const encoder = new TextEncoder()

/** What the slim module has, too. */
const SLIM = ['realm', 'secrets', 'digest', 'maxAge', 'leeway', 'allowShortSecrets']
const FULL = [
  ...SLIM, 'audience', 'scope', 'issuer', 'jwks', 'jwksUrl', 'rules', 'revocations', 'allowStale', 'kv', 'cache', 'timeout',
  'fetch', 'onWarning'
]

/**
 * Reads options into what an instance is told, in order: `{ field, value, number, key }`. Kept, so that an instance that
 * trapped can be replaced.
 */
export function read(options, { slim = false } = {}) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw new ConfigurationError('wrong_type', 'options', 'an object is wanted, such as { realm, jwksUrl, issuer, audience }')
  }
  const known = slim ? SLIM : FULL
  for (const key of Object.keys(options)) {
    if (options[key] === undefined || known.includes(key)) continue
    if (slim && FULL.includes(key)) {
      throw new ConfigurationError('unknown_option', key, 'not in the slim build; import @seamless-auth/verifier instead of …/hmac')
    }
    throw new ConfigurationError('unknown_option', key, `no such option; there are ${known.join(', ')}`)
  }
  const plan = []
  const say = (key, field, value, number) => plan.push({ key, field: FIELD[field], value, number })

  say('realm', 'realm', name(options, 'realm', 'the name in WWW-Authenticate, such as "corp"'))
  if (options.maxAge !== undefined) say('maxAge', 'maxAge', '', seconds(options, 'maxAge', 1, 86400))
  if (options.leeway !== undefined) say('leeway', 'leeway', '', seconds(options, 'leeway', 0, 60))
  for (const [key, field] of [['audience', 'audience'], ['scope', 'scope']]) {
    for (const value of names(options[key], key)) say(key, field, value)
  }

  const secrets = options.secrets ?? []
  if (!Array.isArray(secrets)) throw new ConfigurationError('wrong_type', 'secrets', 'a list is wanted: [env.SECRET]')
  if (options.digest !== undefined && secrets.length === 0) {
    throw new ConfigurationError('unknown_option', 'digest', 'it goes with secrets; the algorithm of a JWT is its key\'s')
  }
  secrets.forEach((entry, i) => secret(entry, `secrets[${i}]`, options, slim, say))
  if (secrets.length > 0 && isBrowser()) {
    throw new ConfigurationError(
      'secret_in_browser', 'secrets',
      'a shared secret can\'t be used in a browser: whoever can verify with it can mint, and every visitor has the page\'s ' +
      'source; verify JWTs with jwksUrl, issuer and audience'
    )
  }

  const sources = ['jwks', 'jwksUrl'].filter(key => options[key] !== undefined)
  if (sources.length === 2) {
    throw new ConfigurationError('conflict', 'jwksUrl', 'either the keys (jwks) or where they are (jwksUrl), not both')
  }
  if (sources.length === 0) {
    if (secrets.length === 0) {
      const wanted = slim ? 'secrets' : 'secrets, jwks or jwksUrl'
      throw new ConfigurationError('missing', slim ? 'secrets' : 'jwksUrl', `nothing is trusted: name ${wanted}`)
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

function secret(entry, key, options, slim, say) {
  const plain = typeof entry === 'string' || entry instanceof Uint8Array
  if (!plain && (entry === null || typeof entry !== 'object' || slim)) {
    const more = slim ? '' : ', or { value, digest, audience, scopes }'
    const hint = entry === undefined ? 'it is undefined; is the environment variable set?' : `a string or bytes${more} is wanted`
    throw new ConfigurationError('wrong_type', key, hint)
  }
  const { value, digest = options.digest ?? 'sha1', audience, scopes, ...rest } = plain ? { value: entry } : entry
  for (const other of Object.keys(rest)) {
    throw new ConfigurationError('unknown_option', `${key}.${other}`, 'no such option; there are value, digest, audience, scopes')
  }
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    const hint = value === undefined ? 'it is undefined; is the environment variable set?' : 'a string or bytes is wanted'
    throw new ConfigurationError('wrong_type', `${key}.value`, hint)
  }
  if (!Object.hasOwn(DIGESTS, digest)) {
    const at = plain || entry.digest === undefined ? 'digest' : `${key}.digest`
    throw new ConfigurationError('out_of_range', at, 'sha1 (the format\'s default), sha256 or sha512')
  }
  const bytes = typeof value === 'string' ? encoder.encode(value) : Uint8Array.from(value)
  if (bytes.length < 16 && wanted(options, 'allowShortSecrets', 'boolean') !== true) {
    throw new ConfigurationError('out_of_range', key, `${bytes.length} bytes can be guessed; 16 or more are wanted`)
  }
  for (const value of names(audience, `${key}.audience`)) say(`${key}.audience`, 'secretAudience', value)
  for (const value of names(scopes, `${key}.scopes`)) say(`${key}.scopes`, 'secretScope', value)
  say(key, 'secret', bytes, DIGESTS[digest])
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

function wanted(options, key, type) {
  const value = options[key]
  if (value !== undefined && typeof value !== type) throw new ConfigurationError('wrong_type', key, `a ${type} is wanted`)
  return value
}

function name(options, key, what) {
  if (options[key] === undefined) throw new ConfigurationError('missing', key, `required: ${what}`)
  if (typeof options[key] !== 'string' || options[key] === '') {
    throw new ConfigurationError('wrong_type', key, `a string is wanted: ${what}`)
  }
  return options[key]
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

function seconds(options, key, least, most) {
  const value = options[key]
  if (typeof value !== 'number') throw new ConfigurationError('wrong_type', key, 'a number of seconds is wanted')
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new ConfigurationError('out_of_range', key, `${value} is not allowed; ${least} to ${most} seconds are`)
  }
  return value
}

function json(options, key, what) {
  const value = options[key]
  if (typeof value === 'string') return value
  if (value === null || typeof value !== 'object') {
    throw new ConfigurationError('wrong_type', key, `${what} is wanted, or the same as JSON text`)
  }
  return JSON.stringify(value)
}

/** Where every visitor reads the source: a page or its workers. Not workerd, Deno, Bun or Node. */
export function isBrowser() {
  const { process, Deno, navigator, document, WorkerGlobalScope } = globalThis
  if (process?.versions?.node !== undefined && process.type !== 'renderer') return false
  if (Deno !== undefined && typeof document === 'undefined') return false
  if (navigator?.userAgent === 'Cloudflare-Workers') return false
  return typeof document !== 'undefined' || (typeof WorkerGlobalScope === 'function' && globalThis instanceof WorkerGlobalScope)
}
