// Where keys outlive an isolate: a KV namespace, or the Cache API of Workers. What comes back is judged like an answer
// of the issuer's, with its age.

import { ConfigurationError } from './errors.js'

/** Keys that nobody confirmed for longer count nowhere. */
const LIFE = 86400

/** The store for this call, or null: `{ get(), put(entry) }` with entries `{ at, etag, maxAge, body }`. */
export function store(settings, context) {
  const name = `seamless-jwks ${settings.issuer} ${settings.url}`
  if (settings.kv !== undefined) {
    const namespace = typeof settings.kv === 'string' ? context?.env?.[settings.kv] : settings.kv
    if (typeof namespace?.get !== 'function') {
      throw new ConfigurationError('missing', 'kv', `env has no KV namespace ${settings.kv}; pass { env } to check and bind it`)
    }
    return {
      get: async () => entry(await namespace.get(name, 'json')),
      put: value => namespace.put(name, JSON.stringify(value), { expirationTtl: LIFE })
    }
  }
  const cache = settings.cache ? globalThis.caches?.default : undefined
  if (cache === undefined) return null
  const key = `https://seamless-verifier.invalid/${encodeURIComponent(name)}`
  return {
    async get() {
      const response = await cache.match(key)
      return response === undefined ? null : entry(await response.json())
    },
    put(value) {
      const headers = { 'content-type': 'application/json', 'cache-control': `max-age=${LIFE}` }
      return cache.put(key, new Response(JSON.stringify(value), { headers }))
    }
  }
}

function entry(value) {
  const good = typeof value?.body === 'string' && Number.isInteger(value.at) && Number.isInteger(value.maxAge) &&
    typeof value.etag === 'string'
  return good ? value : null
}
