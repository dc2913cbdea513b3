// Middleware with the real Hono and Express, node:http and fetch handlers; and the command.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { AUDIENCE, ISSUED, ISSUER, PACKAGE, SECRET, TOKEN, Verifier, dist, key, mint, options, peer, server } from './support.mjs'

const k = key('k')
const rules = { rules: [{ path_prefix: '/open', need: 'open' }] }
const verifier = Verifier.createSync({ realm: 'corp', jwks: { keys: [k.jwk] }, issuer: ISSUER, audience: AUDIENCE, rules })
const spoofed = [['X-Seamless-User', 'root'], ['x_seamless_user', 'root'], ['X-Seamless-Groups', 'wheel']]

/** One request over a socket, with headers as they are; `{ status, headers, body }`. */
function ask(port, path, headers) {
  return new Promise((done, failed) => {
    const flat = headers.flat()
    request({ port, path, host: '127.0.0.1', headers: ['Host', 'x', ...flat] }, res => {
      let body = ''
      res.on('data', part => { body += part })
      res.on('end', () => done({ status: res.statusCode, headers: res.headers, body }))
    }).on('error', failed).end()
  })
}

async function listen(t, handler) {
  const http = createServer(handler)
  await new Promise(done => {
    http.listen(0, '127.0.0.1', done)
  })
  t.after(() => {
    http.closeAllConnections()
    http.close()
  })
  return http.address().port
}

const seen = req => JSON.stringify({
  who: req.identity?.subject ?? null,
  names: Object.keys(req.headers).filter(name => /seamless/.test(name)).sort(),
  user: req.headers['x-seamless-user'] ?? null,
  raw: req.rawHeaders.filter((name, i) => i % 2 === 0 && /seamless/i.test(name)).length,
  distinct: Object.keys(req.headersDistinct).filter(name => /_seamless/.test(name)).length
})

async function both(t, port) {
  const token = mint(k)
  const good = await ask(port, '/', [['Authorization', `Bearer ${token}`], ...spoofed])
  assert.equal(good.status, 200)
  assert.deepEqual(JSON.parse(good.body), {
    who: 'ada', names: ['x-seamless-groups', 'x-seamless-scope', 'x-seamless-user'], user: 'ada', raw: 3, distinct: 0
  })
  const open = await ask(port, '/open', spoofed)
  assert.deepEqual(JSON.parse(open.body), { who: null, names: [], user: null, raw: 0, distinct: 0 })
  const none = await ask(port, '/', spoofed)
  assert.equal(none.status, 401)
  assert.equal(none.body, 'bad authorization header format\n')
  assert.equal(none.headers['www-authenticate'], 'seamless realm="corp", Bearer realm="corp", error="invalid_token"')
  const twice = await ask(port, '/', [['Authorization', `Bearer ${token}`], ['Authorization', 'Bearer x']])
  assert.equal(twice.status, 401)
  assert.equal((await ask(port, '/open/../x', [])).status, 400)
}

test('express', async t => {
  const found = await peer('express')
  if (found === null) return t.skip('SEAMLESS_NPM has no express')
  const { seamless } = await dist('express.js')
  const app = found.default()
  app.use(seamless(verifier))
  app.use((req, res) => res.send(seen(req)))
  await both(t, await listen(t, app))
  // Below a mount point the whole path is judged.
  const mounted = found.default()
  mounted.use('/api', seamless(verifier), (req, res) => res.send(seen(req)))
  const port = await listen(t, mounted)
  assert.equal((await ask(port, '/api/open', [])).status, 401)
})

test('node:http', async t => {
  const { seamless } = await dist('express.js')
  const guard = seamless(verifier)
  await both(t, await listen(t, (req, res) => guard(req, res, error => res.end(error ? 'error' : seen(req)))))
  // What goes wrong inside goes to next, never past it as good.
  const broken = seamless({ isIdentityHeader: () => false, check: () => Promise.reject(new Error('broken')) })
  const port = await listen(t, (req, res) => broken(req, res, error => res.writeHead(error ? 500 : 200).end()))
  assert.equal((await ask(port, '/', [])).status, 500)
})

