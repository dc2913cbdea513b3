// The vectors, against whatever exports what @seamless-auth/verifier exports. Runs in every JavaScript runtime: no file, no
// process, no import.
//
// Each case becomes one line: { suite, case, got, subject? }. What is right, the harness knows; here nothing is compared,
// but for what can only be seen here (headers and bodies), which becomes part of `got`.

/**
 * Runs all suites over `vectors`, an object of parsed files by their names, and hands every line to `print`.
 *
 * `secrets: false` is for browsers, where a shared secret is refused: what needs one is left out.
 */
export function run({ Verifier }, vectors, print, { secrets = true } = {}) {
  const suites = { seamless, chap, jwt, keys, authorization, identity, strip, answers, rules, refused, paths, prefixes }
  for (const [suite, cases] of Object.entries(suites)) {
    for (const [name, got, subject] of cases(Verifier, vectors, secrets)) {
      print({ suite, case: String(name), got, ...(subject === undefined ? {} : { subject }) })
    }
  }
}

/** The suites that the slim build has: the format `seamless` alone. */
export function runSlim({ Verifier }, vectors, print) {
  for (const [name, got, subject] of seamless(Verifier, vectors)) {
    print({ suite: 'seamless', case: name, got, ...(subject === undefined ? {} : { subject }) })
  }
}

function* seamless(Verifier, { 'seamless-v1': file }, secrets = true) {
  if (!secrets) return
  for (const { name, token, secrets, digest, now, max_age: maxAge } of file.cases) {
    const verifier = Verifier.createSync({ realm: 'corp', secrets, digest, maxAge, leeway: file.leeway, allowShortSecrets: true })
    yield [name, ...verdict(verifier.verify(token, { now }))]
    verifier.close()
  }
}

function* chap(Verifier, { chap: file }, secrets = true) {
  if (!secrets) return
  for (const { name, token, secrets, now } of file.cases) {
    const list = secrets.map(value => ({ value, purpose: 'chap' }))
    const verifier = Verifier.createSync({ realm: 'corp', secrets: list, allowShortSecrets: true })
    yield [name, ...verdict(verifier.verify(token, { now }))]
    verifier.close()
  }
}

function* jwt(Verifier, { jwt: file }) {
  for (const { name, token, now, policy, revoked } of file.cases) {
    const { issuer, audience, leeway, scope } = policy
    const verifier = Verifier.createSync({ realm: 'corp', jwks: file.jwks, issuer, audience, leeway, scope })
    if (revoked) verifier.setRevocations(revoked)
    yield [name, ...verdict(verifier.verify(token, { now }))]
    verifier.close()
  }
}

/** Key sets: those of Wycheproof, the private halves and shared secrets among them, which must never load. */
function* keys(Verifier, vectors) {
  const { 'wycheproof/json_web_signature_test': jws, 'wycheproof/json_web_key_test': jwk } = vectors
  for (const [file, { testGroups }] of [['jws', jws], ['jwk', jwk]]) {
    for (const [i, group] of testGroups.entries()) {
      for (const half of ['public', 'private']) {
        if (!group[half]) continue
        const verifier = withKeys(Verifier, group[half])
        yield [`${file} ${i} ${half} ${group.comment}`, verifier === null ? 'refused' : 'loaded']
        verifier?.close()
      }
    }
  }
}

/** Null where the set is refused. */
function withKeys(Verifier, set) {
  const jwks = Array.isArray(set.keys) ? set : { keys: [set] }
  try {
    return Verifier.createSync({ realm: 'corp', jwks, issuer: 'https://login.example/corp', audience: 'https://api.example' })
  } catch (error) {
    if (error.name !== 'ConfigurationError') throw error
    return null
  }
}

function* authorization(Verifier, { headers: file }, secrets) {
  const { verifier, now } = made(Verifier, file, secrets)
  for (const { name, authorization, verdict: wanted } of file.authorization) {
    if (!secrets && wanted !== 'bad_authorization' && !authorization.join().includes(' eyJ')) continue
    // As Node has them: every value by itself, each character a byte.
    const rawHeaders = authorization.flatMap(value => ['Authorization', value])
    const request = { method: 'GET', url: '/', rawHeaders, headers: {} }
    yield [name, ...verdict(verifier.verifyRequest(request, { now }))]
  }
}

function* identity(Verifier, { headers: file }, secrets) {
  const { verifier, now } = made(Verifier, file, secrets)
  for (const { name, token } of file.identity) {
    if (!secrets && !token.startsWith('eyJ')) continue
    const result = verifier.verify(token, { now })
    yield [name, result.ok ? JSON.stringify(sorted(result.identity.headers)) : result.rejection.code]
  }
}

