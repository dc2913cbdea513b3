// What bundlers are given: one JWT from vectors.json, judged. Prints or shows `bundled: ok ada`.
import { Verifier } from '@seamless-auth/verifier'
import vectors from './vectors.json'

const { cases, jwks } = vectors.jwt
const [{ token, now, policy }] = cases
const { issuer, audience } = policy
const result = Verifier.createSync({ realm: 'corp', jwks, issuer, audience }).verify(token, { now })
const text = `bundled: ${result.ok ? `ok ${result.identity.subject}` : result.rejection.code}`
if (typeof document === 'undefined') console.log(text)
else document.body.textContent = text
