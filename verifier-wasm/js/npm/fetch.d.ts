import type { CheckContext, Identity, Outcome, RequestLike } from './index.js'

/** A `Verifier`, a `LazyVerifier`, or the slim one. */
export interface Checks {
  check(request: RequestLike, context?: CheckContext<any>): Promise<Outcome>
  forward(request: Request, result: Outcome): Request
}

/**
 * Around any fetch handler: turns away what the verifier rejects, and hands the rest on with inbound identity headers
 * stripped and ours set.
 *
 * @example
 * export default { fetch: seamless(verifier, (request, env, ctx) => fetch(request)) }
 */
export function seamless<Env = unknown, Ctx = unknown>(
  verifier: Checks,
  handler: (request: Request, env: Env, ctx: Ctx) => Response | Promise<Response>
): (request: Request, env?: Env, ctx?: Ctx) => Promise<Response>

/** Who a request speaks for that the handler was given; null where the rules let it pass as nobody. */
export function identityOf(request: Request): Identity | null
