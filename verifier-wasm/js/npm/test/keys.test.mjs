// Keys from a server: rotation, trouble, and who waits for whom.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeysUnavailableError, Verifier, bearer, code, key, mint, options, server, vectors } from './support.mjs'

const clock = () => Math.floor(Date.now() / 1000)
const close = (t, verifier) => {
  t.after(() => verifier.close?.())
  return verifier
}

test('keys are fetched once, confirmed by ETag, and replaced whole', async t => {
  const [a, b] = [key('a'), key('b')]
  const keys = await server(t, [a])
  const verifier = close(t, await Verifier.create(options(keys.url)))
  const now = clock()
  const token = mint(a, { exp: now + 9999 })
  assert.equal(code(await verifier.check(bearer(token))), 'identity')
  assert.equal(keys.seen.length, 1)
  // Past max-age: this request is judged by what is held, and the fetch goes on beside it.
  assert.equal(code(await verifier.check(bearer(token), { now: now + 301 })), 'identity')
  await until(() => keys.seen.length === 2)
  assert.equal(keys.seen[1].headers['if-none-match'], '"a"')
  keys.keys = [b]
  await until(() => verifier.stats.fetches === 2)
  await sleep(50)
  await verifier.check(bearer(token), { now: now + 700 })
  await until(() => keys.seen.length === 3)
  await sleep(50)
  assert.equal(code(await verifier.check(bearer(token), { now: now + 701 })), 'unknown_key')
  assert.equal(code(await verifier.check(bearer(mint(b)), { now: now + 701 })), 'expired')
})

test('a new key is waited for, once in a while', async t => {
  const [a, b, c] = [key('a'), key('b'), key('c')]
  const keys = await server(t, [a])
  const verifier = close(t, await Verifier.create(options(keys.url)))
  const now = clock() + 31
  keys.keys = [a, b]
  assert.equal(code(await verifier.check(bearer(mint(b, {}, now)), { now })), 'identity')
  assert.equal(keys.seen.length, 2)
  // Anybody can send a kid that nobody has: the issuer doesn't hear of it again.
  for (let i = 0; i < 20; i++) assert.equal(code(await verifier.check(bearer(mint(c, {}, now)), { now })), 'unknown_key')
  assert.equal(keys.seen.length, 2)
})

test('verify does not wait, and the next one is better off', async t => {
  const [a, b] = [key('a'), key('b')]
  const keys = await server(t, [a])
  const verifier = close(t, await Verifier.create(options(keys.url)))
  const now = clock() + 31
  keys.keys = [a, b]
  const token = mint(b, {}, now)
  assert.equal(code(verifier.verify(token, { now })), 'unknown_key')
  await until(() => code(verifier.verify(token, { now })) === 'identity')
})

test('a slow server holds nobody up for more than a second', async t => {
  const [a, b] = [key('a'), key('b')]
  const keys = await server(t, [a])
  const verifier = close(t, await Verifier.create(options(keys.url)))
  const now = clock() + 31
  keys.answer = () => {}
  const began = performance.now()
  const results = await Promise.all([1, 2, 3].map(() => verifier.check(bearer(mint(b, {}, now)), { now })))
  const took = performance.now() - began
  assert.deepEqual(results.map(code), ['unknown_key', 'unknown_key', 'unknown_key'])
  assert.ok(took > 900 && took < 1800, `${took} ms`)
  assert.equal(keys.seen.length, 2)
  // Who has a key that is held waits for nothing.
  const again = performance.now()
  assert.equal(code(await verifier.check(bearer(mint(a, {}, now)), { now })), 'identity')
  assert.ok(performance.now() - again < 100)
})

test('the old keys stay when the server is in trouble, with one warning', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  const warnings = []
  const verifier = close(t, await Verifier.create(options(keys.url, { onWarning: text => warnings.push(text) })))
  const now = clock()
  const token = mint(a, { exp: now + 99999 })
  const troubles = [
    (_, res) => res.writeHead(500).end(),
    (_, res) => res.writeHead(302, { location: keys.url }).end(),
    (_, res) => res.writeHead(200).end('not json'),
    (_, res) => res.writeHead(200).end(JSON.stringify({ keys: [{ ...a.jwk, d: 'AA' }] })),
    (_, res) => res.writeHead(200).end(' '.repeat(65537)),
    (_, res) => res.destroy()
  ]
  for (const trouble of troubles) {
    keys.answer = trouble
    await assert.rejects(verifier.refresh(), error => {
      assert.ok(error instanceof KeysUnavailableError)
      assert.ok(error.message.includes(keys.url))
      return true
    })
    assert.equal(code(await verifier.check(bearer(token))), 'identity')
  }
  assert.equal(warnings.length, 1, String(warnings))
  assert.match(warnings[0], /the old keys stay/)
  assert.equal(verifier.stats.fetchFailures, troubles.length)
  // Nobody has confirmed them for a day: then they count no more.
  assert.equal(code(await verifier.check(bearer(mint(a, {}, now + 86500)), { now: now + 86500 })), 'keys_unavailable')
  keys.answer = null
  await verifier.refresh()
  assert.equal(code(verifier.verify(token)), 'identity')
  assert.equal(keys.seen.filter(req => req.url !== '/jwks.json').length, 0)
})

