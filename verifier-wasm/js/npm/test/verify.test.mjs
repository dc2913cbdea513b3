// Verdicts on tokens and requests: their shapes, and what hostile ones do.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AUDIENCE, ISSUED, ISSUER, SECRET, TOKEN, Verifier, bearer, code, dist, key, mint, vectors } from './support.mjs'

const made = (more = {}) => Verifier.createSync({ realm: 'corp', secrets: [SECRET], ...more })
const now = ISSUED + 10

test('an identity has all that the token says', () => {
  const result = made().verify(TOKEN, { now })
  assert.equal(result.ok, true)
  assert.equal(result.outcome, 'identity')
  assert.deepEqual({ ...result.identity }, {
    format: 'seamless', subject: 'username', issuedAt: ISSUED, expiresAt: ISSUED + 60, audiences: [], scopes: [], groups: [], amr: []
  })
  assert.deepEqual(result.identity.headers, { 'x-seamless-user': 'username', 'x-seamless-scope': '', 'x-seamless-groups': '' })
  const k = key('k')
  const verifier = Verifier.createSync({ realm: 'corp', jwks: { keys: [k.jwk] }, issuer: ISSUER, audience: AUDIENCE })
  const claims = { scope: 'read write', groups: ['ops', 'dev'], amr: ['hwk'], ssh_fp: 'SHA256:x', aud: [AUDIENCE, 'b'], jti: 'j' }
  const { identity } = verifier.verify(mint(k, claims, now), { now })
  assert.deepEqual({ ...identity }, {
    format: 'jwt', subject: 'ada', issuedAt: now, expiresAt: now + 300, issuer: ISSUER, clientId: 'ssh', jti: 'j', sshFp: 'SHA256:x',
    kid: 'k', audiences: [AUDIENCE, 'b'], scopes: ['read', 'write'], groups: ['ops', 'dev'], amr: ['hwk']
  })
})

test('a token of crtauth has the audience and scopes that its secret was bound to', () => {
  const token = 'AXTOZVPw_s5lU_E8pHRlc3TEIAjrEiqZk-oV6Wx0SGX0xj9WHFtS11b8SGjCDkf2Ul0H'
  const secret = { value: 'server_secret', purpose: 'chap', audience: 'https://a', scopes: ['read'] }
  const verifier = Verifier.createSync({ realm: 'corp', secrets: [secret], allowShortSecrets: true })
  const { identity } = verifier.verify(token, { now: 1700000000 })
  assert.deepEqual({ ...identity }, {
    format: 'chap', subject: 'test', issuedAt: 1699999998, expiresAt: 1700000060, audiences: ['https://a'], scopes: ['read'], groups: [],
    amr: []
  })
  const request = { method: 'GET', url: '/', rawHeaders: ['Authorization', `chap:${token}`], headers: {} }
  assert.equal(verifier.verifyRequest(request, { now: 1700000000 }).identity.subject, 'test')
  assert.equal(verifier.verify(TOKEN, { now }).rejection.code, 'malformed')
  assert.equal(made().verify(token, { now: 1700000000 }).rejection.code, 'unsupported_algorithm')
})

test('a rejection is an answer in HTTP', async () => {
  const result = made().verify(TOKEN, { now: ISSUED + 61 })
  assert.equal(result.ok, false)
  assert.equal(result.outcome, 'rejection')
  assert.equal(result.rejection.code, 'expired')
  const response = result.rejection.toResponse()
  assert.equal(response.status, 401)
  assert.equal(await response.text(), 'token expired\n')
  assert.equal(response.headers.get('www-authenticate'), 'seamless realm="corp", Bearer realm="corp", error="invalid_token"')
  assert.equal(response.headers.get('cache-control'), 'no-store')
  assert.equal(response.headers.get('content-type'), 'text/plain; charset=utf-8')
  const early = made().verify(TOKEN, { now: ISSUED - 31 }).rejection
  assert.deepEqual([early.code, early.skew, early.message], ['not_yet_valid', 31, 'token not yet valid (skew 31 s)'])
  assert.equal('skew' in result.rejection, false)
})

