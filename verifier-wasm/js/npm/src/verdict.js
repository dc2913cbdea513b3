// Verdicts, and what they become in HTTP.

/** Every code in the core's order, with its status and the first line of the body. */
export const CODES = [
  ['missing_authorization', 401, 'bad authorization header format'],
  ['bad_authorization', 401, 'bad authorization header format'],
  ['malformed', 401, 'invalid token'],
  ['too_large', 401, 'invalid token'],
  ['unsupported_algorithm', 401, 'invalid token'],
  ['unknown_key', 401, 'invalid token'],
  ['bad_signature', 401, 'invalid token'],
  ['wrong_issuer', 401, 'invalid token'],
  ['wrong_audience', 401, 'invalid token'],
  ['revoked', 401, 'invalid token'],
  ['binding_required', 401, 'invalid token'],
  ['expired', 401, 'token expired'],
  ['not_yet_valid', 401, 'token not yet valid'],
  ['missing_scope', 403, 'insufficient scope'],
  ['bad_path', 400, 'bad request path'],
  ['keys_unavailable', 503, 'verification keys unavailable']
]
/** Places in the list, from 1. */
export const MALFORMED = 3
export const TOO_LARGE = 4
export const UNKNOWN_KEY = 6
export const NOT_YET_VALID = 13
export const KEYS_UNAVAILABLE = 16

const encoder = new TextEncoder()

export class Identity {
  constructor(format, subject, issuedAt, expiresAt) {
    this.format = format
    this.subject = subject
    this.issuedAt = issuedAt
    this.expiresAt = expiresAt
  }

  get headers() {
    return Object.freeze({
      'x-seamless-user': encode(this.subject),
      'x-seamless-scope': this.scopes.map(encode).join(' '),
      'x-seamless-groups': this.groups.map(encode).join(',')
    })
  }
}

/** Percent-encodes what a header can't have, and what would be read as a list. */
function encode(name) {
  if (/^[!-$&-+\--~]*$/.test(name)) return name
  let out = ''
  for (const byte of encoder.encode(name)) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x2c
    out += plain ? String.fromCharCode(byte) : '%' + (byte < 16 ? '0' : '') + byte.toString(16).toUpperCase()
  }
  return out
}

const NONE = Object.freeze([])
const list = names => (names === '' ? NONE : Object.freeze(names.split('\0')))

/** By the numbers that the module has for them. */
const FORMATS = ['seamless', 'jwt', 'chap']

/** A good verdict from what an instance has just found. */
export function accepted(format, issuedAt, expiresAt, subject, pieces) {
  const who = new Identity(FORMATS[format], subject, issuedAt, expiresAt)
  if (pieces === undefined) {
    who.audiences = who.scopes = who.groups = who.amr = NONE
    return { ok: true, outcome: 'identity', identity: who }
  }
  const [, issuer, clientId, jti, sshFp, kid, audiences, scopes, groups, amr] = pieces
  if (format === 1) {
    who.issuer = issuer
    who.clientId = clientId
    who.jti = jti
    if (sshFp !== '') who.sshFp = sshFp
    who.kid = kid
  }
  who.audiences = list(audiences)
  who.scopes = list(scopes)
  who.groups = list(groups)
  who.amr = list(amr)
  return { ok: true, outcome: 'identity', identity: who }
}

export class Rejection {
  #realm

  constructor(realm, place, skew) {
    const [code, status, message] = CODES[place - 1]
    this.#realm = realm
    this.code = code
    this.status = status
    this.message = skew === undefined ? message : `${message} (skew ${skew} s)`
    if (skew !== undefined) this.skew = skew
  }

  /** Names and values of the answer's headers; the original's client looks for the first challenge. */
  get headers() {
    const headers = [['content-type', 'text/plain; charset=utf-8'], ['cache-control', 'no-store']]
    if (this.status === 401 || this.status === 403) {
      // eslint-disable-next-line no-control-regex
      const realm = this.#realm.replace(/[\0-\x1f\x7f-\x9f]/g, '').replace(/["\\]/g, '\\$&')
      headers.push(['www-authenticate', `seamless realm="${realm}"`])
      // RFC 6750 section 3.1.
      const error = this.status === 403 ? 'insufficient_scope' : 'invalid_token'
      headers.push(['www-authenticate', `Bearer realm="${realm}", error="${error}"`])
    }
    return headers
  }

  toResponse() {
    const headers = new Headers()
    for (const [name, value] of this.headers) headers.append(name, value)
    return new Response(this.message + '\n', { status: this.status, headers })
  }
}

/** The outcomes of a verifier that are the same each time. */
export class Outcomes {
  constructor(realm) {
    this.realm = realm
    this.rejected = CODES.map((_, i) => this.#make(i + 1))
    this.open = Object.freeze({ ok: true, outcome: 'open', identity: null })
    this.anonymous = Object.freeze({ ok: true, outcome: 'anonymous', identity: null })
  }

  rejection(place, instance) {
    // A number that is no code is an instance gone wrong: nobody passes.
    if (place === NOT_YET_VALID) return this.#make(place, instance.skew())
    return this.rejected[place - 1] ?? this.rejected[KEYS_UNAVAILABLE - 1]
  }

  #make(place, skew) {
    const rejection = Object.freeze(new Rejection(this.realm, place, skew))
    return Object.freeze({ ok: false, outcome: 'rejection', rejection })
  }
}
