// Verification in Node: @seamless-auth/verifier beside node:crypto and other people's libraries.
//
// Environment: SEAMLESS_PACKAGE, a file that exports what the package exports; SEAMLESS_NPM, the folder that holds
// node_modules with the others. Each library is used as its own documentation shows for a server: keys are imported
// once, before anything is measured, and its own cache of tokens is off unless the row says otherwise.
import { createHmac, generateKeyPairSync, sign, timingSafeEqual } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compare } from './meter.mjs'

const { Verifier } = await import(pathToFileURL(process.env.SEAMLESS_PACKAGE))
const peers = createRequire(join(process.env.SEAMLESS_NPM, 'package.json'))
const peer = async name => import(pathToFileURL(peers.resolve(name)))
const jose = await peer('jose')
const { createVerifier } = peers('fast-jwt')
const cloudflareJwt = await peer('@tsndr/cloudflare-worker-jwt')

const now = Math.floor(Date.now() / 1000)
const issuer = 'https://login.example.com/corp'
const audience = 'https://api.example.com'
const secret = '0123456789abcdef0123456789abcdef'
const claims = {
  iss: issuer,
  sub: 'ada',
  aud: audience,
  client_id: 'ssh',
  iat: now,
  exp: now + 3600,
  jti: '3f0e6c0b8d5a4c7e9b1f2a3d4c5b6a79',
  scope: 'deploy:web',
  groups: ['ops'],
}
const encode = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

await hmac()
await eddsa()

async function hmac() {
  const token = seamlessToken('ada')
  const verifier = await Verifier.create({ secrets: [secret], realm: 'corp', maxAge: 3600 })
  const ours = { name: 'Node: verify `seamless`', run: () => verifier.verify(token, { now }).ok }

  // What it takes to check the signature and nothing else: no time, no shape, no name.
  const dot = token.lastIndexOf('.')
  const bare = {
    name: '`node:crypto`: its HMAC-SHA1 and a comparison',
    run: () => {
      const mac = createHmac('sha1', secret).update(token.slice(0, dot)).digest()
      return timingSafeEqual(mac, Buffer.from(token.slice(dot + 1), 'base64url'))
    },
  }
  await compare(ours, bare, 1 / 3)

  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  const hs256 = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
  const key = new TextEncoder().encode(secret)
  const checks = { issuer, audience, algorithms: ['HS256'] }
  await compare(ours, { name: '`jose`, HS256', async: true, run: async () => !!(await jose.jwtVerify(hs256, key, checks)) }, 1 / 60)
  const fast = createVerifier({ key: secret, algorithms: ['HS256'], allowedIss: issuer, allowedAud: audience, cache: false })
  await compare(ours, { name: '`fast-jwt`, HS256, without its cache', run: () => fast(hs256).sub === 'ada' })
  const { verify } = cloudflareJwt.default ?? cloudflareJwt
  await compare(ours, {
    name: '`@tsndr/cloudflare-worker-jwt`, HS256',
    async: true,
    run: async () => !!(await verify(hs256, secret, { algorithm: 'HS256' })),
  })
}

async function eddsa() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  const jwk = { kty: 'OKP', crv: 'Ed25519', x }
  const kid = await jose.calculateJwkThumbprint(jwk)
  const mint = jti => {
    const signed = `${encode({ alg: 'EdDSA', typ: 'at+jwt', kid })}.${encode({ ...claims, jti })}`
    return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
  }
  const jwks = { keys: [{ ...jwk, kid, alg: 'EdDSA', use: 'sig' }] }
  const verifier = await Verifier.create({ jwks, issuer, audience, realm: 'corp' })
  const key = await jose.importJWK(jwk, 'EdDSA')
  const checks = { issuer, audience, typ: 'at+jwt', algorithms: ['EdDSA'] }

  // More than ours remembers, in turn: by the time one comes again, it has been forgotten.
  const many = Array.from({ length: 1024 }, (_, i) => mint(`token-${i}`))
  let ours = 0
  let theirs = 0
  await compare(
    { name: 'Node: verify JWT (EdDSA), cold', run: () => verifier.verify(many[ours++ % 1024], { now }).ok },
    { name: '`jose`, EdDSA', async: true, run: async () => !!(await jose.jwtVerify(many[theirs++ % 1024], key, checks)) },
    1 / 1.2,
  )
  const [token] = many
  await compare(
    { name: 'Node: verify JWT (EdDSA), seen before', run: () => verifier.verify(token, { now }).ok },
    { name: '`jose`, EdDSA', async: true, run: async () => !!(await jose.jwtVerify(token, key, checks)) },
    1 / 50,
  )
}

/** `subject.timestamp.signature`, as the original's: HMAC-SHA1 with the secret itself as the key. */
function seamlessToken(subject) {
  const stamp = Buffer.from(now.toString(16).padStart(8, '0'), 'hex').toString('base64url')
  const signed = `${subject}.${stamp}`
  return `${signed}.${createHmac('sha1', secret).update(signed).digest('base64url')}`
}
