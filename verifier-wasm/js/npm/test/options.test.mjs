// A wrong configuration is refused when it is made, with the name of its key.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AUDIENCE, ConfigurationError, ISSUER, SECRET, Verifier, dist, key } from './support.mjs'

const jwks = { keys: [key('k').jwk] }
const secrets = [SECRET]
const good = { realm: 'corp', jwks, issuer: ISSUER, audience: AUDIENCE }
const url = { realm: 'corp', jwksUrl: 'https://login.example/jwks.json', issuer: ISSUER, audience: AUDIENCE }

const WRONG = [
  [undefined, 'options', 'wrong_type'], [null, 'options', 'wrong_type'], [[], 'options', 'wrong_type'], ['x', 'options', 'wrong_type'],
  [{ secrets }, 'realm', 'missing'], [{ secrets, realm: '' }, 'realm', 'wrong_type'], [{ secrets, realm: 'a\nb' }, 'realm', 'refused'],
  [{ realm: 'corp' }, 'jwksUrl', 'missing'], [{ realm: 'corp', secrets: [] }, 'jwksUrl', 'missing'],
  [{ ...good, audiance: 'x' }, 'audiance', 'unknown_option'],
  [{ ...good, issuer: undefined }, 'issuer', 'missing'], [{ ...good, audience: undefined }, 'audience', 'missing'],
  [{ ...good, audience: [] }, 'audience', 'missing'], [{ ...good, audience: [''] }, 'audience', 'wrong_type'],
  [{ ...good, audience: '' }, 'audience', 'wrong_type'], [{ ...good, issuer: 7 }, 'issuer', 'wrong_type'],
  [{ ...good, scope: [1] }, 'scope', 'wrong_type'],
  [{ ...good, jwks: { keys: [{ kty: 'oct', k: 'AA' }] } }, 'jwks', 'refused'], [{ ...good, jwks: '{' }, 'jwks', 'refused'],
  [{ ...good, jwks: 7 }, 'jwks', 'wrong_type'], [{ ...good, jwks: { keys: [jwks.keys[0], jwks.keys[0]] } }, 'jwks', 'refused'],
  [{ ...good, jwksUrl: url.jwksUrl }, 'jwksUrl', 'conflict'], [{ ...good, kv: 'KEYS', secrets, jwks: undefined }, 'issuer', 'conflict'],
  [{ ...good, leeway: 61 }, 'leeway', 'out_of_range'], [{ ...good, leeway: -1 }, 'leeway', 'out_of_range'],
  [{ ...good, leeway: 1.5 }, 'leeway', 'out_of_range'], [{ ...good, leeway: '5' }, 'leeway', 'wrong_type'],
  [{ realm: 'corp', secrets, maxAge: 86401 }, 'maxAge', 'out_of_range'], [{ realm: 'corp', secrets, maxAge: 0 }, 'maxAge', 'out_of_range'],
  [{ realm: 'corp', secrets, maxAge: NaN }, 'maxAge', 'out_of_range'],
  [{ realm: 'corp', secrets: 'x' }, 'secrets', 'wrong_type'], [{ realm: 'corp', secrets: [undefined] }, 'secrets[0]', 'wrong_type'],
  [{ realm: 'corp', secrets: [SECRET, 'fifteen-bytes!!'] }, 'secrets[1]', 'out_of_range'],
  [{ realm: 'corp', secrets: [{ value: undefined }] }, 'secrets[0].value', 'wrong_type'],
  [{ realm: 'corp', secrets: [{ value: SECRET, scope: 'x' }] }, 'secrets[0].scope', 'unknown_option'],
  [{ realm: 'corp', secrets: [{ value: SECRET, digest: 'md5' }] }, 'secrets[0].digest', 'out_of_range'],
  [{ realm: 'corp', secrets: [{ value: SECRET, purpose: 'x' }] }, 'secrets[0].purpose', 'out_of_range'],
  [{ realm: 'corp', secrets: [{ value: SECRET, purpose: 'chap', digest: 'sha1' }] }, 'secrets[0].digest', 'conflict'],
  [{ realm: 'corp', secrets, digest: 'md5' }, 'digest', 'out_of_range'], [{ realm: 'corp', secrets, digest: 'constructor' }, 'digest', 'out_of_range'],
  [{ ...good, digest: 'sha1' }, 'digest', 'unknown_option'],
  [{ ...good, rules: { rules: [{ need: 'maybe' }] } }, 'rules', 'refused'], [{ ...good, rules: 7 }, 'rules', 'wrong_type'],
  [{ ...good, revocations: [{}] }, 'revocations', 'refused'], [{ ...good, onWarning: 'x' }, 'onWarning', 'wrong_type'],
  [{ ...url, jwksUrl: 'http://login.example/jwks.json' }, 'jwksUrl', 'out_of_range'],
  [{ ...url, jwksUrl: 'http://127.0.0.1.evil.example/jwks.json' }, 'jwksUrl', 'out_of_range'],
  [{ ...url, jwksUrl: 'file:///etc/passwd' }, 'jwksUrl', 'out_of_range'], [{ ...url, jwksUrl: '/jwks.json' }, 'jwksUrl', 'wrong_type'],
  [{ ...url, jwksUrl: 'https://a:b@login.example/' }, 'jwksUrl', 'out_of_range'], [{ ...url, kv: 7 }, 'kv', 'wrong_type'],
  [{ ...url, timeout: 31 }, 'timeout', 'out_of_range'], [{ ...url, allowStale: 'yes' }, 'allowStale', 'wrong_type'],
  [{ ...url, fetch: 'x' }, 'fetch', 'wrong_type'], [{ ...url, cache: 1 }, 'cache', 'wrong_type'],
  [url, 'jwksUrl', 'conflict']
]