test('the codes, their answers and challenges are those of the one list', () => {
  const { codes, challenges } = vectors('headers')
  const k = key('k')
  const find = {
    missing_authorization: () => made().verifyRequest({ method: 'GET', path: '/', headers: {} }),
    bad_authorization: () => made().verifyRequest({ method: 'GET', path: '/', headers: { authorization: 'Basic x' } }),
    too_large: () => made().verify('x'.repeat(8193)),
    expired: () => made().verify(TOKEN, { now: ISSUED + 61 }),
    missing_scope: () => made({ scope: 'admin' }).verify(TOKEN, { now }),
    bad_path: () => made({ rules: { rules: [] } }).verifyRequest({ method: 'GET', path: '//', headers: {} }),
    keys_unavailable: () => Verifier.createSync({
      realm: 'corp', jwksUrl: 'https://login.invalid/x', issuer: ISSUER, audience: AUDIENCE, allowStale: true,
      fetch: () => Promise.reject(new Error('no'))
    }).verify(mint(k))
  }
  for (const [name, make] of Object.entries(find)) {
    const { rejection } = make()
    const wanted = codes.find(c => c.code === name)
    assert.deepEqual([rejection.code, rejection.status, rejection.message], [name, wanted.status, wanted.body])
    const challenge = challenges.find(c => c.code === name)?.www_authenticate.join(', ')
    if (challenge) assert.equal(rejection.toResponse().headers.get('www-authenticate'), challenge)
  }
})

test('hostile tokens get verdicts and throw nothing', () => {
  const verifier = made()
  const hostile = [
    '', '.', '..', '\0', '\ud800', '\udfff.ZVPxAA.AA', 'a'.repeat(8192), 'é'.repeat(8192), '💥'.repeat(4096), 'eyJ..', 'eyJ.eyJ.eyJ',
    new Uint8Array(0), new Uint8Array(8192).fill(255), new Uint8Array(100000), '\ufeff' + TOKEN, TOKEN + '\n', ' ' + TOKEN
  ]
  for (const token of hostile) assert.equal(verifier.verify(token, { now }).ok, false)
  for (const token of [undefined, null, 7, {}, [], true, Symbol('x'), () => TOKEN, new Date(), 10n]) {
    assert.equal(code(verifier.verify(token, { now })), 'malformed')
  }
  assert.equal(code(verifier.verify('x'.repeat(1e6))), 'too_large')
  assert.equal(code(verifier.verify(new Uint8Array(1e6))), 'too_large')
  assert.equal(verifier.stats.traps, 0)
  assert.equal(verifier.verify(TOKEN, { now }).ok, true)
  assert.equal(verifier.verify(new TextEncoder().encode(TOKEN), { now }).ok, true)
})

test('a byte order mark is part of a name', () => {
  const k = key('k')
  const verifier = Verifier.createSync({ realm: 'corp', jwks: { keys: [k.jwk] }, issuer: ISSUER, audience: AUDIENCE })
  assert.equal(verifier.verify(mint(k, { sub: '\ufeffada' })).identity.subject, '\ufeffada')
  const { headers } = verifier.verify(mint(k, { sub: 'späße, 100%' })).identity
  assert.equal(headers['x-seamless-user'], 'sp%C3%A4%C3%9Fe%2C%20100%25')
})

test('a wrong time is the program\'s mistake', () => {
  for (const wrong of [NaN, -1, '1700000000', Infinity * 0, null, {}]) assert.throws(() => made().verify(TOKEN, { now: wrong }), TypeError)
})

test('nothing of a token stays in memory', () => {
  const instances = []
  const { Instance } = WebAssembly
  WebAssembly.Instance = function (...args) {
    const made = new Instance(...args)
    instances.push(made)
    return made
  }
  try {
    const k = key('k')
    const verifier = Verifier.createSync({ realm: 'corp', secrets: [SECRET] })
    verifier.verify(TOKEN, { now })
    verifier.verifyRequest(bearer(TOKEN), { now })
    verifier.verify('late' + mint(k), { now })
    const memory = Buffer.from(instances[0].exports.memory.buffer)
    for (const part of [TOKEN, SECRET, '2i9lSqgqLifD_3VwrbNHMZ7TFAE', 'eyJhbGciOi']) assert.equal(memory.includes(part), false, part)
  } finally {
    WebAssembly.Instance = Instance
  }
})

