import { bytes, digest, known, name, secrets, seconds } from './checks.js'
import { ConfigurationError } from './errors.js'
import { Judge, time } from './judge.js'
import { FIELD } from './module.js'
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
    return new Verifier(MAKE, read(options), await host.module())
  }

  static createSync(options, module) {
    return new Verifier(MAKE, read(options), module ?? host.compile())
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

const KEYS = ['realm', 'secrets', 'digest', 'maxAge', 'leeway', 'allowShortSecrets']
const ELSEWHERE = ['audience', 'scope', 'issuer', 'jwks', 'jwksUrl', 'rules', 'revocations']

function read(options) {
  known(options, KEYS, ELSEWHERE)
  const plan = [{ key: 'realm', field: FIELD.realm, value: name(options, 'realm', 'the name in WWW-Authenticate, such as "corp"') }]
  const number = (key, least, most) => {
    if (options[key] !== undefined) plan.push({ key, field: FIELD[key], number: seconds(options, key, least, most) })
  }
  number('maxAge', 1, 86400)
  number('leeway', 0, 60)
  const list = secrets(options)
  if (list.length === 0 || list.length > 8) throw new ConfigurationError('missing', 'secrets', 'one is wanted, or up to 8')
  const hash = digest(options.digest, 'digest')
  list.forEach((entry, i) => {
    const key = `secrets[${i}]`
    plan.push({ key, field: FIELD.secret, value: bytes(entry, key, options), number: hash })
  })
  return { plan, realm: options.realm, rules: false }
}
