// Middleware for Hono.

/** Turns away what the verifier rejects; the identity is at `c.get('identity')`. */
export function seamless(verifier) {
  return async (c, next) => {
    let ctx
    try {
      ctx = c.executionCtx
    } catch {
      // Only Workers have one.
    }
    const result = await verifier.check(c.req.raw, { env: c.env, ctx })
    if (!result.ok) return result.rejection.toResponse()
    // From here on, identity headers are ours.
    c.req.raw = verifier.forward(c.req.raw, result)
    c.set('identity', result.identity)
    await next()
  }
}