test('two Authorization headers are refused, wherever they are told apart', () => {
  const verifier = made()
  const value = `seamless ${TOKEN}`
  const good = [
    { rawHeaders: ['authorization', value] },
    { rawHeaders: ['AUTHORIZATION', value], headers: {} },
    { method: 'GET', path: '/', headers: { Authorization: value } },
    { method: 'GET', path: '/', headers: { authorization: [value] } },
    { method: 'GET', path: '/', headers: [['authorization', value]] },
    { method: 'GET', path: '/', headers: new Map([['authorization', value]]) },
    new Request('https://x/', { headers: { authorization: value } })
  ]
  for (const request of good) assert.equal(code(verifier.verifyRequest(request, { now })), 'identity')
  const bad = [
    { rawHeaders: ['authorization', value, 'Authorization', value], headers: { authorization: value } },
    { rawHeaders: ['authorization', `${value}, ${value}`] },
    { method: 'GET', path: '/', headers: { authorization: [value, 'x'] } },
    { method: 'GET', path: '/', headers: { authorization: value, Authorization: value } },
    { method: 'GET', path: '/', headers: [['authorization', value], ['Authorization', value]] },
    { method: 'GET', path: '/', headers: { authorization: value + '\u0100' } },
    { method: 'GET', path: '/', headers: { authorization: value.padEnd(20000, 'x') + ',' } },
    { method: 'GET', path: '/', headers: { authorization: 7 } },
    new Request('https://x/', { headers: [['authorization', value], ['authorization', value]] })
  ]
  for (const request of bad) assert.equal(code(verifier.verifyRequest(request, { now })), 'bad_authorization')
  assert.equal(code(verifier.verifyRequest({ method: 'GET', path: '/', headers: { authorization: value.padEnd(20000, 'x') } }, { now })), 'too_large')
})

test('rules judge the path that is forwarded', () => {
  const rules = { rules: [{ path_prefix: '/open', need: 'open' }, { path_prefix: '/maybe', need: 'optional' }, { host: 'free.example', need: 'open' }] }
  const verifier = made({ rules })
  const judge = request => code(verifier.verifyRequest(request, { now }))
  const node = (url, more = []) => judge({ method: 'GET', url, rawHeaders: ['host', 'x.example', ...more] })
  assert.equal(node('/open/x?y'), 'open')
  assert.equal(node('/maybe'), 'anonymous')
  assert.equal(node('/maybe', ['authorization', 'seamless x']), 'malformed')
  assert.equal(node('/'), 'missing_authorization')
  for (const url of ['/open/../admin', '/open/%2e%2e/admin', '//open', '/open;x', '/open\\..', 'http://x.example/open', '*', '', '/open\u0100', '/open/' + 'x'.repeat(40000)]) {
    assert.equal(node(url), 'bad_path', url)
  }
  // A second host, and an Express app below a mount point.
  assert.equal(judge({ method: 'GET', url: '/', rawHeaders: ['Host', 'free.example'] }), 'open')
  assert.equal(judge({ method: 'GET', url: '/', rawHeaders: ['Host', 'free.example', 'host', 'x.example'] }), 'bad_path')
  assert.equal(judge({ method: 'GET', url: '/open', baseUrl: '/admin', rawHeaders: ['host', 'x.example'] }), 'missing_authorization')
  assert.equal(judge(new Request('https://x.example/open/../admin')), 'missing_authorization')
  assert.equal(judge(new Request('https://free.example:8443/x#y')), 'open')
  assert.equal(judge({ method: 'CONNECT', path: null, authority: 'free.example', headers: {} }), 'bad_path')
  assert.equal(verifier.stats.passed, 4)
})

test('what goes on has our identity headers and no other', () => {
  const verifier = made()
  const headers = { 'x-seamless-user': 'root', 'X_Seamless_Groups': 'wheel', 'x-seamless-anything': '1', accept: 'a', authorization: `seamless ${TOKEN}` }
  const request = new Request('https://x/', { method: 'POST', body: 'body', headers, duplex: 'half' })
  const forwarded = verifier.forward(request, verifier.verifyRequest(request, { now }))
  assert.deepEqual([...forwarded.headers].filter(([name]) => name !== 'content-type'), [
    ['accept', 'a'], ['authorization', `seamless ${TOKEN}`], ['x-seamless-groups', ''], ['x-seamless-scope', ''], ['x-seamless-user', 'username']
  ])
  const open = verifier.forward(new Request('https://x/', { headers }), { ok: true, outcome: 'open', identity: null })
  assert.deepEqual([...open.headers.keys()], ['accept', 'authorization'])
  assert.throws(() => verifier.forward(request, verifier.verify('x')), TypeError)
  assert.throws(() => verifier.forward(request, undefined), TypeError)
})

