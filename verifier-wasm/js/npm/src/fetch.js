// Around any fetch handler: Workers, Deno.serve, Bun.serve, a service worker.

const identities = new WeakMap()

/** A handler that turns away what the verifier rejects, and hands the rest on with our identity headers. */
export function seamless(verifier, handler) {
  return async (request, env, ctx) => {
    const result = await verifier.check(request, { env, ctx })
    if (!result.ok) return result.rejection.toResponse()
    const forwarded = verifier.forward(request, result)
    identities.set(forwarded, result.identity)
    return handler(forwarded, env, ctx)
  }
}

/** Who a request speaks for that the handler was given; null where the rules let it pass as nobody. */
export function identityOf(request) {
  return identities.get(request) ?? null
}
