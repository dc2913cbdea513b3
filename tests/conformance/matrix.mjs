// Compares what every runtime said with the vectors and with the core run natively, and prints the table.
//
// usage: matrix.mjs FOLDER_OF_VECTORS FOLDER_OF_LINES
// FOLDER_OF_LINES has a file RUNTIME.jsonl for each; native.jsonl is the core itself. Exit 1 where anything differs.
import { readFileSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'

const [, , vectorsFolder, linesFolder] = process.argv
const vectors = name => JSON.parse(readFileSync(join(vectorsFolder, `${name}.json`), 'utf8'))
/** What can't be asked of a Worker as it is deployed: short secrets, and what is no answer of its own. */
const NOT_BY_HTTP = ['seamless', 'chap', 'keys', 'identity', 'strip', 'answers', 'refused', 'paths', 'prefixes']
/** What a runtime may leave out: suites that its way in can't ask, and with `fewer` up to half of the cases of the others. */
const PARTIAL = {
  slim: { suites: ['seamless'] },
  chromium: { without: ['seamless', 'chap'], fewer: true },
  envoy: { fewer: true, without: ['keys', 'refused'] },
  'worker-rust': { fewer: true, without: NOT_BY_HTTP },
  'worker-ts': { fewer: true, without: NOT_BY_HTTP },
}

/** What has RS256, which natively is tried without, as the edges have it. */
const WITH_RS256 = ['python']

const wanted = expectations()
const runtimes = readdirSync(linesFolder).filter(name => name.endsWith('.jsonl')).map(name => basename(name, '.jsonl'))
runtimes.sort((a, b) => (a === 'native' ? -1 : b === 'native' ? 1 : a < b ? -1 : 1))
if (runtimes[0] !== 'native') fail(['native.jsonl is missing: nothing to compare with'])

const said = new Map()
const wrong = []
for (const runtime of runtimes) {
  const lines = readFileSync(join(linesFolder, `${runtime}.jsonl`), 'utf8').split('\n').filter(line => line.startsWith('{'))
  const cases = new Map()
  for (const line of lines) {
    const { suite, case: name, got, subject } = JSON.parse(line)
    const key = `${suite}\0${name}`
    if (cases.has(key) && cases.get(key).got !== got) wrong.push(`${runtime}: ${suite}: ${name}: said in two ways`)
    cases.set(key, { suite, name, got, subject })
  }
  said.set(runtime, cases)
}

const native = said.get('native')
const suites = [...new Set([...native.values()].map(({ suite }) => suite))]
const table = [['suite', ...runtimes]]
for (const suite of suites) {
  const row = [suite]
  for (const runtime of runtimes) {
    let good = 0
    let bad = 0
    for (const [key, { name, got, subject }] of said.get(runtime)) {
      if (!key.startsWith(`${suite}\0`)) continue
      const reference = native.get(key)
      const expected = wanted.get(key)
      const asVectors = expected === undefined ? 'no such case' : expected(got, subject, runtime)
      const more = WITH_RS256.includes(runtime) && reference?.got === 'unsupported_algorithm'
      const same = more || reference && (got === reference.got || got === 'no header') && (subject ?? null) === (reference.subject ?? null)
      if (asVectors === true && same) good++
      else {
        bad++
        const instead = asVectors === true ? `natively ${reference?.got} ${reference?.subject ?? ''}` : asVectors
        wrong.push(`${runtime}: ${suite}: ${name}: ${got} ${subject ?? ''}, but ${instead}`)
      }
    }
    const all = [...native.values()].filter(one => one.suite === suite).length
    const { suites: only, without = [], fewer = false } = PARTIAL[runtime] ?? {}
    const left = (only && !only.includes(suite)) || without.includes(suite)
    if (!left && good + bad < (fewer ? all / 2 : all)) wrong.push(`${runtime}: ${suite}: only ${good + bad} of ${all} cases`)
    row.push(good + bad === 0 ? '-' : bad === 0 ? `${good}` : `${good}, ${bad} wrong`)
  }
  table.push(row)
}
for (const [runtime, cases] of said) {
  for (const { suite, name, got } of cases.values()) {
    if (!suites.includes(suite) && got !== 'refused') wrong.push(`${runtime}: ${suite}: ${name}: ${got}`)
  }
}

const widths = table[0].map((_, column) => Math.max(...table.map(row => row[column].length)))
for (const row of table) console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
if (wrong.length > 0) fail(wrong)
const total = [...said.values()].reduce((sum, cases) => sum + cases.size, 0)
console.log(`\n${total} verdicts in ${runtimes.length} runtimes, none differs`)

/** For each case, a judge: true, or what was wanted. */
function expectations() {
  const wanted = new Map()
  const add = (suite, name, judge) => wanted.set(`${suite}\0${name}`, judge)
  const exactly = value => got => got === value || `the vectors say ${value}`
  const verdict = ({ verdict, or = [], subject }) => (got, who) => {
    const good = verdict === 'rejected' ? got !== 'ok' : got === verdict || or.includes(got)
    if (!good) return `the vectors say ${verdict}`
    return got !== 'ok' || subject === undefined || who === subject || `the subject is ${subject}`
  }

  for (const one of vectors('seamless-v1').cases) add('seamless', one.name, verdict(one))
  for (const one of vectors('chap').cases) add('chap', one.name, verdict(one))
  for (const one of vectors('jwt').cases) {
    const subject = one.expect?.subject
    const judge = verdict({ ...one, subject })
    const header = Buffer.from(one.token.split('.')[0], 'base64url').toString('latin1')
    // No edge's build does RS256.
    const rs256 = header.includes('RS256')
    add('jwt', one.name, (got, who, runtime) => {
      if (WITH_RS256.includes(runtime)) return judge(got, who)
      return (rs256 && got === 'unsupported_algorithm') || (one.needs !== 'rs256' && judge(got, who))
    })
  }
  for (const [file, long] of [['jws', 'json_web_signature_test'], ['jwk', 'json_web_key_test']]) {
    for (const [i, { comment }] of vectors(`wycheproof/${long}`).testGroups.entries()) {
      add('keys', `${file} ${i} private ${comment}`, exactly('refused'))
      add('keys', `${file} ${i} public ${comment}`, got => ['refused', 'loaded'].includes(got) || 'the vectors say one or the other')
    }
  }
  const headers = vectors('headers')
  for (const one of headers.authorization) add('authorization', one.name, verdict(one))
  for (const one of headers.identity) {
    const sorted = Object.fromEntries(Object.entries(one.headers).sort(([a], [b]) => (a < b ? -1 : 1)))
    add('identity', one.name, exactly(JSON.stringify(sorted)))
  }
  for (const one of headers.strip) {
    const judge = exactly(one.strip ? 'stripped' : 'kept')
    add('strip', one.name, got => got === 'no header' || judge(got))
  }
  for (const { code, status, body } of headers.codes) {
    add('answers', code, got => {
      const answer = JSON.parse(got)
      const challenges = headers.challenges.find(one => one.code === code && one.realm === 'corp')?.www_authenticate.join(', ')
      const good =
        answer.status === status &&
        answer.sent === status &&
        answer.message.startsWith(body) &&
        (challenges === undefined || answer.challenges === challenges)
      return good || `the vectors say ${status} ${body}`
    })
  }
  const rules = vectors('rules')
  for (const { name: set, requests } of rules.sets) {
    for (const [i, { method, path, outcome }] of requests.entries()) add('rules', `${set} ${i} ${method} ${path}`, exactly(outcome))
  }
  for (const { name } of rules.refused) add('refused', name, exactly('refused'))
  const paths = vectors('paths')
  for (const { path, verdict } of paths.cases) add('paths', path, exactly(verdict === 'ok' ? 'open' : verdict))
  for (const { path, prefix, below } of paths.prefixes) {
    add('prefixes', `${path} below ${prefix}`, exactly(below ? 'open' : 'missing_authorization'))
  }
  return wanted
}

function fail(lines) {
  for (const line of lines.slice(0, 100)) console.error(line)
  console.error(`${lines.length} differences`)
  process.exit(1)
}
