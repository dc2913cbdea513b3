// What a cold instance costs: compile and instantiate, and the bytes to load, beside biscuit-wasm and jose's bundle.
//
// Environment: SEAMLESS_FULL_WASM, SEAMLESS_SLIM_WASM (files of the package), SEAMLESS_NPM and SEAMLESS_BUILD (folders
// that hold node_modules with the others, and with esbuild).
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { compare, count } from './meter.mjs'

const peers = createRequire(join(process.env.SEAMLESS_NPM, 'package.json'))
const { buildSync } = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')

const full = readFileSync(process.env.SEAMLESS_FULL_WASM)
const slim = readFileSync(process.env.SEAMLESS_SLIM_WASM)
const biscuit = readFileSync(onlyWasm(join(process.env.SEAMLESS_NPM, 'node_modules/@biscuit-auth/biscuit-wasm')))
const [bundle] = buildSync({
  stdin: {
    contents: `export { jwtVerify, importJWK, createLocalJWKSet } from ${JSON.stringify(peers.resolve('jose'))}`,
    resolveDir: process.env.SEAMLESS_NPM,
  },
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'jose',
  platform: 'browser',
  conditions: ['workerd', 'browser'],
  write: false,
}).outputFiles
const jose = bundle.text

let serial = 0
const wasm = (name, bytes) => ({ name, run: () => instantiate(bytes) })
const ours = wasm('start an instance: full', full)
await compare(ours, wasm('`biscuit-wasm`', biscuit))
await compare(ours, { name: "`jose`'s bundle (jwtVerify and key sets), evaluated", run: evaluate })
await compare(wasm('start an instance: slim', slim), { name: "`jose`'s bundle (jwtVerify and key sets), evaluated", run: evaluate })

const zipped = bytes => gzipSync(bytes, { level: 9 }).length / 1024
count('size of the full module, gzip', zipped(full), 'KiB')
count('size of the slim module, gzip', zipped(slim), 'KiB')
count('size of `biscuit-wasm`, gzip', zipped(biscuit), 'KiB')
count("size of `jose`'s bundle, gzip", zipped(jose), 'KiB')

/** Compiles and instantiates; imports do nothing, since nothing is called. */
function instantiate(bytes) {
  const module = new WebAssembly.Module(fresh(bytes))
  const imports = {}
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== 'function') throw new Error(`${from}.${name} is a ${kind}`)
    ;(imports[from] ??= {})[name] = () => 0
  }
  return new WebAssembly.Instance(module, imports) instanceof WebAssembly.Instance
}

function evaluate() {
  // V8 remembers what it compiled by its text.
  new Script(`${jose}\n//${serial++}`).runInThisContext()
  return true
}

/** The module with a custom section that no other has: V8 shares what it compiled by its bytes. */
function fresh(bytes) {
  const name = Buffer.from(`n${String(serial++).padStart(9, '0')}`)
  return Buffer.concat([bytes, Buffer.from([0, name.length + 1, name.length]), name])
}

function onlyWasm(folder) {
  const found = readdirSync(folder, { recursive: true }).filter(name => name.endsWith('.wasm'))
  if (found.length === 0) throw new Error(`no .wasm in ${folder}`)
  return join(folder, found[0])
}
