// Requests as the core wants them. Nothing is judged here.

/** Whether an inbound header could pass for one of ours: `_` counts as `-`, as servers behind read it. */
export function isIdentityHeader(name) {
  return /^x[-_]seamless[-_]/i.test(name)
}

/** How a runtime hands out the headers of a Fetch request: each byte as a character, or, as workerd does, as UTF-8. */
export const runtime = { utf8Headers: false }

const encoder = new TextEncoder()

/**
 * The parts of a request that count. Of several `Authorization` headers the first, and how many: Node drops the second
 * from `headers`, so it is counted in `rawHeaders`; Fetch joins them with a comma, which the core refuses.
 */
export function view(request, rules) {
  const found = { method: '', authority: '', path: null, authorization: '', count: 0 }
  if (Array.isArray(request.rawHeaders)) fromNode(found, request, rules)
  else if (typeof request.headers?.get === 'function') fromFetch(found, request, rules)
  else fromParts(found, request, rules)
  return found
}

function fromNode(found, request, rules) {
  const { rawHeaders } = request
  let hosts = 0
  let host = ''
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name.length === 13 && name.toLowerCase() === 'authorization') credentials(found, rawHeaders[i + 1])
    // A second host is what smuggles a request past rules; with HTTP/2 it may stand beside its own twin.
    else if (name === ':authority' || (name.length === 4 && name.toLowerCase() === 'host')) {
      if (hosts === 0 || host !== rawHeaders[i + 1]) hosts++
      host = rawHeaders[i + 1]
    }
  }
  if (!rules) return
  found.method = request.method ?? ''
  found.authority = hosts > 1 ? ',' : host
  // Express cuts the mount point off.
  const path = typeof request.url === 'string' ? (request.baseUrl ?? '') + request.url : null
  found.path = path
}

function fromFetch(found, request, rules) {
  const value = request.headers.get('authorization')
  if (value !== null && value !== undefined) credentials(found, runtime.utf8Headers ? bytes(value) : value)
  if (!rules) return
  found.method = String(request.method ?? '')
  const url = typeof request.url === 'string' ? request.url : request.path
  if (typeof url !== 'string') return
  const scheme = url.indexOf('://')
  if (scheme < 0 || url[0] === '/') {
    found.authority = String(request.authority ?? request.headers.get('host') ?? '')
    found.path = cut(url)
    return
  }
  const slash = url.indexOf('/', scheme + 3)
  // Fetch writes every URL out with a path.
  found.authority = slash < 0 ? '' : url.slice(scheme + 3, slash)
  found.path = slash < 0 ? null : cut(url.slice(slash))
}

/** The bytes that were sent, each as a character. What was no UTF-8 is lost, and no signature holds over what came of it. */
function bytes(value) {
  if (/^[\0-\x7f]*$/.test(value)) return value
  let out = ''
  for (const byte of encoder.encode(value)) out += String.fromCharCode(byte)
  return out
}

function fromParts(found, request, rules) {
  let hosts = 0
  let host = ''
  for (const [name, values] of pairs(request.headers)) {
    const wanted = String(name).toLowerCase()
    if (wanted !== 'authorization' && wanted !== 'host') continue
    for (const value of Array.isArray(values) ? values : [values]) {
      if (value === undefined || value === null) continue
      if (wanted === 'authorization') credentials(found, value)
      else {
        hosts++
        host = String(value)
      }
    }
  }
  if (!rules) return
  found.method = String(request.method ?? '')
  found.authority = request.authority === undefined ? (hosts > 1 ? ',' : host) : String(request.authority)
  found.path = request.path === undefined || request.path === null ? null : String(request.path)
}

function credentials(found, value) {
  found.count++
  if (found.count > 1) return
  if (typeof value === 'string') found.authorization = value
  // No header has such a value.
  else found.count = 2
}

function pairs(headers) {
  if (headers === undefined || headers === null) return []
  return typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers)
}

/** A fragment never reaches a server. */
function cut(path) {
  const hash = path.indexOf('#')
  return hash < 0 ? path : path.slice(0, hash)
}

/** The request to hand on. */
export function forward(request, result) {
  if (result?.ok !== true) throw new TypeError('a request that was rejected is not to be forwarded')
  // Changed in the copy: Bun takes no notice of an empty set of headers in `init`, and the inbound ones would stay.
  const next = new Request(request)
  for (const name of [...next.headers.keys()]) if (isIdentityHeader(name)) next.headers.delete(name)
  if (result.outcome === 'identity') {
    for (const [name, value] of Object.entries(result.identity.headers)) next.headers.set(name, value)
  }
  return next
}
