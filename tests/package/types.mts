// Compiled, never run: what the types promise to people, and what they refuse.
import { ConfigurationError, Verifier } from '@seamless-auth/verifier'
import type { Code, Identity, Outcome, Verdict } from '@seamless-auth/verifier'
import { Verifier as Slim } from '@seamless-auth/verifier/hmac'
import { identityOf, seamless } from '@seamless-auth/verifier/fetch'
import { seamless as guard } from '@seamless-auth/verifier/express'

const keys = { jwksUrl: 'https://login.example/jwks.json', issuer: 'https://login.example', audience: 'https://api.example' }
const verifier = await Verifier.create({ realm: 'corp', ...keys })
const verdict: Verdict = verifier.verify('token', { now: 1 })
if (verdict.ok) {
  const { subject, issuedAt, scopes }: Identity = verdict.identity
  subject.length + issuedAt + scopes.length
} else {
  const code: Code = verdict.rejection.code
  const answer: Response = verdict.rejection.toResponse()
  void [code, answer]
}
// Without rules, a request that passes has somebody.
const plain = verifier.verifyRequest(new Request('https://x/'))
if (plain.ok) plain.identity.subject
// With rules it may have nobody.
const ruled = Verifier.createSync({ realm: 'corp', secrets: ['x'], rules: { rules: [{ need: 'open' }] } })
const outcome: Outcome = ruled.verifyRequest(new Request('https://x/'))
// @ts-expect-error identity may be null
if (outcome.ok) outcome.identity.subject
// @ts-expect-error public keys need an issuer and an audience
await Verifier.create({ realm: 'corp', jwksUrl: 'https://x/' })
// @ts-expect-error nothing is trusted
await Verifier.create({ realm: 'corp' })
// @ts-expect-error no such option
await Verifier.create({ realm: 'corp', ...keys, audiences: [] })
// @ts-expect-error the slim build has no public keys
await Slim.create({ realm: 'corp', ...keys })
// @ts-expect-error no constructor
new Verifier()

const lazy = Verifier.lazy<{ SECRET: string }>(env => ({ realm: 'corp', secrets: [env.SECRET] }))
export default { fetch: seamless(lazy, request => new Response(identityOf(request)?.subject ?? 'nobody')) }
export const express = guard(verifier)
export const isOurs = (error: unknown): boolean => error instanceof ConfigurationError && error.key === 'realm'