test('keys that nobody confirmed while we slept are waited for', async t => {
  const [a, b] = [key('a'), key('b')]
  const keys = await server(t, [a])
  const verifier = close(t, await Verifier.create(options(keys.url)))
  const now = clock() + 3600
  // a was compromised meanwhile, and is gone.
  keys.keys = [b]
  assert.equal(code(await verifier.check(bearer(mint(a, {}, now)), { now })), 'unknown_key')
})

test('create rejects without keys, and allowStale starts without', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  keys.answer = (_, res) => res.writeHead(503).end()
  await assert.rejects(Verifier.create(options(keys.url)), { name: 'KeysUnavailableError', code: 'keys_unavailable', message: /status 503/ })
  const verifier = close(t, await Verifier.create(options(keys.url, { allowStale: true })))
  assert.equal(code(verifier.verify(mint(a))), 'keys_unavailable')
  keys.answer = null
  await until(() => code(verifier.verify(mint(a))) === 'identity', 4000)
})

test('a server that answers too late is no server', async t => {
  const keys = await server(t, [])
  keys.answer = (_, res) => res.writeHead(200).write('{')
  const began = performance.now()
  await assert.rejects(Verifier.create(options(keys.url, { timeout: 1 })), /no answer in time/)
  assert.ok(performance.now() - began < 2500)
})

test('lazy does nothing before the first request', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  const { crypto, setTimeout, Date, fetch } = globalThis
  const forbidden = () => { throw new Error('not in global scope') }
  let verifier
  try {
    globalThis.setTimeout = forbidden
    globalThis.fetch = forbidden
    globalThis.Date = class { static now = forbidden }
    Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: forbidden }, configurable: true })
    verifier = Verifier.lazy(options(keys.url))
  } finally {
    Object.assign(globalThis, { setTimeout, fetch, Date })
    Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true, writable: true })
  }
  assert.equal(keys.seen.length, 0)
  const results = await Promise.all([1, 2, 3].map(() => verifier.check(bearer(mint(a)))))
  assert.deepEqual(results.map(code), ['identity', 'identity', 'identity'])
  const byEnv = Verifier.lazy(env => options(env.URL))
  assert.equal(code(await byEnv.check(bearer(mint(a)), { env: { URL: keys.url } })), 'identity')
})

// What follows runs the entry of Workers, with what Workers have.

test('a cold isolate takes its keys from KV and asks nobody', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  const kv = namespace()
  const now = clock()
  const first = await worker(options(keys.url, { kv: 'KEYS' }))
  assert.equal(code(await first.check(bearer(mint(a)), { env: { KEYS: kv }, ctx: context() })), 'identity')
  assert.equal(keys.seen.length, 1)
  const second = await worker(options(keys.url, { kv: 'KEYS' }))
  assert.equal(code(await second.check(bearer(mint(a)), { env: { KEYS: kv } })), 'identity')
  assert.equal(keys.seen.length, 1)
  // Too old to begin with: the issuer is asked, and what is held there counts only where it doesn't answer.
  const third = await worker(options(keys.url, { kv }))
  assert.equal(code(await third.check(bearer(mint(a, {}, now + 7200)), { now: now + 7200 })), 'identity')
  assert.equal(keys.seen.length, 2)
  keys.answer = (_, res) => res.writeHead(500).end()
  const fourth = await worker(options(keys.url, { kv }))
  assert.equal(code(await fourth.check(bearer(mint(a, {}, now + 14400)), { now: now + 14400 })), 'identity')
  const fifth = await worker(options(keys.url, { kv }))
  const late = now + 7200 + 86401
  assert.equal(code(await fifth.check(bearer(mint(a, {}, late)), { now: late })), 'keys_unavailable')
  await assert.rejects((await worker(options(keys.url, { kv: 'KEYS' }))).check(bearer(mint(a)), { env: {} }), { key: 'kv' })
})

test('what is in KV is judged like an answer of the issuer\'s', async t => {
  const [a, evil] = [key('a'), key('evil')]
  const keys = await server(t, [a])
  const body = JSON.stringify({ keys: [evil.jwk] })
  for (const entry of [{ at: clock() + 9999, etag: '', maxAge: 300, body }, { at: 'x' }, 7, { at: clock(), etag: '', maxAge: 300, body: '{' }]) {
    const kv = namespace()
    kv.put(`seamless-jwks https://login.example/corp ${keys.url}`, JSON.stringify(entry))
    const verifier = await worker(options(keys.url, { kv }))
    const outcome = code(await verifier.check(bearer(mint(evil))))
    assert.ok(['unknown_key', 'keys_unavailable'].includes(outcome), outcome)
  }
  const broken = { get: () => Promise.reject(new Error('down')), put: () => Promise.reject(new Error('down')) }
  assert.equal(code(await (await worker(options(keys.url, { kv: broken }))).check(bearer(mint(a)))), 'identity')
})

