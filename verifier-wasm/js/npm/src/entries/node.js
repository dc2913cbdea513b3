import { readFileSync } from 'node:fs'
import { host } from '@core'

let module
host.compile = () => (module ??= new WebAssembly.Module(readFileSync(new URL(WASM_FILE, import.meta.url))))
host.module = async () => host.compile()
host.timers = true

export * from '@public'
