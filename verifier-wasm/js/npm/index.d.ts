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
  private constructor()

  /** Compiles the module, loads the keys if they come from a URL, and resolves once tokens can be verified. */
  static create(options: Options & { rules: RulesFile | string }): Promise<Verifier<Outcome>>
  static create(options: Options): Promise<Verifier>

  /** For hosts that hand over a compiled module, and in Node, Deno and Bun. Keys must be there: no `jwksUrl`. */
  static createSync(
    options: Options & { rules: RulesFile | string }, module?: WebAssembly.Module
  ): Verifier<Outcome>
  static createSync(options: Options, module?: WebAssembly.Module): Verifier

  /**
   * Legal in a Worker's global scope: does nothing until the first {@link check}.
   * Options may come from the environment, which global scope can't see: `Verifier.lazy(env => ({ secrets: env.SECRET, … }))`.
   */
  static lazy<Env = unknown>(
    options: (Options & { rules: RulesFile | string }) | ((env: Env) => Options)
  ): LazyVerifier<Env, Outcome>
  static lazy<Env = unknown>(options: Options): LazyVerifier<Env>

  /** Judges one token. Never throws because of a token. `now` is in Unix seconds; without it, the clock. */
  verify(token: string | Uint8Array, options?: VerifyOptions): Verdict

  /** Judges a request by its `Authorization` header and, where there are rules, by what they ask of it. */
  verifyRequest(request: RequestLike, options?: { now?: number }): Result

  /** {@link verifyRequest}, with the keys' upkeep: fetches what is due, waits at most 1 s for a key that is new. */
  check(request: RequestLike, context?: CheckContext): Promise<Result>

  /** The request to hand on: inbound identity headers stripped, our own set. */
  forward(request: Request, result: Outcome): Request

  /** Whether an inbound header of that name could pass for one of ours, and must not get past here. */
  isIdentityHeader(name: string): boolean

  /** Fetches the keys now, whatever their age. Rejects where that fails; the old keys stay. */
  refresh(context?: CheckContext): Promise<void>

  /** Replaces the revocations. */
  setRevocations(revocations: readonly Revocation[] | string): void

  /** What happened since the start. */
  readonly stats: Stats

  /** Frees the module's memory. Any use after it throws. */
  close(): void
}

/** {@link Verifier} that comes to life in the first request. */
export interface LazyVerifier<Env = unknown, Result extends Outcome = Verdict> {
  check(request: RequestLike, context?: CheckContext<Env>): Promise<Result>
  forward(request: Request, result: Outcome): Request
  isIdentityHeader(name: string): boolean
  setRevocations(revocations: readonly Revocation[] | string): void
  readonly stats: Stats
}

/** What is trusted, and what is asked of a token. */
export type Options = Common & (SecretTrust | PublicKeyTrust | (SecretTrust & PublicKeyTrust))

export interface Common {
  /** The name in `WWW-Authenticate`: `corp`. */
  realm: string
  /** All of these scopes are demanded of every token. */
  scope?: string | readonly string[]
  /** How far clocks may differ, in seconds: 0 to 60, 5 unless set. */
  leeway?: number
  /** Which request needs what: the content of `rules.json`, or its text. Counts in `check` and `verifyRequest`. */
  rules?: RulesFile | string
  /** What was taken back, or the JSON text of it. */
  revocations?: readonly Revocation[] | string
  /** Where warnings go, of keys that can't be fetched: `console.warn` unless set. Never holds a token. */
  onWarning?: (message: string) => void
}

/** Shared secrets, for tokens of the `seamless` format and of crtauth. Whoever has one can mint: refused in browsers. */
export interface SecretTrust {
  /** All are accepted. A string is UTF-8; a final newline of a file is not removed. */
  secrets: ReadonlyArray<string | Uint8Array | Secret>
  /** The hash of the format, unless a secret says another: `sha1` unless set. */
  digest?: Digest
  /** How long a token is accepted, in seconds: 1 to 86 400, 60 unless set. */
  maxAge?: number
  /** Demands one of these of tokens of either format; a `seamless` token has those that are bound to its secret. */
  audience?: string | readonly string[]
  /** Accepts secrets under 16 bytes. For published test vectors; never for yours. */
  allowShortSecrets?: boolean
}

/** A secret, and what its tokens are good for: the format carries neither audience nor scope. */
export interface Secret {
  value: string | Uint8Array
  /** What it is for: tokens of the format `seamless` unless set, or `chap`, those of crtauth. */
  purpose?: 'seamless' | 'chap'
  digest?: Digest
  audience?: string | readonly string[]
  scopes?: readonly string[]
}

export type Digest = 'sha1' | 'sha256' | 'sha512'

/** Public keys, for JWTs of RFC 9068 with EdDSA or ES256. */
export type PublicKeyTrust = {
  /** The `iss` of the tokens, exactly. */
  issuer: string
  /** Who this service is: a token must name one of these. */
  audience: string | readonly string[]
} & (FixedKeys | FetchedKeys)

export interface FixedKeys {
  /** The keys, or their JSON text. */
  jwks: { keys: readonly object[] } | string
  jwksUrl?: undefined
}

