// Makes the package's folder: node build.mjs FULL SLIM OUT, called by `cargo xtask wasm`.
//
// FULL has verifier.wasm and SLIM has hmac.wasm, bound and optimised. SEAMLESS_BUILD is the folder whose node_modules has
// esbuild. OUT is emptied.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const [full, slim, out] = process.argv.slice(2).map(folder => resolve(folder))
const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '../../..')
if (out === undefined || !process.env.SEAMLESS_BUILD) {
  console.error('usage: SEAMLESS_BUILD=FOLDER node build.mjs FULL SLIM OUT')
  process.exit(2)
}
const esbuild = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')

rmSync(out, { recursive: true, force: true })
mkdirSync(join(out, 'dist'), { recursive: true })
mkdirSync(join(out, 'bin'), { recursive: true })
cpSync(join(full, 'verifier.wasm'), join(out, 'dist/verifier.wasm'))
cpSync(join(slim, 'hmac.wasm'), join(out, 'dist/hmac.wasm'))

const src = join(here, 'src')
const ENTRIES = [
  ['', 'verifier.js', 'entries/public.js', 'verifier.wasm'],
  ['hmac-', 'hmac.js', 'entries/public-hmac.js', 'hmac.wasm']
]
const FORMS = [
  ['node.js', 'entries/node.js', 'esm'],
  ['node.cjs', 'entries/node-cjs.js', 'cjs'],
  ['inline.js', 'entries/inline.js', 'esm'],
  ['inline.cjs', 'entries/inline.js', 'cjs'],
  ['workerd.js', 'entries/workerd.js', 'esm']
]
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
// One version for all that is built here.
const [, version] = /\[workspace\.package\]\nversion = "([^"]+)"/.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))
const manifest = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
writeFileSync(join(out, 'package.json'), JSON.stringify({ ...manifest, version }, null, 2) + '\n')

async function bundle(options) {
  await esbuild.build({
    bundle: true,
    minify: true,
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
