// node:http, without a framework.

import { createServer } from 'node:http'
import { seamless } from '@seamless-auth/verifier/express'
import { verifier } from './verifier.js'

const protect = seamless(verifier)

const server = createServer((req, res) => {
  protect(req, res, error => {
    if (error) {
      res.writeHead(500).end('internal error\n')
      return
    }
    res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    res.end(`hello ${req.identity?.subject ?? 'whoever you are'}\n`)
  })
})
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