test('the Cache API serves where there is no KV', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  const stored = new Map()
  globalThis.caches = { default: { match: async url => stored.get(url)?.clone(), put: async (url, response) => void stored.set(url, response) } }
  t.after(() => delete globalThis.caches)
  assert.equal(code(await (await worker(options(keys.url))).check(bearer(mint(a)))), 'identity')
  assert.equal(code(await (await worker(options(keys.url))).check(bearer(mint(a)))), 'identity')
  assert.equal(keys.seen.length, 1)
  assert.equal(code(await (await worker(options(keys.url, { cache: false }))).check(bearer(mint(a)))), 'identity')
  assert.equal(keys.seen.length, 2)
})

test('in Workers a refresh goes by waitUntil, and another request never waits for it', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  const verifier = await worker(options(keys.url, { cache: false }))
  const now = clock()
  const ctx = context()
  await verifier.check(bearer(mint(a)), { ctx })
  assert.equal(ctx.promises.length, 1)
  keys.answer = () => {}
  const later = mint(a, {}, now + 301)
  const began = performance.now()
  assert.equal(code(await verifier.check(bearer(later), { ctx, now: now + 301 })), 'identity')
  assert.equal(code(await verifier.check(bearer(later), { ctx, now: now + 302 })), 'identity')
  assert.ok(performance.now() - began < 200)
  assert.equal(ctx.promises.length, 2)
})

test('a cold isolate\'s second request does not depend on the first', async t => {
  const a = key('a')
  const keys = await server(t, [a])
  let first = true
  keys.answer = (req, res) => {
    // The first request's fetch never ends: its client went away.
    if (first) {
      first = false
      return
    }
    res.writeHead(200).end(JSON.stringify({ keys: [a.jwk] }))
  }
  const verifier = await worker(options(keys.url, { cache: false }))
  const stuck = verifier.check(bearer(mint(a)))
  await until(() => keys.seen.length === 1)
  assert.equal(code(await verifier.check(bearer(mint(a)))), 'identity')
  const began = performance.now()
  assert.equal(code(await stuck), 'identity')
  assert.ok(performance.now() - began < 500)
})

const sleep = ms => new Promise(done => {
  setTimeout(done, ms)
})

async function until(done, most = 3000) {
  for (let waited = 0; waited < most; waited += 20) {
    if (done()) return
    await sleep(20)
  }
  assert.fail('it did not come about')
}

function namespace() {
  const entries = new Map()
  return {
    get: async (name, type) => (entries.has(name) ? (type === 'json' ? JSON.parse(entries.get(name)) : entries.get(name)) : null),
    put: async (name, value) => void entries.set(name, value)
  }
}

function context() {
  const promises = []
  return { promises, waitUntil: promise => promises.push(promise) }
}

test('in workerd a header is UTF-8 already, and its bytes are what was signed', async () => {
  const { verifier: made, authorization } = vectors('headers')
  const { authorization: [value], subject } = authorization.find(one => one.name === 'subject-utf8')
  const lazy = await worker({ realm: made.realm, secrets: made.secrets, maxAge: made.max_age })
  const asWorkerd = Buffer.from(value, 'latin1').toString('utf8')
  const request = text => ({ method: 'GET', url: 'https://api.example/', headers: { get: name => name === 'authorization' ? text : null } })
  const result = await lazy.check(request(asWorkerd), { now: made.now })
  assert.equal(result.identity?.subject, subject)
  assert.equal(result.identity.headers['x-seamless-user'], encodeURIComponent(subject))
  // A byte that is no UTF-8 comes as U+FFFD, which nobody signed.
  const lost = await lazy.check(request(asWorkerd.replace('ä', '\ufffd')), { now: made.now })
  assert.equal(lost.rejection.code, 'bad_signature')
})

let fresh = 0
/** A lazy verifier of a new isolate: the module for Workers, with its import made by hand. */
async function worker(settings) {
  const { readFileSync, writeFileSync, mkdtempSync, rmSync } = await import('node:fs')
  const { join } = await import('node:path')
  const { tmpdir } = await import('node:os')
  const { pathToFileURL } = await import('node:url')
  const { PACKAGE } = await import('./support.mjs')
  const folder = mkdtempSync(join(tmpdir(), 'seamless-worker-'))
  const wasm = join(PACKAGE, 'dist/verifier.wasm')
  writeFileSync(join(folder, 'verifier.wasm.mjs'), `import { readFileSync } from 'node:fs'\nexport default new WebAssembly.Module(readFileSync(${JSON.stringify(wasm)}))\n`)
  const script = readFileSync(join(PACKAGE, 'dist/workerd.js'), 'utf8').replace('./verifier.wasm', './verifier.wasm.mjs')
  writeFileSync(join(folder, 'worker.mjs'), script)
  const { Verifier } = await import(`${pathToFileURL(join(folder, 'worker.mjs'))}?${fresh++}`)
  rmSync(folder, { recursive: true })
  return Verifier.lazy(settings)
}
