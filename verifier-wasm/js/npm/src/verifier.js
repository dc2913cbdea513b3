import { Judge, time } from './judge.js'
import { Keys } from './keys.js'
import { ConfigurationError } from './errors.js'
import { FIELD } from './module.js'
import { read } from './options.js'
import { forward, isIdentityHeader } from './request.js'

export { ConfigurationError, KeysUnavailableError } from './errors.js'

/**
 * Where we run; each entry point fills it in. `module()` is the compiled module or a promise of it, `compile()` one at
 * once; `background`: fetches may outlive a request; `timers`: the process does.
 */
export const host = { module: undefined, compile: undefined, background: true, timers: false }

const MAKE = Symbol('make')

export class Verifier {
  #judge
  #keys = null

  constructor(make, settings, module) {
    if (make !== MAKE) throw new TypeError('use Verifier.create, Verifier.createSync or Verifier.lazy')
    const seed = crypto.getRandomValues(new Uint8Array(32))
    const plan = [{ key: 'seed', field: FIELD.seed, value: seed }, ...settings.plan]
    this.#judge = new Judge({ ...settings, plan }, module)
    if (settings.upkeep !== null) this.#keys = new Keys(this.#judge, settings.upkeep, host)
  }

  static async create(options) {
    const settings = read(options)
    const verifier = new Verifier(MAKE, settings, await host.module())
    await verifier.#keys?.begin()
    return verifier
  }

  static createSync(options, module) {
    const settings = read(options)
    if (settings.upkeep !== null && !settings.upkeep.allowStale) {
      throw new ConfigurationError('conflict', 'jwksUrl', 'keys can\'t be fetched at once: use Verifier.create, or Verifier.lazy')
    }
    return new Verifier(MAKE, settings, module ?? host.compile())
  }

  static lazy(options) {
    return new LazyVerifier(options)
  }

  verify(token, options) {
    const now = time(options)
    const verdict = this.#open().verify(token, now)
    if (this.#keys !== null) this.#upkeep(verdict, now, options)
    return verdict
  }

  verifyRequest(request, options) {
    const now = time(options)
    const outcome = this.#open().check(request, now)
    if (this.#keys !== null) this.#upkeep(outcome, now, options)
    return outcome
  }

  async check(request, context) {
    const now = time(context)
    const judge = this.#open()
    const keys = this.#keys
    if (keys === null) return judge.check(request, now)
    try {
      await keys.tend(now, context)
    } catch (error) {
      if (error instanceof ConfigurationError) throw error
      // An instance that trapped over keys: judge by a new one.
      judge.trapped()
    }
    const outcome = judge.check(request, now)
    if (outcome.ok || outcome.rejection.code !== 'unknown_key') return outcome
    keys.due = 0
    return await keys.again(now, context) ? judge.check(request, now) : outcome
  }

  forward(request, result) {
    return forward(request, result)
  }

  isIdentityHeader(name) {
    return isIdentityHeader(name)
  }

  async refresh(context) {
    this.#open()
    await this.#keys?.refresh(context)
  }

  setRevocations(revocations) {
    const judge = this.#open()
    const value = typeof revocations === 'string' ? revocations : JSON.stringify(revocations)
    const instance = judge.instance ?? judge.revive()
    const wrong = instance.set(FIELD.revocations, value ?? '')
    if (wrong !== null) throw new ConfigurationError('refused', 'revocations', wrong)
    const { plan } = judge.settings
    const last = plan.findIndex(step => step.field === FIELD.revocations)
    if (last >= 0) plan.splice(last, 1)
    plan.push({ key: 'revocations', field: FIELD.revocations, value })
  }

  get stats() {
    const { stats, instance } = this.#open()
    return { ...stats, rejected: { ...stats.rejected }, remembered: instance?.wasm.remembered() ?? 0 }
  }

  close() {
    this.#keys?.close()
    this.#judge?.close()
    this.#judge = null
    this.#keys = null
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return `Verifier { realm: ${JSON.stringify(this.#judge?.settings.realm ?? 'closed')} }`
  }

  #open() {
    if (this.#judge === null) throw new Error('the verifier is closed')
    return this.#judge
  }

  #upkeep(outcome, now, options) {
    const keys = this.#keys
    if (!outcome.ok && outcome.rejection.code === 'unknown_key') keys.due = 0
    if (now >= keys.due) keys.nudge(now, options)
  }
}

/** Comes to life in the first request: global scope in Workers has no fetch, no timers, no randomness and no clock. */
export class LazyVerifier {
  #options
  #settings = null
  #verifier = null

  constructor(options) {
    this.#options = options
    // A wrong configuration is found where it stands, unless it depends on the environment.
    if (typeof options !== 'function') this.#settings = read(options)
  }

  async check(request, context) {
    return this.#wake(context?.env).check(request, context)
  }

  forward(request, result) {
    return forward(request, result)
  }

  isIdentityHeader(name) {
    return isIdentityHeader(name)
  }

  setRevocations(revocations) {
    this.#wake().setRevocations(revocations)
  }

  get stats() {
    return this.#verifier?.stats ?? { accepted: 0, passed: 0, rejected: {}, traps: 0, remembered: 0 }
  }

  #wake(env) {
    // All at once: no second request can come between.
    this.#verifier ??= new Verifier(MAKE, this.#settings ?? read(this.#options(env)), host.compile())
    return this.#verifier
  }
}
