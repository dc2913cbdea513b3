// A fetch handler: as it stands for Deno.serve and Bun.serve, here called by hand.

import { identityOf, seamless } from '@seamless-auth/verifier/fetch'
import { verifier } from './verifier.js'

const handler = seamless(verifier, request => new Response(`hello ${identityOf(request)?.subject ?? 'whoever you are'}\n`))

export default { fetch: handler }

// From the environment: arguments can be read by every user of the machine.
const { TOKEN } = process.env
const headers = TOKEN ? { authorization: `Bearer ${TOKEN}` } : {}
const response = await handler(new Request(process.argv[2] ?? 'http://localhost/', { headers }))
console.log(response.status, (await response.text()).trim())
process.exit(0)
