import type { CheckContext, Digest, Outcome, RequestLike, Stats, Verdict, VerifyOptions } from './index.js'

export type {
  Accepted, CheckContext, Code, Digest, Identity, Outcome, Passed, Rejected, Rejection, RequestLike, Stats, Verdict, VerifyOptions
} from './index.js'
export { ConfigurationError } from './index.js'

/**
 * Tokens of the `seamless` format and nothing else: the slim build, without public keys, rules and revocations.
 * A JWT answers `unsupported_algorithm`.
 */
export class Verifier {
  private constructor()
  static create(options: Options): Promise<Verifier>
  static createSync(options: Options, module?: WebAssembly.Module): Verifier

  /** Judges one token. Never throws because of a token. */
  verify(token: string | Uint8Array, options?: VerifyOptions): Verdict
  /** Judges a request by its `Authorization` header. */
  verifyRequest(request: RequestLike, options?: VerifyOptions): Verdict
  /** The same, for middleware. */
  check(request: RequestLike, context?: CheckContext): Promise<Verdict>
  /** The request to hand on: inbound identity headers stripped, our own set. */
  forward(request: Request, result: Outcome): Request
  /** Whether an inbound header of that name could pass for one of ours, and must not get past here. */
  isIdentityHeader(name: string): boolean
  readonly stats: Omit<Stats, 'remembered'>
  /** Frees the module's memory. Any use after it throws. */
  close(): void
}

export interface Options {
  /** The name in `WWW-Authenticate`: `corp`. */
  realm: string
  /** Up to 8; all are accepted. A string is UTF-8. */
  secrets: ReadonlyArray<string | Uint8Array>
  /** The hash of the format: `sha1` unless set. */
  digest?: Digest
  /** How long a token is accepted, in seconds: 1 to 86 400, 60 unless set. */
  maxAge?: number
  /** How far a clock may be ahead, in seconds: 0 to 60, 5 unless set. */
  leeway?: number
  /** Accepts secrets under 16 bytes. For published test vectors; never for yours. */
  allowShortSecrets?: boolean
}
