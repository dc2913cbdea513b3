// The Worker's script around the module. A module that trapped may be in any state: what it was at is answered 503, and the
// next request gets a new instance. No request passes it unverified.

import make from '@glue'
import module from '@wasm-module'

/** The glue of the living instance, or null. */
let glue = null
/** Ends each request that the instance is at. */
const open = new Set()

addEventListener('error', event => {
  if (event.error instanceof WebAssembly.RuntimeError) replace()
})

export default {
  async fetch(request, env, ctx) {
    const ended = Promise.withResolvers()
    open.add(ended)
    try {
      glue ??= instance()
      return await Promise.race([glue.fetch(request, env, ctx), ended.promise]) ?? unavailable()
    } catch (error) {
      console.error(`seamless: error: ${error instanceof WebAssembly.RuntimeError ? 'the module trapped' : error}`)
      if (error instanceof WebAssembly.RuntimeError) replace()
      return unavailable()
    } finally {
      open.delete(ended)
    }
  }
}

function instance() {
  const made = make(name => {
    throw new Error(`${name} is not used here`)
  })
  made.initSync({ module })
  return made
}

function replace() {
  glue = null
  for (const ended of open) ended.resolve(null)
}

function unavailable() {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }
  return new Response('verification keys unavailable\n', { status: 503, headers })
}
