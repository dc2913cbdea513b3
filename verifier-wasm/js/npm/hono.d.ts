import type { MiddlewareHandler } from 'hono'
import type { CheckContext, Identity, Outcome, RequestLike } from './index.js'

/** A `Verifier`, a `LazyVerifier`, or the slim one. */
export interface Checks {
  check(request: RequestLike, context?: CheckContext<any>): Promise<Outcome>
  forward(request: Request, result: Outcome): Request
}

/**
 * Turns away what the verifier rejects. Who a request speaks for is at `c.get('identity')`; null where the rules let it
 * pass as nobody. Inbound identity headers are stripped, and ours set.
 *
 * @example
 * app.use(seamless(verifier))
 */
export function seamless(verifier: Checks): MiddlewareHandler<{ Variables: { identity: Identity | null } }>
