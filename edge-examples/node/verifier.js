import { readFileSync } from 'node:fs'
import { Verifier } from '@seamless-auth/verifier'

const { ISSUER, AUDIENCE, JWKS_URL = `${ISSUER}/.well-known/jwks.json` } = process.env
if (!ISSUER || !AUDIENCE) {
  console.error('error: ISSUER and AUDIENCE are wanted: whose tokens are believed, and who this service is')
  process.exit(2)
}

/** Fetches the keys now and keeps them fresh; ends the process where it can't, so that nothing starts half ready. */
export const verifier = await Verifier.create({
  realm: 'corp',
  issuer: ISSUER,
  audience: AUDIENCE,
  jwksUrl: JWKS_URL,
  rules: readFileSync(new URL('rules.json', import.meta.url), 'utf8')
})
