// Bundles worker.mjs for workerd or page.mjs for browsers: `bundle.mjs worker|page PROJECT OUT_FOLDER`.
// SEAMLESS_BUILD is the folder whose node_modules has esbuild; PROJECT has the package installed and vectors.json.
import { copyFileSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'

const { build } = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')
const [, , what, project, out] = process.argv
mkdirSync(out, { recursive: true })
await build({
  entryPoints: [join(project, `${what}.mjs`)],
  outfile: join(out, `${what}.js`),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  conditions: what === 'worker' ? ['workerd', 'worker'] : ['browser'],
  plugins: [
    {
      // workerd takes WebAssembly as a module of its own, beside the script.
      name: 'wasm-modules',
      setup(build) {
        build.onResolve({ filter: /\.wasm$/ }, ({ path, resolveDir }) => {
          const name = basename(path)
          copyFileSync(join(resolveDir, path), join(out, name))
          return { path: `./${name}`, external: true }
        })
      },
    },
  ],
})
