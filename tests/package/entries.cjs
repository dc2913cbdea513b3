// Every entry point by `require`.
const assert = require('node:assert/strict')
const test = require('node:test')

test('each entry point is there for require', () => {
  const { Verifier } = require('@seamless-auth/verifier')
  const slim = require('@seamless-auth/verifier/hmac')
  for (const Build of [Verifier, slim.Verifier]) {
    const verifier = Build.createSync({ realm: 'corp', secrets: ['0123456789abcdef'] })
    assert.equal(verifier.verify('ada.x.y').ok, false)
  }
  for (const name of ['hono', 'express', 'fetch']) {
    assert.equal(typeof require(`@seamless-auth/verifier/${name}`).seamless, 'function')
  }
})