test('a remembered token is judged anew', () => {
  const k = key('k')
  const verifier = Verifier.createSync({ realm: 'corp', jwks: { keys: [k.jwk] }, issuer: ISSUER, audience: AUDIENCE })
  const token = mint(k, { jti: 'j' }, now)
  assert.equal(verifier.verify(token, { now }).ok, true)
  assert.equal(verifier.stats.remembered, 1)
  assert.equal(verifier.verify(token, { now }).ok, true)
  assert.equal(code(verifier.verify(token, { now: now + 305 })), 'expired')
  assert.equal(code(verifier.verify(token.slice(0, -4) + 'AAAA', { now })), 'bad_signature')
  verifier.setRevocations([{ jti: 'j' }])
  assert.equal(code(verifier.verify(token, { now })), 'revoked')
  verifier.setRevocations('[]')
  assert.equal(code(verifier.verify(token, { now })), 'identity')
  assert.throws(() => verifier.setRevocations([{ jit: 'j' }]), { name: 'ConfigurationError', key: 'revocations' })
  assert.throws(() => verifier.setRevocations(undefined), { name: 'ConfigurationError' })
})

test('a closed verifier judges nothing', () => {
  const verifier = made()
  verifier.close()
  for (const use of [() => verifier.verify(TOKEN), () => verifier.verifyRequest(bearer(TOKEN)), () => verifier.stats]) assert.throws(use, /closed/)
  verifier.close()
})

test('a trap is a 503, and the next request is judged by another instance', { skip: !existsSync(process.env.SEAMLESS_TRAP_WASM ?? '') && 'no SEAMLESS_TRAP_WASM' }, async () => {
  const module = new WebAssembly.Module(readFileSync(process.env.SEAMLESS_TRAP_WASM))
  const k = key('k')
  const verifier = Verifier.createSync({
    realm: 'corp', secrets: [SECRET], jwks: { keys: [k.jwk] }, issuer: ISSUER, audience: AUDIENCE, revocations: [{ jti: 'gone' }]
  }, module)
  const trap = verifier.verify('trap')
  assert.deepEqual([trap.ok, trap.rejection.code, trap.rejection.status], [false, 'keys_unavailable', 503])
  assert.equal(code(verifier.verifyRequest(bearer('trap'))), 'keys_unavailable')
  assert.equal(verifier.stats.traps, 2)
  assert.equal(code(verifier.verify(mint(k))), 'identity')
  assert.equal(code(verifier.verify(mint(k, { jti: 'gone' }))), 'revoked')
  verifier.setRevocations([{ jti: 'later' }])
  verifier.verify('trap')
  assert.equal(code(verifier.verify(mint(k, { jti: 'later' }))), 'revoked')
  assert.equal(code(verifier.verify(mint(k, { jti: 'gone' }))), 'identity')
})

test('the slim build does the format seamless and nothing else', async () => {
  const { Verifier: Slim } = await dist('hmac-node.js')
  const verifier = Slim.createSync({ realm: 'corp', secrets: ['another-secret-of-ours', SECRET] })
  assert.equal(verifier.verify(TOKEN, { now }).identity.subject, 'username')
  assert.equal(code(verifier.verify(mint(key('k')))), 'unsupported_algorithm')
  assert.equal(code(verifier.verifyRequest(bearer(TOKEN), { now })), 'identity')
  assert.equal(code(verifier.verifyRequest({ rawHeaders: [] }, { now })), 'missing_authorization')
  assert.equal(code(await verifier.check({ rawHeaders: ['authorization', 'x', 'authorization', 'y'] }, { now })), 'bad_authorization')
  assert.throws(() => Slim.createSync({ realm: 'corp', secrets: [SECRET], jwks: {} }), { name: 'ConfigurationError', key: 'jwks' })
  assert.throws(() => Slim.createSync({ realm: 'corp', secrets: Array(9).fill(SECRET) }), { name: 'ConfigurationError' })
  const small = (more) => Slim.createSync({ realm: 'corp', secrets: [SECRET], ...more })
  assert.equal(code(small({ maxAge: 9 }).verify(TOKEN, { now })), 'expired')
  assert.equal(code(small({ leeway: 0 }).verify(TOKEN, { now: ISSUED - 1 })), 'not_yet_valid')
  assert.equal(code(small().verify(TOKEN, { now: ISSUED - 5 })), 'identity')
})
