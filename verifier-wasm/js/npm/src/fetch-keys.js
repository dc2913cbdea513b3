// One GET for a JWKS: no redirects, 64 KiB, a time limit. What the answer means, the core decides.

import { KeysUnavailableError } from './errors.js'
import { isBrowser } from './checks.js'

const MOST = 65536

/** `{ status, body, etag, maxAge, age }`, the ages in seconds or -1. */
export async function fetchKeys({ url, fetch = globalThis.fetch }, etag, seconds) {
  const signal = AbortSignal.timeout(seconds * 1000)
  const headers = { accept: 'application/json' }
  const init = { headers, redirect: 'manual', signal }
  if (isBrowser()) Object.assign(init, { cache: 'no-store', credentials: 'omit' })
  // In a browser it would be asked about by a preflight, which a server of static keys doesn't answer.
  else if (etag !== '') headers['if-none-match'] = etag
  const response = await fetch.call(globalThis, url, init)
  const header = name => response.headers.get(name) ?? ''
  const answer = {
    status: response.status,
    body: new Uint8Array(0),
    etag: header('etag'),
    maxAge: maxAge(header('cache-control')),
    age: /^\d{1,9}$/.test(header('age').trim()) ? Number(header('age')) : -1
  }
  // Nobody reads an error's body, and leaving it open holds the connection.
  if (response.status !== 200) await response.body?.cancel()
  else answer.body = await read(response)
  return answer
}

async function read(response) {
  const reader = response.body?.getReader()
  if (reader === undefined) return new Uint8Array(0)
  const parts = []
  let length = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > MOST) {
      await reader.cancel()
      throw new KeysUnavailableError('the answer is over 64 KiB')
    }
    parts.push(value)
  }
  const body = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    body.set(part, at)
    at += part.length
  }
  return body
}

function maxAge(cacheControl) {
  if (/(?:^|[\s,])no-(?:store|cache)(?:$|[\s,])/i.test(cacheControl)) return 0
  const found = /(?:^|[\s,])max-age\s*=\s*"?(\d{1,9})/i.exec(cacheControl)
  return found === null ? -1 : Number(found[1])
}
