// What both builds check of their options.

import { ConfigurationError } from './errors.js'

const DIGESTS = { sha1: 1, sha256: 256, sha512: 512 }

/** Refuses what is no object, and options that aren't there: `elsewhere` are the other build's. */
export function known(options, keys, elsewhere = []) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw new ConfigurationError('wrong_type', 'options', 'an object is wanted, such as { realm, … }')
  }
  for (const key of Object.keys(options)) {
    if (options[key] === undefined || keys.includes(key)) continue
    const mend = elsewhere.includes(key) ? 'not in the slim build; use @seamless-auth/verifier' : `no such option; there are ${keys.join(', ')}`
    throw new ConfigurationError('unknown_option', key, mend)
  }
}

/** The list of secrets, of which a browser may have none. */
export function secrets(options) {
  const { secrets: list = [], digest } = options
  if (!Array.isArray(list)) throw new ConfigurationError('wrong_type', 'secrets', 'a list is wanted: [env.SECRET]')
  if (digest !== undefined && list.length === 0) {
    throw new ConfigurationError('unknown_option', 'digest', 'it goes with secrets; the algorithm of a JWT is its key\'s')
  }
  if (list.length > 0 && isBrowser()) {
    throw new ConfigurationError(
      'secret_in_browser', 'secrets',
      'a shared secret can\'t be used in a browser: whoever can verify with it can mint, and every visitor has the page\'s ' +
      'source; verify JWTs with jwksUrl, issuer and audience'
    )
  }
  return list
}

/** The bytes of a secret. */
export function bytes(value, key, options) {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    const hint = value === undefined ? 'it is undefined; is the environment variable set?' : 'a string or bytes is wanted'
    throw new ConfigurationError('wrong_type', key, hint)
  }
  const found = typeof value === 'string' ? new TextEncoder().encode(value) : Uint8Array.from(value)
  if (found.length < 16 && wanted(options, 'allowShortSecrets', 'boolean') !== true) {
    throw new ConfigurationError('out_of_range', key, `${found.length} bytes can be guessed; 16 or more are wanted`)
  }
  return found
}

/** The number of a digest. */
export function digest(name = 'sha1', key) {
  if (!Object.hasOwn(DIGESTS, name)) {
    throw new ConfigurationError('out_of_range', key, 'sha1 (the format\'s default), sha256 or sha512')
  }
  return DIGESTS[name]
}

/** An option of that type, or undefined. */
export function wanted(options, key, type) {
  const value = options[key]
  if (value !== undefined && typeof value !== type) throw new ConfigurationError('wrong_type', key, `a ${type} is wanted`)
  return value
}

/** A name that has to be there. */
export function name(options, key, what) {
  if (options[key] === undefined) throw new ConfigurationError('missing', key, `required: ${what}`)
  if (typeof options[key] !== 'string' || options[key] === '') {
    throw new ConfigurationError('wrong_type', key, `a string is wanted: ${what}`)
  }
  return options[key]
}

/** A number of seconds. */
export function seconds(options, key, least, most) {
  const value = options[key]
  if (typeof value !== 'number') throw new ConfigurationError('wrong_type', key, 'a number of seconds is wanted')
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new ConfigurationError('out_of_range', key, `${value} is not allowed; ${least} to ${most} seconds are`)
  }
  return value
}

/** Where every visitor reads the source: a page or its workers. Not workerd, Deno, Bun or Node. */
export function isBrowser() {
  const { process, Deno, navigator, document, WorkerGlobalScope } = globalThis
  if (process?.versions?.node !== undefined && process.type !== 'renderer') return false
  if (Deno !== undefined && typeof document === 'undefined') return false
  if (navigator?.userAgent === 'Cloudflare-Workers') return false
  return typeof document !== 'undefined' || (typeof WorkerGlobalScope === 'function' && globalThis instanceof WorkerGlobalScope)
}
