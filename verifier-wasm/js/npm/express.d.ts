import type { CheckContext, Identity, Outcome, RequestLike } from './index.js'

declare global {
  namespace Express {
    interface Request {
      /** Who the request speaks for; null where the rules let it pass as nobody. */
      identity?: Identity | null
    }
  }
}

/** A `Verifier`, or the slim one. */
export interface Checks {
  check(request: RequestLike, context?: CheckContext): Promise<Outcome>
  isIdentityHeader(name: string): boolean
}

/** As much of `http.IncomingMessage` as is used. */
export interface IncomingRequest {
  method?: string | undefined
  url?: string | undefined
  rawHeaders: string[]
  headers: Record<string, string | string[] | undefined>
  identity?: Identity | null
}

/** As much of `http.ServerResponse` as is used. */
export interface OutgoingResponse {
  statusCode: number
  setHeader(name: string, value: string | readonly string[]): unknown
  end(body: string): unknown
}

/**
 * Turns away what the verifier rejects. Who a request speaks for is at `req.identity`. Inbound identity headers are
 * stripped, from `rawHeaders` too, and ours set.
 *
 * @example
 * app.use(seamless(verifier))
 * @example
 * // node:http
 * createServer((req, res) => guard(req, res, error => error ? fail(res) : handle(req, res)))
 */
export function seamless(
  verifier: Checks
): (req: IncomingRequest, res: OutgoingResponse, next: (error?: unknown) => void) => void