export interface FetchedKeys {
  /** Where the keys are: https, or http on loopback. Redirects are not followed. */
  jwksUrl: string
  jwks?: undefined
  /** Start even where no keys can be fetched: tokens answer `keys_unavailable` until they come. */
  allowStale?: boolean
  /** Workers: a KV namespace, or the name of its binding in `env`, that keeps keys for new isolates. */
  kv?: string | KeyValueStore
  /** Workers: whether the Cache API keeps keys for new isolates where there is no `kv`; true unless set. */
  cache?: boolean
  /** How long a fetch may take, in seconds: 1 to 30, 5 unless set. */
  timeout?: number
  /** Fetches in the place of the global one: a service binding's, say. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** As much of a Workers KV namespace as is used. */
export interface KeyValueStore {
  get(key: string, type: 'json'): Promise<unknown>
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>
}

/** `rules.json`. Of several rules that match, the longest path counts, then the host, then the method; none: required. */
export interface RulesFile {
  $schema?: string
  rules: readonly Rule[]
}

export interface Rule {
  /** `open` looks at no token; `optional` lets a request without one pass as nobody. */
  need: 'open' | 'optional' | 'required'
  /** Whole segments; `/` unless set. */
  path_prefix?: string
  /** All unless set. */
  methods?: readonly string[]
  /** In lower case, without port; all unless set. */
  host?: string
  /** One of these, in the place of the verifier's own. */
  audience?: string | readonly string[]
  /** All of these. */
  scopes?: readonly string[]
  /** All of these ways to authenticate (RFC 8176). */
  amr?: readonly string[]
}

/** One thing that is taken back. `seamless` tokens can be named by subject only. */
export type Revocation =
  | { jti: string }
  | { sub: string, issued_before: number }
  | { ssh_fp: string }
  | { kid: string }

export interface VerifyOptions {
  /** Unix seconds; the clock unless set. */
  now?: number
}

export interface CheckContext<Env = unknown> extends VerifyOptions {
  /** Workers: the context whose `waitUntil` keeps a refresh alive past the answer. */
  ctx?: { waitUntil(promise: Promise<unknown>): void }
  /** Workers: the bindings, for `kv` by name and for `Verifier.lazy(env => …)`. */
  env?: Env
}

/**
 * A request: Fetch's, Node's, or its parts. Of Node's, `rawHeaders` count: two `Authorization` headers are refused, of which
 * `headers` would show one.
 */
export type RequestLike = FetchRequestLike | NodeRequestLike | RequestParts

export interface FetchRequestLike {
  readonly method: string
  readonly url: string
  readonly headers: { get(name: string): string | null }
}

export interface NodeRequestLike {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly rawHeaders: readonly string[]
}

export interface RequestParts {
  readonly method: string
  readonly scheme?: string
  /** `:authority` or `Host`; taken from the headers unless set. */
  readonly authority?: string
  /** With its query, raw; null where there is none. */
  readonly path: string | null
  /** Each character a byte (Latin-1), several values of one name in a list or in several pairs. */
  readonly headers:
    | Readonly<Record<string, string | readonly string[] | undefined>>
    | Iterable<readonly [string, string]>
}

/** What happened since the start. No token and no name is in it. */
export interface Stats {
  /** Verified tokens. */
  readonly accepted: number
  /** Requests that the rules let pass without a token. */
  readonly passed: number
  readonly rejected: Readonly<Partial<Record<Code, number>>>
  /** Instances of the module that were replaced; each answered one `keys_unavailable`. */
  readonly traps: number
  /** Tokens whose signature need not be checked again. */
  readonly remembered: number
  readonly fetches?: number
  readonly fetchFailures?: number
}

/** A configuration is wrong. */
export class ConfigurationError extends Error {
  readonly name: 'ConfigurationError'
  readonly code:
    | 'missing' | 'wrong_type' | 'out_of_range' | 'unknown_option' | 'conflict' | 'refused' | 'secret_in_browser'
  /** The option, such as `maxAge` or `secrets[0].digest`. */
  readonly key: string
}

/** No keys can be fetched; its `cause` says why. */
export class KeysUnavailableError extends Error {
  readonly name: 'KeysUnavailableError'
  readonly code: 'keys_unavailable'
}

export type Verdict = Accepted | Rejected
export type Outcome = Accepted | Passed | Rejected
export interface Accepted { readonly ok: true; readonly outcome: 'identity'; readonly identity: Identity }
/** The rules let it pass without a token. */
export interface Passed { readonly ok: true; readonly outcome: 'open' | 'anonymous'; readonly identity: null }
export interface Rejected { readonly ok: false; readonly outcome: 'rejection'; readonly rejection: Rejection }

export interface Identity {
  readonly format: 'seamless' | 'jwt' | 'chap'
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
  /** The headers of the answer, for servers without {@link toResponse}. */
  readonly headers: ReadonlyArray<readonly [string, string]>
  /** Seconds that the token is ahead of our clock; with `not_yet_valid` only. */
  readonly skew?: number
  toResponse(): Response
}

export type Code =
  | 'missing_authorization' | 'bad_authorization' | 'malformed' | 'too_large' | 'unsupported_algorithm' | 'unknown_key'
  | 'bad_signature' | 'wrong_issuer' | 'wrong_audience' | 'revoked' | 'binding_required' | 'expired' | 'not_yet_valid'
  | 'missing_scope' | 'bad_path' | 'keys_unavailable'
