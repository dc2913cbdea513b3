import { Judge, time } from './judge.js'
import { read } from './options.js'
import { forward, isIdentityHeader } from './request.js'

export { ConfigurationError } from './errors.js'

/** Where we run; each entry point fills it in. */
export const host = { module: undefined, compile: undefined }

const MAKE = Symbol('make')

/** Tokens of the `seamless` format, and nothing else. */
export class Verifier {
  #judge

  constructor(make, settings, module) {
    if (make !== MAKE) throw new TypeError('use Verifier.create or Verifier.createSync')
    this.#judge = new Judge(settings, module)
  }

  static async create(options) {
    return new Verifier(MAKE, read(options, { slim: true }), await host.module())
  }

  static createSync(options, module) {
    return new Verifier(MAKE, read(options, { slim: true }), module ?? host.compile())
  }

  verify(token, options) {
    return this.#open().verify(token, time(options))
  }

  verifyRequest(request, options) {
    return this.#open().check(request, time(options))
  }

  async check(request, options) {
    return this.verifyRequest(request, options)
  }

  forward(request, result) {
    return forward(request, result)
  }

  isIdentityHeader(name) {
    return isIdentityHeader(name)
  }

  get stats() {
    const { stats } = this.#open()
    return { ...stats, rejected: { ...stats.rejected } }
  }

  close() {
    this.#judge?.close()
    this.#judge = null
  }

  #open() {
    if (this.#judge === null) throw new Error('the verifier is closed')
    return this.#judge
  }
}
