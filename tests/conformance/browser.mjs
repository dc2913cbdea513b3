// Opens the bundled page.mjs in headless Chromium and prints its lines: `browser.mjs BUNDLE.js`.
// SEAMLESS_NPM is the folder whose node_modules has playwright-core.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { chromium } = createRequire(join(process.env.SEAMLESS_NPM, 'package.json'))('playwright-core')
const browser = await chromium.launch({
  executablePath: process.env.SEAMLESS_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run'],
})
try {
  const page = await browser.newPage()
  const errors = []
  page.on('pageerror', error => errors.push(error))
  await page.setContent('<!doctype html><title>vectors</title>')
  await page.addScriptTag({ type: 'module', content: readFileSync(process.argv[2], 'utf8') })
  await page.waitForFunction(() => globalThis.verdicts, null, { timeout: 60_000 })
  if (errors.length > 0) throw errors[0]
  for (const line of await page.evaluate(() => globalThis.verdicts)) console.log(line)
} finally {
  await browser.close()
}
