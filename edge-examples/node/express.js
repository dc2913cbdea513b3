// Express. The middleware stands before every route, so that none can be forgotten.

import express from 'express'
import { seamless } from '@seamless-auth/verifier/express'
import { verifier } from './verifier.js'

const app = express()
app.use(seamless(verifier))
app.get('/reports', (req, res) => res.type('text').send(`reports for ${req.identity.subject}\n`))
app.use((req, res) => res.type('text').send(`hello ${req.identity?.subject ?? 'whoever you are'}\n`))

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
