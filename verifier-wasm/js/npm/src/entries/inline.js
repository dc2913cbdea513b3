// For browsers, bundlers, Deno and Bun: the module inside, so that nothing has to be found or allowed.

import { host } from '@core'
import { isBrowser } from '../checks.js'
import base64 from '@wasm'

let bytes
let module
const decode = () => (bytes ??= Uint8Array.from(atob(base64), character => character.charCodeAt(0)))

host.compile = () => (module ??= new WebAssembly.Module(decode()))
host.module = async () => (module ??= await WebAssembly.compile(decode()))
host.background = globalThis.navigator?.userAgent !== 'Cloudflare-Workers'
host.timers = host.background && !isBrowser()

export * from '@public'
