// workerd: answers with the lines. The vectors are bundled.
import { Verifier } from '@seamless-auth/verifier'
import { run } from './suite.mjs'
import vectors from './vectors.json'

export default {
  fetch() {
    const lines = []
    run({ Verifier }, vectors, line => lines.push(JSON.stringify(line)))
    return new Response(lines.join('\n') + '\n')
  },
}
