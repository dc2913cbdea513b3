// Makes the page's folder: node build.mjs PACKAGE OUT, called by `cargo xtask wasm`.
//
// PACKAGE is the npm package's folder. SEAMLESS_BUILD is the folder whose node_modules has esbuild. OUT can be served as it is.

import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const [pkg, out] = process.argv.slice(2).map(folder => resolve(folder))
if (out === undefined || !process.env.SEAMLESS_BUILD) {
  console.error('usage: SEAMLESS_BUILD=FOLDER node build.mjs PACKAGE OUT')
  process.exit(2)
}
const here = dirname(fileURLToPath(import.meta.url))
const esbuild = createRequire(join(process.env.SEAMLESS_BUILD, 'package.json'))('esbuild')

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
for (const file of ['index.html', 'style.css']) cpSync(join(here, file), join(out, file))
// As in a user's project, so that the package's exports map is what finds the files.
const modules = mkdtempSync(join(tmpdir(), 'seamless-page-'))
mkdirSync(join(modules, '@seamless-auth'))
symlinkSync(pkg, join(modules, '@seamless-auth/verifier'))
try {
  await esbuild.build({
    absWorkingDir: here,
    entryPoints: ['page.js'],
    outfile: join(out, 'page.js'),
    nodePaths: [modules],
    preserveSymlinks: true,
    conditions: ['browser'],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    legalComments: 'none',
    charset: 'utf8',
    logLevel: 'warning'
  })
} finally {
  rmSync(modules, { recursive: true, force: true })
}
