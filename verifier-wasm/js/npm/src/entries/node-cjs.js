import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { host } from '@core'

let module
host.compile = () => (module ??= new WebAssembly.Module(readFileSync(join(__dirname, WASM_FILE))))
host.module = async () => host.compile()
host.timers = true

export * from '@public'