test('hono', async t => {
  const found = await peer('hono')
  if (found === null) return t.skip('SEAMLESS_NPM has no hono')
  const { seamless } = await dist('hono.js')
  const app = new found.Hono()
  app.use(seamless(verifier))
  app.all('*', c => c.json({ who: c.get('identity')?.subject ?? null, user: c.req.header('x-seamless-user') ?? null, groups: c.req.header('x-seamless-groups') ?? null, under: c.req.header('x_seamless_user') ?? null }))
  const headers = { authorization: `Bearer ${mint(k)}`, ...Object.fromEntries(spoofed) }
  const good = await app.request('/', { headers })
  assert.deepEqual(await good.json(), { who: 'ada', user: 'ada', groups: '', under: null })
  const open = await app.request('/open', { headers: Object.fromEntries(spoofed) })
  assert.deepEqual(await open.json(), { who: null, user: null, groups: null, under: null })
  assert.equal((await app.request('/')).status, 401)
  const posted = await app.request('/', { method: 'POST', body: 'x', headers })
  assert.equal(posted.status, 200)
})

test('a fetch handler', async t => {
  const { seamless, identityOf } = await dist('fetch.js')
  const waited = []
  const ctx = { waitUntil: promise => waited.push(promise) }
  const keys = await server(t, [k])
  const lazy = Verifier.lazy(env => options(env.URL, { rules }))
  const handler = seamless(lazy, (request, env, context) => {
    assert.equal(context, ctx)
    return Response.json({ who: identityOf(request)?.subject ?? null, user: request.headers.get('x-seamless-user'), env: env.URL === keys.url })
  })
  const env = { URL: keys.url }
  const headers = { authorization: `Bearer ${mint(k)}`, 'x-seamless-user': 'root' }
  assert.deepEqual(await (await handler(new Request('https://x/', { headers }), env, ctx)).json(), { who: 'ada', user: 'ada', env: true })
  assert.deepEqual(await (await handler(new Request('https://x/open', { headers }), env, ctx)).json(), { who: null, user: null, env: true })
  assert.equal((await handler(new Request('https://x/'), env, ctx)).status, 401)
  assert.equal(waited.length, 1)
  assert.equal(identityOf(new Request('https://x/')), null)
})

test('seamless-verify', t => {
  const folder = mkdtempSync(join(tmpdir(), 'seamless-verify-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = (name, text) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const secret = file('secret', SECRET + '\n')
  const jwks = file('jwks.json', JSON.stringify({ keys: [k.jwk] }))
  const run = (args, input = '') => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(PACKAGE, 'bin/seamless-verify.mjs'), ...args], { input, encoding: 'utf8' })
    return { status, stdout, stderr }
  }
  const at = ['--now', String(ISSUED)]
  assert.deepEqual(run(['--secret-file', secret, ...at, TOKEN]), { status: 0, stdout: 'ok  username\n', stderr: '' })
  assert.deepEqual(run(['--secret-file', secret, ...at], `${TOKEN}\nx\n`), { status: 1, stdout: 'ok  username\nmalformed  invalid token\n', stderr: '' })
  const json = run(['--secret-file', secret, '--json', ...at], TOKEN)
  assert.deepEqual(JSON.parse(json.stdout), { verdict: 'ok', subject: 'username', format: 'seamless', issued_at: ISSUED, expires_at: ISSUED + 60 })
  const jwt = ['--jwks', jwks, '--issuer', ISSUER, '--audience', AUDIENCE]
  assert.equal(run(jwt, mint(k)).stdout, 'ok  ada\n')
  assert.equal(run([...jwt, '--scope', 'admin'], mint(k)).stdout, 'missing_scope  insufficient scope\n')
  for (const wrong of [[], ['--frob'], ['--jwks', jwks], ['--secret-file', '/nowhere'], ['--secret-file', secret, '--now', 'soon'], ['--secret-file', secret, '--leeway', '61'], ['--secret-file', secret, 'a', 'b']]) {
    const { status, stdout, stderr } = run(wrong)
    assert.deepEqual([status, stdout], [2, ''], stderr)
    assert.match(stderr, /^seamless-verify: error: /)
  }
  assert.match(run(['--help']).stdout, /Usage: seamless-verify/)
})
