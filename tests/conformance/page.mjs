// A browser: the lines become the text of the page. No shared secret can be used here, and that is tried first.
import { Verifier } from '@seamless-auth/verifier'
import { run } from './suite.mjs'
import vectors from './vectors.json'

const lines = []
const print = line => lines.push(JSON.stringify(line))
try {
  Verifier.createSync({ realm: 'corp', secrets: ['0123456789abcdef'] })
  print({ suite: 'browser', case: 'a shared secret', got: 'taken' })
} catch (error) {
  print({ suite: 'browser', case: 'a shared secret', got: error.name === 'ConfigurationError' ? 'refused' : String(error) })
}
run({ Verifier }, vectors, print, { secrets: false })
globalThis.verdicts = lines
