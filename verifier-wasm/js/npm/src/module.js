// What crosses the border to WebAssembly: bytes and numbers. ../../src/lib.rs is the other side.

/** The pieces of a configuration; the same list as in config.rs. */
export const FIELD = {
  realm: 0, audience: 1, scope: 2, maxAge: 3, leeway: 4, secret: 5, secretAudience: 6, secretScope: 7, issuer: 8,
  jwks: 9, fetched: 10, rules: 11, revocations: 12, seed: 13, done: 14
}

/** The outcomes that are no code. */
export const IDENTITY = 0
export const OPEN = 100
export const ANONYMOUS = 101

export const MAX_TOKEN = 8192
const INPUT = 65536
// The parts of a request that are looked at; nothing longer gets past the servers in front.
const MAX_METHOD = 64
const MAX_AUTHORITY = 1024
const MAX_PATH = 32768
const MAX_AUTHORIZATION = 16384
// The places in output.rs.
const [TEXT, BYTES, ASCII, FIRST, SECOND, FORMAT, PIECES, WORDS] = [0, 1, 2, 3, 5, 7, 8, 18]

const encoder = new TextEncoder()
// A byte order mark is a character of a name like any other.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const latin1 = globalThis.Buffer?.prototype?.latin1Slice

/** One instance of the module, which holds one verifier. What it throws is a trap: drop it. */
export class Instance {
  constructor(module) {
    const imports = {}
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      imports[from] ??= {}
      // Nothing that we call has need of JavaScript.
      imports[from][name] = () => { throw new Error(name) }
    }
    this.wasm = new WebAssembly.Instance(module, imports).exports
    this.look()
  }

  /** Memory that grew is another buffer. */
  look(length = INPUT) {
    const at = this.wasm.input(length) >>> 0
    const output = this.wasm.output() >>> 0
    const { buffer } = this.wasm.memory
    this.input = new Uint8Array(buffer, at, length)
    this.words = new Uint32Array(buffer, output, WORDS)
  }

  /** Hands over a piece of the configuration; what is wrong with it, or null. */
  set(field, value = '', number = 0) {
    const bytes = typeof value === 'string' ? encoder.encode(value) : value
    this.look(Math.max(bytes.length, INPUT))
    this.input.set(bytes)
    const status = this.wasm.set(field, bytes.length, number)
    const wrong = status === 0 ? null : this.text()
    const where = status === 2 ? ` (line ${this.words[FIRST]}, column ${this.words[SECOND]})` : ''
    this.look()
    return wrong === null ? null : wrong + where
  }

  /** Judges a token that is a string or bytes. */
  verify(token, now) {
    if (this.input.length === 0) this.look()
    let length
    if (typeof token === 'string') {
      length = encoder.encodeInto(token, this.input).written
    } else {
      this.input.set(token)
      length = token.length
    }
    return this.wasm.verify(length, now)
  }

  /** Judges the parts of a request. */
  check(view, now) {
    if (this.input.length === 0) this.look()
    let { path, authorization, count } = view
    const method = view.method.length > MAX_METHOD ? 0 : this.utf8(view.method, 0)
    let at = method
    const authority = this.utf8(view.authority.length > MAX_AUTHORITY ? ',' : view.authority, at)
    at += authority
    let target = -1
    if (path !== null) {
      if (path.length > MAX_PATH) path = ''
      target = path.length
      // What is no byte becomes one that is refused.
      this.latin1(path, at)
      at += target
    }
    if (authorization.length > MAX_AUTHORIZATION) {
      if (authorization.includes(',', MAX_AUTHORIZATION)) count = 2
      authorization = authorization.slice(0, MAX_AUTHORIZATION)
    }
    // What no bytes can have been is as unreadable as two headers.
    if (!this.latin1(authorization, at)) count = 2
    return this.wasm.check(method, authority, target, authorization.length, count, now)
  }

  /** The identity of the last verdict, as `verdict.js` wants it made: `make(format, issuedAt, expiresAt, pieces)`, the format by its number. */
  identity(make, token) {
    if (this.words.length === 0) this.look()
    const { words } = this
    const bytes = words[BYTES]
    const format = words[FORMAT]
    if (format === 0 && words[PIECES] >= bytes) {
      // A short name is copied from the token, which costs least; a part of a longer one would keep all of the token alive.
      const short = bytes <= 12 && words[ASCII] === 1 && typeof token === 'string'
      return make(format, this.long(FIRST), this.long(SECOND), short ? token.slice(0, bytes) : this.text())
    }
    const text = this.text()
    const pieces = []
    for (let place = PIECES, at = 0; place < WORDS; place++) pieces.push(text.slice(at, at += words[place]))
    return make(format, this.long(FIRST), this.long(SECOND), pieces[0], pieces)
  }

  /** How far ahead the last token was. */
  skew() {
    if (this.words.length === 0) this.look()
    return this.long(FIRST)
  }

  long(place) {
    return this.words[place] + this.words[place + 1] * 4294967296
  }

  text() {
    if (this.words.length === 0) this.look()
    const { words } = this
    const bytes = new Uint8Array(this.wasm.memory.buffer, words[TEXT], words[BYTES])
    // Node's own is the quickest; without it, a decoder costs more than it saves for a short text.
    if (words[ASCII] === 1) {
      if (latin1 !== undefined) return latin1.call(bytes, 0, bytes.length)
      if (bytes.length <= 48) return String.fromCharCode.apply(null, bytes)
    }
    return decoder.decode(bytes)
  }

  utf8(text, at) {
    return text === '' ? 0 : encoder.encodeInto(text, this.input.subarray(at)).written
  }

  /** Writes each character as the byte it stands for; whether each was one. */
  latin1(text, at) {
    if (text === '') return true
    const { written } = encoder.encodeInto(text, at === 0 ? this.input : this.input.subarray(at))
    // As long as the text: all ASCII, where both encodings are one.
    if (written === text.length) return true
    let fits = true
    for (let i = 0; i < text.length; i++) {
      const character = text.charCodeAt(i)
      if (character > 255) fits = false
      this.input[at + i] = character > 255 ? 255 : character
    }
    this.input.fill(0, at + text.length, at + written)
    return fits
  }
}
