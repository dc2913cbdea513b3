import { Verifier } from '@seamless-auth/verifier'

const verifier = Verifier.lazy(env => ({
  jwks: JSON.parse(env.JWKS),
  issuer: env.ISSUER,
  audience: env.AUDIENCE,
  realm: env.REALM,
}))

export default {
  async fetch(request, env, ctx) {
    const result = await verifier.check(request, { ctx, env })
    return result.ok ? new Response('ok\n') : result.rejection.toResponse()
  },
}
