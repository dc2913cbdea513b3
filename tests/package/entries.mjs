// Every entry point of the installed package, by `import`, doing what it is for.
import { createHmac } from 'node:crypto'
import assert from 'node:assert/strict'
import test from 'node:test'
import { Verifier, ConfigurationError } from '@seamless-auth/verifier'
import { Verifier as Slim } from '@seamless-auth/verifier/hmac'
import { seamless as hono } from '@seamless-auth/verifier/hono'
import { seamless as express } from '@seamless-auth/verifier/express'
import { seamless as wrap, identityOf } from '@seamless-auth/verifier/fetch'

const secret = '0123456789abcdef0123456789abcdef'
const now = Math.floor(Date.now() / 1000)

export function mint(subject, issued = now) {
  const stamp = Buffer.from(issued.toString(16).padStart(8, '0'), 'hex').toString('base64url')
  const signed = `${subject}.${stamp}`
  return `${signed}.${createHmac('sha1', secret).update(signed).digest('base64url')}`
}

test('the full and the slim build accept and reject the same token', async () => {
  for (const Build of [Verifier, Slim]) {
    const verifier = await Build.create({ realm: 'corp', secrets: [secret] })
    assert.equal(verifier.verify(mint('ada')).identity.subject, 'ada')
    assert.equal(verifier.verify(mint('ada', now - 100)).rejection.code, 'expired')
    assert.equal(verifier.verify(`x${mint('ada')}`).rejection.code, 'bad_signature')
  }
  await assert.rejects(Verifier.create({ realm: 'corp' }), ConfigurationError)
})

test('the middleware entries are functions that guard', async () => {
  const verifier = Verifier.createSync({ realm: 'corp', secrets: [secret] })
  const handler = wrap(verifier, request => new Response(identityOf(request).subject))
  const good = await handler(new Request('https://x/', { headers: { authorization: `seamless ${mint('ada')}` } }))
  assert.equal(await good.text(), 'ada')
  assert.equal((await handler(new Request('https://x/'))).status, 401)
  assert.equal(typeof hono(verifier), 'function')
  assert.equal(typeof express(verifier), 'function')
})

test('the modules themselves can be found', () => {
  for (const name of ['verifier.wasm', 'hmac.wasm']) {
    assert.ok(import.meta.resolve(`@seamless-auth/verifier/${name}`).endsWith(name))
  }
})
