// Bundles the Workers that are measured: a folder each, with worker.js and the modules it imports.
//
// usage: node workers.mjs OUT_FOLDER
// Environment: SEAMLESS_PACKAGE_FOLDER, a folder whose node_modules has @seamless-auth/verifier; SEAMLESS_NPM and
// SEAMLESS_BUILD, folders that hold node_modules with jose, and with esbuild.
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const { build } = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')
const sources = join(dirname(fileURLToPath(import.meta.url)), 'workers')
const out = process.argv.slice(2).find(word => !word.startsWith('--'))

for (const file of readdirSync(sources)) {
  const folder = join(out, basename(file, '.js'))
  mkdirSync(folder, { recursive: true })
  await build({
    stdin: { contents: readFileSync(join(sources, file), 'utf8'), resolveDir: sources },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    conditions: ['workerd', 'worker', 'browser'],
    nodePaths: [join(process.env.SEAMLESS_PACKAGE_FOLDER, 'node_modules'), join(process.env.SEAMLESS_NPM, 'node_modules')],
    outfile: join(folder, 'worker.js'),
    plugins: [modules(folder)],
  })
}

/** workerd takes WebAssembly as a module of its own, beside the script. */
function modules(folder) {
  return {
    name: 'wasm-modules',
    setup(build) {
      build.onResolve({ filter: /\.wasm$/ }, ({ path, resolveDir }) => {
        const name = basename(path)
        copyFileSync(join(resolveDir, path), join(folder, name))
        return { path: `./${name}`, external: true }
      })
    },
  }
}
