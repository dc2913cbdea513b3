import { Verifier, type Options, type RulesFile } from '@seamless-auth/verifier'
import bundled from '../rules.json'

/** What wrangler.toml and `wrangler secret put` give. */
interface Env {
  /** The verifier's options, as `Verifier.create` takes them; rules and secrets come from elsewhere. */
  SEAMLESS: Options & {
    /** What tokens of the shared secret are good for: the `seamless` format says neither. */
    secret?: { audience?: string[], scopes?: string[], digest?: 'sha1' | 'sha256' | 'sha512' }
  }
  /** A shared secret; without one, only JWTs are believed. */
  SEAMLESS_SECRET?: string
  /** In the place of rules.json. */
  RULES?: RulesFile | string
  /** Keeps the public keys, so that a new isolate needs no fetch. */
  KEYS: KVNamespace
  /** Where requests that pass go; without it, to what stands behind the zone's route. */
  ORIGIN?: string
}

// Nothing happens here yet: global scope in Workers has no bindings, no fetch and no randomness.
const verifier = Verifier.lazy<Env>(env => {
  const { secret, ...options } = env.SEAMLESS
  const secrets = env.SEAMLESS_SECRET === undefined ? {} : { secrets: [{ value: env.SEAMLESS_SECRET, ...secret }] }
  const kept = 'jwksUrl' in options ? { kv: 'KEYS' } : {}
  return { ...options, ...secrets, ...kept, rules: env.RULES ?? (bundled as RulesFile) } as Options
})

export default {
  async fetch(request, env, ctx): Promise<Response> {
    let passed: Request
    try {
      const result = await verifier.check(request, { env, ctx })
      if (!result.ok) return result.rejection.toResponse()
      passed = verifier.forward(request, result)
    } catch (error) {
      // A wrong configuration. Nobody passes; the log says which option it is.
      console.error(`seamless: error: ${error instanceof Error ? error.message : String(error)}`)
      return new Response('verification keys unavailable\n', { status: 503, headers: { 'cache-control': 'no-store' } })
    }
    try {
      // A redirect is the client's to follow; an identity goes nowhere but to the origin.
      return await fetch(new Request(target(request.url, env.ORIGIN), passed), { redirect: 'manual' })
    } catch {
      console.error('seamless: error: the origin does not answer')
      return new Response('bad gateway\n', { status: 502 })
    }
  }
} satisfies ExportedHandler<Env>

/** The same path at the origin: the one that was judged, not one that was parsed anew. */
function target(url: string, origin?: string): string {
  if (origin === undefined) return url
  if (!/^https?:\/\/[^/?#@\\]+$/.test(origin)) throw new TypeError('ORIGIN: scheme and host, as in https://origin.example.com')
  const path = url.indexOf('/', url.indexOf('://') + 3)
  return origin + (path < 0 ? '/' : url.slice(path))
}
