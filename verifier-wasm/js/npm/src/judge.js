// A verifier without upkeep: one instance of the module, and another when it traps.

import { ConfigurationError } from './errors.js'
import { ANONYMOUS, FIELD, IDENTITY, Instance, MAX_TOKEN, OPEN } from './module.js'
import { view } from './request.js'
import { KEYS_UNAVAILABLE, MALFORMED, Outcomes, TOO_LARGE, accepted } from './verdict.js'

/** The clock, in Unix seconds. */
export const clock = () => Math.floor(Date.now() / 1000)

export class Judge {
  constructor(settings, module) {
    this.settings = settings
    this.module = module
    this.outcomes = new Outcomes(settings.realm)
    this.stats = { accepted: 0, passed: 0, rejected: {}, traps: 0 }
    this.instance = this.make()
  }

  verify(token, now) {
    let place
    try {
      if (typeof token === 'string' || token instanceof Uint8Array) {
        if (token.length > MAX_TOKEN) place = TOO_LARGE
        else {
          const instance = this.instance ?? this.revive()
          place = instance.verify(token, now)
          if (place === IDENTITY) {
            const verdict = instance.identity(accepted, token)
            this.stats.accepted++
            return verdict
          }
        }
      } else place = MALFORMED
      return this.reject(place)
    } catch {
      return this.trapped()
    }
  }

  check(request, now) {
    const parts = view(request, this.settings.rules)
    try {
      const instance = this.instance ?? this.revive()
      const place = instance.check(parts, now)
      if (place === IDENTITY) {
        const verdict = instance.identity(accepted)
        this.stats.accepted++
        return verdict
      }
      if (place === OPEN || place === ANONYMOUS) {
        this.stats.passed++
        return place === OPEN ? this.outcomes.open : this.outcomes.anonymous
      }
      return this.reject(place)
    } catch {
      return this.trapped()
    }
  }

  reject(place) {
    const outcome = this.outcomes.rejection(place, this.instance)
    const { code } = outcome.rejection
    const { rejected } = this.stats
    rejected[code] = (rejected[code] ?? 0) + 1
    return outcome
  }

  /** An instance that trapped may be in any state: nobody passes, and the next one begins anew. */
  trapped() {
    this.stats.traps++
    this.instance = null
    try {
      this.revive()
    } catch {
      // Then at the next request.
    }
    return this.reject(KEYS_UNAVAILABLE)
  }

  revive() {
    const instance = this.make()
    this.revived?.(instance)
    this.instance = instance
    return instance
  }

  /** A new instance with the whole configuration. */
  make() {
    if (this.module === null) throw new Error('closed')
    const instance = new Instance(this.module)
    for (const { key, field, value, number } of this.settings.plan) {
      const wrong = instance.set(field, value, number)
      if (wrong !== null) throw new ConfigurationError('refused', key, wrong)
    }
    instance.set(FIELD.done)
    return instance
  }

  close() {
    for (const { value } of this.settings.plan) if (value instanceof Uint8Array) value.fill(0)
    this.settings.plan.length = 0
    this.instance = null
    this.module = null
  }
}

/** The time that a caller gave, or the clock's. A wrong one is the program's mistake, not the token's. */
export function time(options) {
  const now = options?.now
  if (now === undefined) return clock()
  if (typeof now !== 'number' || !(now >= 0)) throw new TypeError('now: Unix seconds are wanted')
  return Math.floor(now)
}
