// Opens the built page in headless Chromium and uses it as a person does; answers with what was seen, a line of JSON a step.
//
// usage: page_peer.mjs FOLDER_OF_THE_PAGE < {"token", "issuer", "audience", "secret"}
// SEAMLESS_NPM is the folder whose node_modules has playwright-core; SEAMLESS_SHOTS, where pictures go, if anywhere.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'

const { chromium } = createRequire(join(process.env.SEAMLESS_NPM, 'package.json'))('playwright-core')
const [, , folder] = process.argv
const { token, issuer, audience } = JSON.parse(readFileSync(0, 'utf8'))
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' }

const served = []
const server = createServer((request, response) => {
  served.push(request.url)
  const name = request.url === '/' ? '/index.html' : request.url
  if (!TYPES[extname(name)] || name.includes('..')) return response.writeHead(404).end()
  response.writeHead(200, { 'content-type': TYPES[extname(name)] }).end(readFileSync(join(folder, name)))
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const address = `http://127.0.0.1:${server.address().port}/`

const browser = await chromium.launch({
  executablePath: process.env.SEAMLESS_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run'],
})
const say = (step, seen) => console.log(JSON.stringify({ step, ...seen }))

try {
  const context = await browser.newContext({ viewport: { width: 1100, height: 1000 } })
  const page = await context.newPage()
  const complaints = []
  const requests = []
  page.on('console', message => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('request', request => requests.push({ url: request.url(), headers: request.headers(), body: request.postData() }))
  await page.goto(address)
  await shot(page, 'empty')

  // By keyboard alone, from the top.
  await page.keyboard.press('Tab')
  const skip = await focused(page)
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  say('order', { skip, first: await focused(page) })
  await page.focus('#token')
  await page.keyboard.press('Control+Enter')
  say('nothing', { focus: await focused(page), invalid: await page.$$eval('[aria-invalid=true]', all => all.map(one => one.id)) })
  await page.keyboard.insertText(token)
  await page.keyboard.press('Tab')
  await page.keyboard.insertText(issuer)
  await page.keyboard.press('Tab')
  await page.keyboard.insertText(audience)
  await page.keyboard.press('Enter')
  say('good', await seen(page))
  await shot(page, 'good')

  await use(page, { audience: 'https://elsewhere.example' })
  say('wrong audience', await seen(page))
  await shot(page, 'bad')
  await use(page, { audience })
  const [head, claims, signature] = token.split('.')
  await use(page, { token: `${head}.${claims}.${signature.slice(0, 20)}${signature[20] === 'A' ? 'B' : 'A'}${signature.slice(21)}` })
  say('forged', await seen(page))
  await use(page, { token: 'x y, <img src=x onerror=document.title=1>' })
  say('garbage', await seen(page))
  await use(page, { token, scope: 'no-such-scope' })
  say('scope', await seen(page))
  await use(page, { scope: '', issuer: 'http://login.example.com/corp' })
  say('http', { focus: await focused(page), invalid: await page.$$eval('[aria-invalid=true]', all => all.map(one => one.id)) })
  const quiet = [...complaints]
  await use(page, { issuer: 'http://127.0.0.1:9/none' })
  say('no keys', await seen(page))
  await use(page, { issuer })

  await page.clock.setFixedTime(Date.now() + 3 * 3600 * 1000)
  await use(page, {})
  say('expired', await seen(page))

  say('kept', {
    complaints: quiet,
    leaks: requests.filter(one => JSON.stringify(one).includes(signature)).map(one => one.url),
    elsewhere: [...new Set(requests.map(one => new URL(one.url).origin))].filter(origin => origin !== new URL(address).origin),
    address: page.url(),
    storage: await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])),
    served,
  })
  say('a11y', await page.evaluate(audit))
  await page.click('button[type=reset]')
  say('cleared', { focus: await focused(page), hidden: await page.isHidden('#result'), token: await page.inputValue('#token') })

  // As a phone in the dark shows it.
  const phone = await browser.newContext({ viewport: { width: 360, height: 780 }, colorScheme: 'dark' })
  const small = await phone.newPage()
  await small.goto(address)
  await use(small, { token, issuer, audience })
  await small.waitForSelector('#result:not([hidden])')
  await shot(small, 'dark')
  say('phone', { ...await small.evaluate(audit), overflow: await small.evaluate(() => document.documentElement.scrollWidth - innerWidth) })
} finally {
  await browser.close()
  server.close()
}

async function use(page, values) {
  for (const [name, value] of Object.entries(values)) {
    if (name === 'scope') await page.evaluate(() => document.querySelector('form details').setAttribute('open', ''))
    await page.fill(`#${name}`, value)
  }
  await page.evaluate(() => { document.getElementById('result').hidden = true })
  await page.focus('#token')
  await page.keyboard.press('Control+Enter')
}

async function seen(page) {
  await page.waitForSelector('#result:not([hidden])', { timeout: 15_000 })
  return page.evaluate(() => ({
    kind: document.getElementById('result').className,
    title: document.getElementById('verdict').textContent,
    why: document.getElementById('why').textContent,
    mend: document.getElementById('mend').textContent,
    facts: document.getElementById('facts').innerText,
    live: document.getElementById('live').textContent,
    focus: document.activeElement.id,
    images: document.images.length,
  }))
}

function focused(page) {
  return page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName)
}

async function shot(page, name) {
  if (process.env.SEAMLESS_SHOTS) await page.screenshot({ path: join(process.env.SEAMLESS_SHOTS, `${name}.png`), fullPage: true })
}

/** What a screen reader and weak eyes need, as WCAG 2.2 AA has it. */
function audit() {
  const found = []
  const visible = element => element.getClientRects().length > 0
  for (const field of document.querySelectorAll('input, textarea')) {
    if (!field.labels?.length) found.push(`no label: ${field.id}`)
    for (const id of (field.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean)) {
      if (!document.getElementById(id)) found.push(`describedby names nothing: ${id}`)
    }
  }
  for (const button of document.querySelectorAll('button')) if (!button.textContent.trim()) found.push('a button without a name')
  if (document.querySelectorAll('h1').length !== 1) found.push('not one h1')
  if (!document.documentElement.lang) found.push('no language')
  if (!document.querySelector('main')) found.push('no main')
  if (document.querySelector('[role=status]')?.getAttribute('aria-live') !== 'polite') found.push('no live region')
  const luminance = color => {
    const [r, g, b] = color.map(value => {
      const c = value / 255
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const parse = text => (text.match(/[\d.]+/g) ?? []).map(Number)
  const paper = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor)
      if (color.length === 3 || color[3] > 0) return color.slice(0, 3)
    }
    return [255, 255, 255]
  }
  for (const element of document.querySelectorAll('h1, h2, p, label, dt, dd, summary, button, code, input, textarea, pre')) {
    if (!visible(element) || !(element.textContent.trim() || element.value)) continue
    const [a, b] = [luminance(parse(getComputedStyle(element).color).slice(0, 3)), luminance(paper(element))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${element.tagName} ${element.id}`)
  }
  for (const button of document.querySelectorAll('button')) {
    if (visible(button) && button.getBoundingClientRect().height < 24) found.push('a button is too small to hit')
  }
  return { found }
}
