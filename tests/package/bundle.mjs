// Bundles bundled.mjs as people do: `bundle.mjs PROJECT`, then runs what can run in Node.
// SEAMLESS_BUILD has esbuild, SEAMLESS_NPM has Vite, playwright-core opens what Vite made.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:http'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const project = process.argv[2]
const from = folder => createRequire(join(process.env[folder], 'package.json'))
const { build } = from('SEAMLESS_BUILD')('esbuild')

for (const [platform, format] of [['node', 'esm'], ['node', 'cjs'], ['neutral', 'esm']]) {
  const outfile = join(project, `bundle-${platform}.${format === 'esm' ? 'mjs' : 'cjs'}`)
  // With conditions of its own, even none, esbuild leaves `module` out, by which bundlers find the inlined copy.
  const more = platform === 'neutral' ? { conditions: ['module'] } : {}
  await build({ entryPoints: [join(project, 'bundled.mjs')], outfile, bundle: true, platform, format, logLevel: 'error', ...more })
  assert.match(said(outfile), /^bundled: ok ada$/m, `esbuild, ${platform} ${format}`)
  console.log(`ok: esbuild, ${platform} ${format}`)
}

const vite = await import(pathToFileURL(from('SEAMLESS_NPM').resolve('vite')))
writeFileSync(join(project, 'index.html'), '<!doctype html><title>x</title><body><script type="module" src="/bundled.mjs"></script>')
await vite.build({ root: project, configFile: false, logLevel: 'error', build: { outDir: 'vite', target: 'es2022' } })
const executablePath = process.env.SEAMLESS_CHROMIUM ?? '/usr/bin/chromium'
if (existsSync(executablePath) || process.env.CI === 'true') {
  assert.equal(await shown(join(project, 'vite')), 'bundled: ok ada')
  console.log('ok: Vite, in Chromium')
} else {
  console.log('ok: Vite; not run, there is no Chromium')
}

function said(file) {
  return execFileSync(process.execPath, [file], { encoding: 'utf8', cwd: '/' })
}

async function shown(folder) {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' }
  const server = createServer((request, response) => {
    const path = request.url === '/' ? '/index.html' : request.url
    try {
      response.setHeader('content-type', types[extname(path)] ?? 'text/plain')
      response.end(readFileSync(join(folder, path)))
    } catch {
      response.writeHead(404).end()
    }
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { chromium } = from('SEAMLESS_NPM')('playwright-core')
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${server.address().port}/`)
    await page.waitForFunction(() => document.body.textContent.includes('bundled'), null, { timeout: 30_000 })
    return await page.evaluate(() => document.body.textContent)
  } finally {
    await browser.close()
    server.close()
  }
}
