// One instance for a long time: its memory does not grow, and nothing that comes in traps it.
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

// Every memory of every instance from here on, the package's among them.
const memories = []
const { Instance } = WebAssembly
WebAssembly.Instance = class extends Instance {
  constructor(...args) {
    super(...args)
    if (this.exports.memory) memories.push(this.exports.memory)
  }
}
const { Verifier } = await import('@seamless-auth/verifier')

const now = 1_800_000_000
const secret = '0123456789abcdef0123456789abcdef'
const encode = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function pages() {
  return memories.reduce((sum, memory) => sum + memory.buffer.byteLength / 65_536, 0)
}

test('10 million seamless tokens: the memory stays as it is', () => {
  const verifier = Verifier.createSync({ realm: 'corp', secrets: [secret] })
  const tokens = Array.from({ length: 1000 }, (_, i) => {
    const signed = `user-${i}.${Buffer.from(now.toString(16), 'hex').toString('base64url')}`
    return `${signed}.${createHmac('sha1', secret).update(signed).digest('base64url')}`
  })
  for (const token of tokens) assert.ok(verifier.verify(token, { now }).ok)
  const before = pages()
  let good = 0
  for (let i = 0; i < 10_000_000; i++) good += verifier.verify(tokens[i % 1000], { now }).ok
  assert.equal(good, 10_000_000)
  assert.equal(pages(), before)
  assert.equal(verifier.stats.traps, 0)
  verifier.close()
})

test('100 000 EdDSA tokens, none seen before: the memory stays as it is', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA', use: 'sig' }
  const issuer = 'https://login.example/corp'
  const audience = 'https://api.example'
  const verifier = Verifier.createSync({ realm: 'corp', jwks: { keys: [jwk] }, issuer, audience })
  const header = encode({ alg: 'EdDSA', typ: 'at+jwt', kid: 'k' })
  // More than are remembered, in turn: by the time that one comes again, it has been forgotten.
  const tokens = Array.from({ length: 2000 }, (_, i) => {
    const claims = { iss: issuer, sub: `user-${i}`, aud: audience, client_id: 'ssh', iat: now, exp: now + 60, jti: `${i}` }
    const signed = `${header}.${encode(claims)}`
    return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
  })
  for (const token of tokens) assert.ok(verifier.verify(token, { now }).ok)
  const before = pages()
  let good = 0
  for (let i = 0; i < 100_000; i++) good += verifier.verify(tokens[i % 2000], { now }).ok
  assert.equal(good, 100_000)
  assert.equal(pages(), before)
  assert.ok(verifier.stats.remembered <= 256)
  verifier.close()
})

test('what fuzzing found, and worse, never traps', () => {
  const corpus = join(process.env.SEAMLESS_ROOT, 'fuzz/corpus')
  const inputs = readdirSync(corpus, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => readFileSync(join(entry.parentPath ?? entry.path, entry.name)))
  assert.ok(inputs.length > 100, `${inputs.length} inputs`)
  const { jwks } = JSON.parse(readFileSync(join(process.env.SEAMLESS_PROJECT, 'vectors.json'), 'utf8')).jwt
  const rules = { rules: [{ path_prefix: '/open', need: 'open' }, { path_prefix: '/maybe', need: 'optional' }] }
  const options = { realm: 'corp', secrets: [secret], jwks, issuer: 'https://login.example/corp', audience: 'a', rules }
  const verifier = Verifier.createSync(options)
  const strings = [
    '', '.', '..', '...', '\ud800', 'eyJ\udc00..', '\0', 'a'.repeat(8192), 'a'.repeat(8193), '.'.repeat(9000),
    `eyJ${'A'.repeat(8000)}.${'B'.repeat(100)}.`, '\uffff.\uffff.\uffff', 'é'.repeat(5000),
  ]
  const things = [undefined, null, 0, NaN, {}, [], () => {}, Symbol('x'), 10n, new Uint8Array(0), new Uint8Array(100_000)]
  for (const input of [...inputs, ...inputs.map(one => one.toString('latin1')), ...inputs.map(one => one.toString('utf8')), ...strings]) {
    assert.equal(verifier.verify(input, { now }).ok, false)
    const text = String(input)
    for (const path of [text, `/${text}`, '/open', null]) {
      const headers = [['authorization', `Bearer ${text}`], ['host', text]]
      const outcome = verifier.verifyRequest({ method: text, path, headers }, { now })
      assert.ok(outcome.ok === false || outcome.outcome === 'open' || outcome.outcome === 'anonymous')
    }
    try {
      Verifier.createSync({ ...options, rules: text }).close()
    } catch (error) {
      assert.equal(error.name, 'ConfigurationError', text)
    }
    try {
      Verifier.createSync({ ...options, jwks: text }).close()
    } catch (error) {
      assert.equal(error.name, 'ConfigurationError', text)
    }
  }
  for (const thing of things) assert.equal(verifier.verify(thing, { now }).ok, false)
  // A time that is none is the caller's mistake, not the token's.
  for (const time of [0, -1, NaN, Infinity, -Infinity, 2 ** 53, 1e300]) {
    try {
      assert.equal(verifier.verify('ada.a0nR9g.-P3LGp80wmzGcAl7qRudOhAiqkY', { now: time }).ok, false)
    } catch (error) {
      assert.ok(error instanceof TypeError, String(time))
    }
  }
  assert.equal(verifier.stats.traps, 0)
})
