import { Verifier } from '@seamless-auth/verifier'

const verifier = Verifier.lazy(env => ({ secrets: [env.SECRET], realm: env.REALM, maxAge: Number(env.MAX_AGE) }))

export default {
  async fetch(request, env, ctx) {
    const result = await verifier.check(request, { ctx, env })
    return result.ok ? new Response('ok\n') : result.rejection.toResponse()
  },
}
