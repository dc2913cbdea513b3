#!/usr/bin/env node
// seamless-verify: verdicts on tokens, for trying. The words and exit codes are those of `seamless verify`.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { ConfigurationError, Verifier } from '../dist/node.js'

const HELP = `Verdicts on tokens, by keys from files

Usage: seamless-verify [OPTIONS] [TOKEN]

  [TOKEN]                     The token; for trying only, since other users can see it in the process list

Options:
      --secret-file <FILE>    A file with a shared secret of the seamless format; may be repeated
      --digest <DIGEST>       The hash of the seamless format: sha1, sha256 or sha512 [default: sha1]
      --max-age <SECONDS>     How long a seamless token is accepted [default: 60]
      --leeway <SECONDS>      Clock difference that is forgiven [default: 5]
      --jwks <FILE|URL>       A JWK set, as a file or an https URL
      --issuer <URL>          The issuer that the JWK set belongs to
      --audience <AUDIENCE>   The audience that a token must name; may be repeated, one is enough
      --scope <SCOPE>         A scope that a token must have; may be repeated
      --revoked <FILE>        A JSON list of revocations
      --realm <REALM>         The realm's name [default: seamless]
      --now <UNIX_SECONDS>    Judge as at this time
      --json                  One JSON object a token
  -h, --help                  Print help

Tokens are read from standard input, one a line, where none is given:
  seamless token demo --user ada | npx @seamless-auth/verifier --jwks URL --issuer URL --audience URL
Exit code 0 only if every token is ok.
`

const SAY = 'seamless-verify'

class Usage extends Error {}

main().then(code => { process.exitCode = code }, error => {
  const usage = error instanceof Usage || error?.code?.startsWith?.('ERR_PARSE_ARGS')
  const [first, ...rest] = String(error?.message ?? error).split('\n')
  console.error(`${SAY}: error: ${first}`)
  for (const line of rest) console.error(`${SAY}: hint: ${line}`)
  process.exitCode = usage || error instanceof ConfigurationError ? 2 : 5
})

async function main() {
  const text = { type: 'string' }
  const texts = { type: 'string', multiple: true }
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'secret-file': texts, digest: text, 'max-age': text, leeway: text, jwks: text, issuer: text, audience: texts,
      scope: texts, revoked: text, realm: text, now: text, at: text, json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' }
    }
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (positionals.length > 1) throw new Usage('one token at most\nwrite several to standard input, one a line')
  if (values['secret-file'] === undefined && values.jwks === undefined) {
    throw new Usage('nothing to verify with\nname --secret-file FILE, or --jwks FILE|URL with --issuer and --audience')
  }
  const now = number(values.now ?? values.at, '--now')
  const verifier = await Verifier.create(options(values))
  let allOk = true
  // A reader that went away wants no more verdicts.
  process.stdout.on('error', () => process.exit(allOk ? 0 : 1))
  const say = token => {
    const verdict = verifier.verify(token, { now })
    allOk &&= verdict.ok
    process.stdout.write(line(verdict, values.json === true) + '\n')
  }
  if (positionals.length === 1) say(positionals[0])
  else for await (const token of createInterface({ input: process.stdin, crlfDelay: Infinity })) if (token !== '') say(token)
  verifier.close()
  return allOk ? 0 : 1
}

function options(values) {
  const all = { realm: values.realm ?? 'seamless' }
  if (values['secret-file'] !== undefined) {
    all.secrets = values['secret-file'].map(file => {
      const bytes = read(file)
      return bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes
    })
    if (values.digest !== undefined) all.digest = values.digest
  }
  if (values['max-age'] !== undefined) all.maxAge = number(values['max-age'], '--max-age')
  if (values.leeway !== undefined) all.leeway = number(values.leeway, '--leeway')
  if (values.jwks !== undefined) {
    if (values.jwks.includes('://')) all.jwksUrl = values.jwks
    else all.jwks = read(values.jwks).toString('utf8')
  }
  for (const key of ['issuer', 'audience', 'scope']) if (values[key] !== undefined) all[key] = values[key]
  if (values.revoked !== undefined) all.revocations = read(values.revoked).toString('utf8')
  return all
}

function line(verdict, json) {
  if (json) {
    if (!verdict.ok) {
      const { code, message, skew } = verdict.rejection
      return JSON.stringify({ verdict: code, error: message, skew })
    }
    const who = verdict.identity
    const list = names => (names.length === 0 ? undefined : names)
    return JSON.stringify({
      verdict: 'ok', subject: who.subject, format: who.format, issuer: who.issuer, client_id: who.clientId, jti: who.jti,
      kid: who.kid, ssh_fp: who.sshFp, scope: list(who.scopes)?.join(' '), audience: list(who.audiences), groups: list(who.groups),
      amr: list(who.amr), issued_at: who.issuedAt, expires_at: who.expiresAt
    })
  }
  const paint = process.stdout.isTTY && !process.env.NO_COLOR
    ? (word, colour) => `\x1b[${colour}m${word}\x1b[0m`
    : word => word
  if (!verdict.ok) return `${paint(verdict.rejection.code, 31)}  ${verdict.rejection.message}`
  return `${paint('ok', 32)}  ${verdict.identity.subject}`
}

function number(text, option) {
  if (text === undefined) return undefined
  if (!/^\d{1,12}$/.test(text)) throw new Usage(`${option} ${text} is not a number of seconds`)
  return Number(text)
}

function read(file) {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new Usage(`can't read ${file}: ${error.code === 'ENOENT' ? 'no such file' : error.message}`)
  }
}
