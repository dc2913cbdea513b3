// What the tests share: the package as it was built, vectors, a server of keys.
//
// SEAMLESS_PACKAGE is the package's folder; SEAMLESS_NPM the folder with the node_modules of tests/peers.

import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

export const PACKAGE = resolve(process.env.SEAMLESS_PACKAGE ?? 'target/wasm/steps/package')
export const dist = name => import(pathToFileURL(join(PACKAGE, 'dist', name)))
export const { Verifier, ConfigurationError, KeysUnavailableError } = await dist('node.js')

export const vectors = name => JSON.parse(readFileSync(new URL(`../../../../tests/vectors/${name}.json`, import.meta.url)))

/** A library of other people's, or null where it isn't installed. */
export async function peer(name) {
  const folder = process.env.SEAMLESS_NPM
  if (!folder) return null
  const require = createRequire(join(folder, 'x.js'))
  return import(pathToFileURL(require.resolve(name)))
}

export const SECRET = '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f'
export const TOKEN = 'username.ZVPxAA.2i9lSqgqLifD_3VwrbNHMZ7TFAE'
export const ISSUED = 1700000000
export const ISSUER = 'https://login.example/corp'
export const AUDIENCE = 'https://api.example'

/** A signing key with its JWK. */
export function key(kid) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'EdDSA', use: 'sig' }
  return { kid, jwk, privateKey: createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' })) }
}

/** A token as the issuer mints them. */
export function mint({ kid, privateKey }, claims = {}, now = Math.floor(Date.now() / 1000)) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url')
  const payload = {
    iss: ISSUER, sub: 'ada', aud: AUDIENCE, client_id: 'ssh', iat: now, exp: now + 300, jti: `j${Math.random()}`, ...claims
  }
  const signed = `${part({ alg: 'EdDSA', typ: 'at+jwt', kid })}.${part(payload)}`
  return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
}

/** A server of keys; `answer(req, res)` may be replaced, `seen` has the requests. */
export async function server(t, keys) {
  const state = { keys, seen: [], answer: null, maxAge: 300 }
  const http = createServer((req, res) => {
    state.seen.push(req)
    if (state.answer !== null) return state.answer(req, res)
    const body = JSON.stringify({ keys: state.keys.map(k => k.jwk) })
    const etag = `"${state.keys.map(k => k.kid).join()}"`
    if (req.headers['if-none-match'] === etag) return res.writeHead(304).end()
    res.writeHead(200, { etag, 'cache-control': `max-age=${state.maxAge}` }).end(body)
  })
  await new Promise(done => {
    http.listen(0, '127.0.0.1', done)
  })
  t.after(() => {
    http.closeAllConnections()
    http.close()
  })
  state.url = `http://127.0.0.1:${http.address().port}/jwks.json`
  return state
}

export const options = (jwksUrl, more = {}) => ({ realm: 'corp', jwksUrl, issuer: ISSUER, audience: AUDIENCE, onWarning: () => {}, ...more })
export const bearer = token => ({ method: 'GET', path: '/', headers: { authorization: `Bearer ${token}` } })
export const code = result => (result.ok ? result.outcome : result.rejection.code)
