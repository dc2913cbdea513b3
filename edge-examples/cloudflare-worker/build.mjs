// Makes the Worker's folder: node build.mjs BOUND OUT, called by `cargo xtask wasm`.
//
// BOUND has worker.wasm and its glue worker.js, as wasm-bindgen writes them for the web. SEAMLESS_BUILD is the folder whose
// node_modules has esbuild. OUT gets shim.js, the Worker's script, and worker.wasm beside it. `wrangler deploy` does
// without this: it calls worker-build (wrangler.toml).

import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const [bound, out] = process.argv.slice(2).map(folder => resolve(folder))
if (out === undefined || !process.env.SEAMLESS_BUILD) {
  console.error('usage: SEAMLESS_BUILD=FOLDER node build.mjs BOUND OUT')
  process.exit(2)
}
const here = dirname(fileURLToPath(import.meta.url))
const esbuild = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
cpSync(join(bound, 'worker.wasm'), join(out, 'worker.wasm'))

// The glue keeps its instance in a variable of its own, so another instance needs the glue once more: a function of it.
const glue = await esbuild.build({
  ...common(),
  entryPoints: [join(bound, 'worker.js')],
  format: 'cjs',
  write: false,
  external: ['cloudflare:*']
})
await esbuild.build({
  ...common(),
  entryPoints: [join(here, 'shim.mjs')],
  outfile: join(out, 'shim.js'),
  format: 'esm',
  plugins: [{
    name: 'parts',
    setup(build) {
      build.onResolve({ filter: /^cloudflare:/ }, () => ({ external: true }))
      build.onResolve({ filter: /^@wasm-module$/ }, () => ({ path: './worker.wasm', external: true }))
      build.onResolve({ filter: /^@glue$/ }, () => ({ path: 'glue', namespace: 'glue' }))
      build.onLoad({ filter: /.*/, namespace: 'glue' }, () => ({
        contents: `export default (require, module = { exports: {} }) => {\n${glue.outputFiles[0].text}\nreturn module.exports\n}\n`
      }))
    }
  }]
})

function common() {
  return {
    bundle: true,
    minifySyntax: true,
    platform: 'neutral',
    target: 'es2022',
    legalComments: 'none',
    charset: 'utf8',
    logLevel: 'warning',
    logOverride: { 'empty-import-meta': 'silent' }
  }
}