test('each wrong option is named', () => {
  for (const [options, name, code] of WRONG) {
    assert.throws(() => Verifier.createSync(options), error => {
      assert.ok(error instanceof ConfigurationError, String(error))
      assert.deepEqual([error.key, error.code], [name, code], error.message)
      assert.ok(error.message.startsWith(`${name}: `) && error.message.length > name.length + 5)
      assert.equal(error.message.includes(SECRET), false)
      return true
    }, JSON.stringify(options))
  }
})

test('create rejects, and lazy throws where it stands', async () => {
  await assert.rejects(Verifier.create({ realm: 'corp' }), ConfigurationError)
  assert.throws(() => Verifier.lazy({ realm: 'corp' }), ConfigurationError)
  const late = Verifier.lazy(() => ({ realm: 'corp' }))
  await assert.rejects(late.check(new Request('https://x/')), ConfigurationError)
  assert.throws(() => new Verifier(), TypeError)
})

test('errors of rules say where', () => {
  const rules = '{"rules": [\n {"need": "maybe"}]}'
  assert.throws(() => Verifier.createSync({ ...good, rules }), /rules: need is open, optional or required \(line 2, column 18\)/)
})

test('a shared secret is refused in a browser', async () => {
  const { Verifier } = await dist('inline.js')
  const { process, navigator } = globalThis
  try {
    Object.defineProperty(globalThis, 'process', { value: undefined, configurable: true })
    globalThis.document = {}
    assert.throws(() => Verifier.createSync({ realm: 'corp', secrets }), { code: 'secret_in_browser', key: 'secrets' })
    assert.equal(Verifier.createSync(good).verify('x').ok, false)
    delete globalThis.document
    // A worker of a page, and workerd, which has the same class.
    globalThis.WorkerGlobalScope = function () {}
    Object.setPrototypeOf(globalThis.WorkerGlobalScope.prototype, Object.getPrototypeOf(globalThis))
    Object.defineProperty(globalThis.WorkerGlobalScope, Symbol.hasInstance, { value: () => true })
    assert.throws(() => Verifier.createSync({ realm: 'corp', secrets }), { code: 'secret_in_browser' })
    Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Cloudflare-Workers' }, configurable: true })
    assert.equal(Verifier.createSync({ realm: 'corp', secrets }).verify('x').ok, false)
  } finally {
    delete globalThis.document
    delete globalThis.WorkerGlobalScope
    Object.defineProperty(globalThis, 'process', { value: process, configurable: true, writable: true })
    Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true })
  }
})

test('a verifier does not print what it holds', async () => {
  const { inspect } = await import('node:util')
  const text = inspect(Verifier.createSync({ realm: 'corp', secrets }), { depth: 9, showHidden: true })
  assert.equal(text.includes(SECRET), false)
})
