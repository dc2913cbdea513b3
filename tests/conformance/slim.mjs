// The slim build in Node: the format `seamless` alone.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Verifier } from '@seamless-auth/verifier/hmac'
import { runSlim } from './suite.mjs'

const file = JSON.parse(readFileSync(join(process.argv[2], 'seamless-v1.json'), 'utf8'))
runSlim({ Verifier }, { 'seamless-v1': file }, line => console.log(JSON.stringify(line)))