function* strip(Verifier, { headers: file }, secrets) {
  const { verifier } = made(Verifier, file, secrets)
  const passed = { ok: true, outcome: 'anonymous', identity: null }
  for (const { name } of file.strip) {
    let request
    try {
      request = new Request('https://api.example/', { headers: { [name]: 'mallory' } })
    } catch {
      // No name of a header in Fetch, so none can come in.
      yield [name, 'no header']
      continue
    }
    yield [name, verifier.forward(request, passed).headers.has(name) ? 'kept' : 'stripped']
  }
}

/** The answer that each rejection becomes. Codes that only time, state or policy bring about are made to happen. */
function* answers(Verifier, { headers: file, jwt: tokens }, secrets) {
  const { verifier, now } = made(Verifier, file, secrets)
  const rejections = new Map()
  const keep = result => {
    if (!result.ok) rejections.set(result.rejection.code, result.rejection)
  }
  keep(verifier.verifyRequest({ method: 'GET', url: '/', rawHeaders: [], headers: {} }, { now }))
  for (const { authorization } of file.authorization) {
    const rawHeaders = authorization.flatMap(value => ['Authorization', value])
    keep(verifier.verifyRequest({ method: 'GET', url: '/', rawHeaders, headers: {} }, { now }))
  }
  for (const { token, now: then, policy, revoked } of tokens.cases) {
    const { issuer, audience, leeway, scope } = policy
    const one = Verifier.createSync({ realm: 'corp', jwks: tokens.jwks, issuer, audience, leeway, scope })
    if (revoked) one.setRevocations(revoked)
    keep(one.verify(token, { now: then }))
    one.close()
  }
  const ruled = made(Verifier, file, secrets, { rules: [] }).verifier
  keep(ruled.verifyRequest({ method: 'GET', url: '//', rawHeaders: [], headers: {} }, { now }))
  for (const [code, { status, message, skew }] of [...rejections].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const response = rejections.get(code).toResponse()
    const answer = { status, message, skew: skew !== undefined, sent: response.status }
    if (status === 401 || status === 403) answer.challenges = response.headers.get('www-authenticate')
    yield [code, JSON.stringify(answer)]
  }
}

function* rules(Verifier, { rules: file }, secrets) {
  for (const { name: set, rules: json, requests } of file.sets) {
    const { verifier, now } = made(Verifier, file, secrets, json)
    for (const [i, { method, authority, path, token }] of requests.entries()) {
      if (!secrets && token === 'hmac') continue
      const headers = token === null ? [] : [['authorization', `Bearer ${file.tokens[token]}`]]
      const request = { method, scheme: 'https', authority, path, headers }
      yield [`${set} ${i} ${method} ${path}`, outcome(verifier.verifyRequest(request, { now }))]
    }
  }
}

/** Rules that must not load. */
function* refused(Verifier, { rules: file }, secrets) {
  for (const { name, rules: json } of file.refused) {
    try {
      made(Verifier, file, secrets, json)
      yield [name, 'loaded']
    } catch (error) {
      yield [name, error.name === 'ConfigurationError' ? 'refused' : String(error)]
    }
  }
}

function* paths(Verifier, { paths: file, rules: { verifier: settings } }, secrets) {
  const { verifier, now } = made(Verifier, { verifier: settings }, secrets, { rules: [{ path_prefix: '/', need: 'open' }] })
  for (const { path } of file.cases) {
    yield [path, outcome(verifier.verifyRequest({ method: 'GET', authority: 'api.example', path, headers: [] }, { now }))]
  }
}

function* prefixes(Verifier, { paths: file, rules: { verifier: settings } }, secrets) {
  for (const { path, prefix } of file.prefixes) {
    const { verifier, now } = made(Verifier, { verifier: settings }, secrets, { rules: [{ path_prefix: prefix, need: 'open' }] })
    const request = { method: 'GET', authority: 'api.example', path, headers: [] }
    yield [`${path} below ${prefix}`, outcome(verifier.verifyRequest(request, { now }))]
    verifier.close()
  }
}

function made(Verifier, { verifier: settings }, secrets, rules) {
  const { realm, digest, max_age: maxAge, jwks, issuer, audience, leeway, now } = settings
  // The vectors ask for the audience of JWTs alone; a secret's tokens have those that the operator bound to it.
  const bound = settings.secrets.map(value => ({ value, audience }))
  const options = { realm, jwks, issuer, audience, leeway, ...(rules === undefined ? {} : { rules }) }
  if (secrets) Object.assign(options, { secrets: bound, digest, maxAge })
  return { verifier: Verifier.createSync(options), now }
}

function verdict(result) {
  return result.ok ? ['ok', result.identity.subject] : [result.rejection.code]
}

function outcome(result) {
  return result.ok ? result.outcome : result.rejection.code
}

function sorted(object) {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}
