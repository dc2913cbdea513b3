// Makes the package's folder: node build.mjs BINDGEN_DIR NODE_MODULES VERSION OUT
//
// BINDGEN_DIR has full_bg.wasm and slim_bg.wasm, and trap_bg.wasm (with the feature `trap`) if the tests are to see a trap;
// NODE_MODULES is the one of /package.json. OUT is emptied. Trap's module goes beside it, to OUT/../trap.wasm.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const [bindgen, modules, version, out] = process.argv.slice(2).map((word, i) => (i === 2 ? word : word && resolve(word)))
if (out === undefined) {
  console.error('usage: node build.mjs BINDGEN_DIR NODE_MODULES VERSION OUT')
  process.exit(2)
}
const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../../..')
const require = createRequire(join(modules, '..', 'package.json'))
const esbuild = require('esbuild')

rmSync(out, { recursive: true, force: true })
mkdirSync(join(out, 'dist'), { recursive: true })
mkdirSync(join(out, 'bin'), { recursive: true })

// By name: what `--all-features` writes, Node 20, Deno and Bun refuse.
const FEATURES = ['simd', 'bulk-memory', 'sign-ext', 'mutable-globals', 'nontrapping-float-to-int', 'multivalue', 'reference-types']
const STRIP = ['--strip-debug', '--strip-producers', '--strip-target-features']
for (const [from, to] of [['full', join(out, 'dist/seamless.wasm')], ['slim', join(out, 'dist/hmac.wasm')], ['trap', join(out, '../trap.wasm')]]) {
  const input = join(bindgen, `${from}_bg.wasm`)
  if (from === 'trap' && !existsSync(input)) continue
  const features = FEATURES.map(feature => `--enable-${feature}`)
  execFileSync(process.execPath, [join(modules, 'binaryen/bin/wasm-opt'), '-O3', ...features, ...STRIP, input, '-o', to], { stdio: 'inherit' })
}

const src = join(here, 'src')
const ENTRIES = [
  ['', 'verifier.js', 'entries/public.js', 'seamless.wasm'],
  ['hmac-', 'hmac.js', 'entries/public-hmac.js', 'hmac.wasm']
]
const FORMS = [
  ['node.js', 'entries/node.js', 'esm'],
  ['node.cjs', 'entries/node-cjs.js', 'cjs'],
  ['inline.js', 'entries/inline.js', 'esm'],
  ['inline.cjs', 'entries/inline.js', 'cjs'],
  ['workerd.js', 'entries/workerd.js', 'esm']
]
const sizes = {}
for (const [prefix, core, api, wasm] of ENTRIES) {
  for (const [name, entry, format] of FORMS) {
    const outfile = join(out, 'dist', prefix + name)
    await bundle({
      entryPoints: [join(src, entry)],
      outfile,
      format,
      define: { WASM_FILE: JSON.stringify(`./${wasm}`) },
      loader: { '.wasm': 'base64' },
      plugins: [{
        name: 'parts',
        setup(build) {
          build.onResolve({ filter: /^@core$/ }, () => ({ path: join(src, core) }))
          build.onResolve({ filter: /^@public$/ }, () => ({ path: join(src, api) }))
          build.onResolve({ filter: /^@wasm$/ }, () => ({ path: join(out, 'dist', wasm) }))
          build.onResolve({ filter: /^@wasm-module$/ }, () => ({ path: `./${wasm}`, external: true }))
        }
      }]
    })
  }
  const zipped = file => gzipSync(readFileSync(join(out, 'dist', file)), { level: 9 }).length
  sizes[wasm.replace('.wasm', '')] = zipped(wasm) + zipped(`${prefix}workerd.js`)
}
for (const name of ['hono', 'express', 'fetch']) {
  for (const [format, extension] of [['esm', 'js'], ['cjs', 'cjs']]) {
    await bundle({ entryPoints: [join(src, `${name}.js`)], outfile: join(out, 'dist', `${name}.${extension}`), format })
  }
}

for (const name of ['index', 'hmac', 'hono', 'express', 'fetch']) {
  const types = readFileSync(join(here, `${name}.d.ts`), 'utf8')
  writeFileSync(join(out, 'dist', `${name}.d.ts`), types)
  // For `require` the same types, under a name that says so, of each other.
  writeFileSync(join(out, 'dist', `${name}.d.cts`), types.replace(/'\.\/(\w+)\.js'/g, '\'./$1.cjs\''))
}
cpSync(join(here, 'bin/seamless-verify.mjs'), join(out, 'bin/seamless-verify.mjs'))
cpSync(join(here, 'README.md'), join(out, 'README.md'))
for (const licence of ['LICENSE-APACHE', 'LICENSE-MIT']) {
  if (existsSync(join(root, licence))) cpSync(join(root, licence), join(out, licence))
}
const manifest = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
writeFileSync(join(out, 'package.json'), JSON.stringify({ ...manifest, version }, null, 2) + '\n')
// wasm and the glue that goes with it, gzip -9: what the size budget is about.
console.log(JSON.stringify(sizes))

async function bundle(options) {
  await esbuild.build({
    bundle: true,
    minify: true,
    // Names in stack traces stay readable.
    keepNames: false,
    platform: 'neutral',
    target: 'es2022',
    external: ['node:*'],
    legalComments: 'none',
    charset: 'utf8',
    logLevel: 'warning',
    logOverride: { 'empty-import-meta': 'silent' },
    ...options
  })
}
