/**
 * Verifies seamless tokens: who is it, and may they? Synchronous, without a network call.
 *
 * @example
 * const verifier = await Verifier.create({
 *   jwksUrl: 'https://login.example.com/corp/jwks.json',
 *   issuer: 'https://login.example.com/corp',
 *   audience: 'https://api.example.com',
 *   realm: 'corp',
 * })
 * const result = verifier.verify(token)
 * if (result.ok) console.log(result.identity.subject)
 * else console.log(result.rejection.code)
 */
export class Verifier<Result extends Outcome = Verdict> {
  /** Compiles the module, loads the keys if they come from a URL, and resolves once tokens can be verified. */
  static create(options: Options & { rules: RulesFile | string }): Promise<Verifier<Outcome>>
  static create(options: Options): Promise<Verifier>

  /** For hosts that hand over a compiled module, and in Node, Deno and Bun. Keys must be there: no `jwksUrl`. */
  static createSync(options: Options & { rules: RulesFile | string }, module?: WebAssembly.Module): Verifier<Outcome>
  static createSync(options: Options, module?: WebAssembly.Module): Verifier

  /**
   * Legal in a Worker's global scope: does nothing until the first {@link check}.
   * Options may come from the environment, which global scope can't see: `Verifier.lazy(env => ({ secrets: env.SECRET, … }))`.
   */
  static lazy<Env = unknown>(options: (Options & { rules: RulesFile | string }) | ((env: Env) => Options)): LazyVerifier<Env, Outcome>
  static lazy<Env = unknown>(options: Options): LazyVerifier<Env>

  /** Judges one token. Never throws because of a token. `now` is in Unix seconds; without it, the clock. */
  verify(token: string | Uint8Array, options?: VerifyOptions): Verdict

  /** Judges a request by its `Authorization` header and, where there are rules, by what they ask of it. */
  verifyRequest(request: RequestLike, options?: { now?: number }): Result

  /** {@link verifyRequest}, with the keys' upkeep: fetches what is due, waits at most 1 s for a key that is new. */
  check(request: RequestLike, context?: CheckContext): Promise<Result>

  /** The request to hand on: inbound identity headers stripped, our own set. */
  forward(request: Request, result: Result): Request

  /** Fetches the keys now, whatever their age. Rejects where that fails; the old keys stay. */
  refresh(): Promise<void>

  /** Replaces the revocations. */
  setRevocations(revocations: Revocation[] | string): void

  /** What happened since the start. */
  readonly stats: Stats

  /** Frees the module's memory. Any use after it throws. */
  close(): void
}

/** {@link Verifier} that comes to life in the first request. */
export interface LazyVerifier<Env = unknown, Result extends Outcome = Verdict> {
  check(request: Request, context: CheckContext<Env>): Promise<Result>
  forward(request: Request, result: Result): Request
}

/** What is trusted, and what is asked of a token. */
export type Options = Common & (SecretTrust | PublicKeyTrust | (SecretTrust & PublicKeyTrust))
// … the rest is the js room's to write

export type Verdict = Accepted | Rejected
export type Outcome = Accepted | Passed | Rejected
export interface Accepted { readonly ok: true; readonly outcome: 'identity'; readonly identity: Identity }
/** The rules let it pass without a token. */
export interface Passed { readonly ok: true; readonly outcome: 'open' | 'anonymous'; readonly identity: null }
export interface Rejected { readonly ok: false; readonly outcome: 'rejection'; readonly rejection: Rejection }

export interface Identity {
  readonly format: 'seamless' | 'jwt'
  readonly subject: string
  /** Unix seconds. */
  readonly issuedAt: number
  /** Unix seconds. */
  readonly expiresAt: number
  readonly issuer?: string
  readonly clientId?: string
  readonly jti?: string
  readonly sshFp?: string
  readonly kid?: string
  readonly audiences: readonly string[]
  readonly scopes: readonly string[]
  readonly groups: readonly string[]
  readonly amr: readonly string[]
  /** `X-Seamless-User`, `-Scope` and `-Groups`, percent-encoded as headers need it. */
  readonly headers: Readonly<Record<'x-seamless-user' | 'x-seamless-scope' | 'x-seamless-groups', string>>
}

export interface Rejection {
  readonly code: Code
  readonly status: 400 | 401 | 403 | 503
  /** The first line of the body, for people. */
  readonly message: string
  /** Seconds that the token is ahead of our clock; with `not_yet_valid` only. */
  readonly skew?: number
  toResponse(): Response
}

export type Code =
  | 'missing_authorization' | 'bad_authorization' | 'malformed' | 'too_large' | 'unsupported_algorithm' | 'unknown_key'
  | 'bad_signature' | 'wrong_issuer' | 'wrong_audience' | 'revoked' | 'binding_required' | 'expired' | 'not_yet_valid'
  | 'missing_scope' | 'bad_path' | 'keys_unavailable'
