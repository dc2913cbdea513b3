// The keys' upkeep. `token::refresh` in the module decides when and what; here bytes are moved, and nobody waits for
// a promise of another request: workerd forbids it. What requests share is what is settled.

import { store } from './cache.js'
import { KeysUnavailableError } from './errors.js'
import { fetchKeys } from './fetch-keys.js'
import { clock } from './judge.js'

/** What the module's `keys` answers where there are none, and where there is nothing to wait for. */
const NONE = 0
const GOOD = 2
/** How long a request waits for keys that may be new, or fresher than the ones that are held; in seconds. */
const BRIEFLY = 1
/** Cached keys are asked for at the issuer after this, whatever it allows; an isolate without any begins with older ones. */
const FRESH = 300
const ACCEPTABLE = 600

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class Keys {
  constructor(judge, settings, host) {
    this.judge = judge
    this.settings = settings
    this.host = host
    /** The last good answer, for another instance: `{ at, etag, maxAge, body }`. */
    this.held = null
    /** The number of the fetch that is under way, else 0. */
    this.open = 0
    /** The core needs not be asked before. */
    this.due = 0
    this.failing = false
    this.lastError = null
    this.timer = undefined
    judge.stats.fetches = 0
    judge.stats.fetchFailures = 0
    judge.revived = instance => this.restore(instance)
  }

  /** Gives a new instance the keys that the one before had. */
  restore(instance) {
    this.open = 0
    this.due = 0
    if (this.held === null) return
    const now = clock()
    answer(instance, instance.wasm.poll(now), now, fromCache(this.held, now))
  }

  /** Before a request: waits as long as it must, and starts what can be done beside it. */
  async tend(now, context) {
    const { wasm } = this.instance()
    const state = wasm.keys(now)
    if (state === GOOD && now < this.due) return
    const number = this.poll(now)
    const wait = state === NONE ? this.settings.timeout : state === GOOD ? 0 : BRIEFLY
    if (number === 0 && state !== NONE) return wait > 0 ? this.settled(wait) : undefined
    // Without keys, and somebody else's fetch under way, which may end with their request: another one beside it.
    const which = number || this.open
    if (which === 0) return
    const cache = store(this.settings, context)
    const job = this.load(which, cache, context)
    const kept = keep(job, context)
    // What a request in workerd doesn't wait for ends with it, unless `ctx` holds on to it.
    if (wait > 0 || !(kept || this.host.background)) await Promise.race([job, this.settled(wait || BRIEFLY)])
  }

  /** After a token whose key isn't held: whether other keys may be there now. */
  async again(now, context) {
    const number = this.poll(now)
    if (number === 0) return this.open !== 0 && this.settled(BRIEFLY)
    const job = this.load(number, store(this.settings, context), context, true)
    keep(job, context)
    await Promise.race([job, this.settled(BRIEFLY)])
    return true
  }

  /** Fetches in the background if something is due, where that is legal. */
  nudge(now, context) {
    if (now < this.due || !this.host.background || this.judge.instance === null) return
    const number = this.poll(now)
    if (number !== 0) this.load(number, null, context)
  }

  /** Fetches now; throws where that fails. */
  async refresh(context) {
    const now = context?.now ?? clock()
    if (this.open === 0) {
      this.instance().wasm.want()
      this.poll(now)
    }
    await this.load(this.open, store(this.settings, context), context, true)
    if (this.lastError !== null) throw this.lastError
  }

  /** The first keys; from a cache, if it has them. */
  async begin() {
    await this.load(this.poll(clock()), store(this.settings, undefined))
    if (this.held === null && !this.settings.allowStale) throw this.lastError
  }

  close() {
    clearTimeout(this.timer)
    this.due = Infinity
  }

  instance() {
    return this.judge.instance ?? this.judge.revive()
  }

  poll(now) {
    const instance = this.instance()
    const number = instance.wasm.poll(now)
    if (number === 0) this.due = Math.min(instance.skew(), now + FRESH)
    else this.open = number
    return number
  }

  /** Waits for the fetch that is under way, whoever's it is, by looking whether it is done. */
  async settled(seconds) {
    const { open } = this
    for (let left = seconds; left > 0 && open !== 0 && this.open === open; left -= 0.025) await sleep(0.025)
    return this.open !== open
  }

  /** One fetch, from the cache if that will do. Never rejects. */
  async load(number, cache, context, mustBeNew = false) {
    const now = () => context?.now ?? clock()
    try {
      const cached = mustBeNew ? null : await this.cached(cache, now())
      const life = this.held === null ? ACCEPTABLE : Math.min(cached?.maxAge ?? 0, FRESH)
      if (cached !== null && now() - cached.at < life) {
        this.take(number, now(), fromCache(cached, now()), cached)
        return
      }
      let error = null
      try {
        this.judge.stats.fetches++
        const found = await fetchKeys(this.settings, this.held?.etag ?? '', this.settings.timeout)
        const entry = this.entry(found, now())
        error = this.take(number, now(), found, entry)
        if (error === null) {
          if (entry !== null) await cache?.put(entry).catch(e => this.warn(`the keys can't be cached: ${e.message}`))
          return
        }
      } catch (e) {
        error = e
        this.instance().wasm.failed(number, now())
        this.done(number, now())
      }
      // Keys that are hours old are better than none; the core says when they are too old.
      if (cached !== null && this.held === null) {
        this.instance().wasm.want()
        this.take(this.poll(now()), now(), fromCache(cached, now()), cached)
      }
      this.fail(error)
    } catch (error) {
      // The verifier was closed meanwhile.
      this.lastError = error
    }
  }

  async cached(cache, now) {
    try {
      const entry = await cache?.get()
      // Never back to older keys; and no clock is a minute ahead.
      return !entry || entry.at > now + 60 || (this.held !== null && entry.at <= this.held.at) ? null : entry
    } catch (error) {
      this.warn(`the cached keys can't be read: ${error.message}`)
      return null
    }
  }

  /** Hands an answer to the core; why it was refused, or null. */
  take(number, now, found, entry) {
    const instance = this.instance()
    const refused = answer(instance, number, now, found) === 2
    let error = null
    if (refused) {
      const { status } = found
      const reason = status === 200 || status === 304 ? instance.text() : `it answered with status ${status}`
      error = new KeysUnavailableError(reason)
    } else if (number === this.open) {
      // An answer that came too late is not what the core holds.
      if (entry !== null) this.held = entry
      this.lastError = null
      this.failing = false
    }
    this.done(number, now)
    return error
  }

  /** What to keep of an answer. */
  entry(found, now) {
    const at = now - Math.max(found.age, 0)
    const maxAge = found.maxAge < 0 ? FRESH : found.maxAge
    if (found.status === 200) return { at, etag: found.etag, maxAge, body: decoder.decode(found.body) }
    return found.status === 304 && this.held !== null ? { ...this.held, at, maxAge } : null
  }

  fail(error) {
    this.judge.stats.fetchFailures++
    const reason = error?.name === 'TimeoutError' ? 'no answer in time' : error?.cause?.message ?? error?.message ?? String(error)
    const message = `no keys from ${this.settings.url}: ${reason}`
    this.lastError = new KeysUnavailableError(message, { cause: error })
    // Once, until it works again.
    if (!this.failing && this.held !== null) this.warn(`${message}; the old keys stay`)
    this.failing = true
  }

  done(number, now) {
    if (number === this.open) this.open = 0
    this.due = 0
    if (this.host.timers) this.schedule(now)
  }

  /** Keeps the keys of a long-lived process fresh, so that `verify`, which can't wait, judges by fresh ones. */
  schedule(now) {
    clearTimeout(this.timer)
    const left = (this.held?.maxAge ?? 1) - (now - (this.held?.at ?? now))
    const weak = new WeakRef(this)
    this.timer = setTimeout(() => weak.deref()?.nudge(clock()), Math.min(Math.max(left, 5), FRESH) * 1000)
    this.timer?.unref?.()
  }

  warn(message) {
    this.judge.settings.onWarning(message)
  }
}

function fromCache(entry, now) {
  return { ...entry, status: 200, body: encoder.encode(entry.body), age: Math.max(now - entry.at, 0) }
}

function answer(instance, number, now, { status, body, etag, maxAge, age }) {
  // No ETag of ours is as long as that.
  const tag = etag.length > 1024 ? new Uint8Array(0) : encoder.encode(etag)
  instance.look(body.length + tag.length + 65536)
  instance.input.set(body)
  instance.input.set(tag, body.length)
  const taken = instance.wasm.response(number, now, status, body.length, tag.length, maxAge, age)
  instance.look()
  return taken
}

/** Lets a job live on when its request is answered. */
function keep(job, context) {
  const lives = typeof context?.ctx?.waitUntil === 'function'
  if (lives) context.ctx.waitUntil(job)
  return lives
}

const sleep = seconds => new Promise(resolve => {
  setTimeout(resolve, seconds * 1000)
})
