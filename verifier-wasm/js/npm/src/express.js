// Middleware for Express, and for node:http without it.

/** Turns away what the verifier rejects; the identity is at `req.identity`. */
export function seamless(verifier) {
  return (req, res, next) => {
    // On every way out, a rejection included: an error handler may look at headers, too.
    strip(req, verifier)
    req.identity = null
    verifier.check(req).then(result => {
      if (!result.ok) return answer(res, result.rejection)
      if (result.outcome === 'identity') {
        for (const [name, value] of Object.entries(result.identity.headers)) {
          req.headers[name] = value
          req.rawHeaders.push(name, value)
        }
        req.identity = result.identity
      }
      next()
    }).catch(error => next(error))
  }
}

function answer(res, { status, message, headers }) {
  res.statusCode = status
  const names = new Map()
  for (const [name, value] of headers) names.set(name, [...(names.get(name) ?? []), value])
  for (const [name, values] of names) res.setHeader(name, values.length === 1 ? values[0] : values)
  res.end(message + '\n')
}

function strip(req, verifier) {
  const { rawHeaders } = req
  // First of all: Node makes both from `rawHeaders` when they are asked for, by a count that it took before.
  const all = [req.headers, req.headersDistinct ?? {}]
  for (const headers of all) {
    for (const name of Object.keys(headers)) if (verifier.isIdentityHeader(name)) delete headers[name]
  }
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    if (verifier.isIdentityHeader(rawHeaders[i])) rawHeaders.splice(i, 2)
  }
}
