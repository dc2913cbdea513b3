import { jwtVerify } from 'jose'

let key

export default {
  async fetch(request, env) {
    const token = request.headers.get('authorization')?.slice('Bearer '.length) ?? ''
    key ??= new TextEncoder().encode(env.SECRET)
    try {
      await jwtVerify(token, key, { issuer: env.ISSUER, audience: env.AUDIENCE, algorithms: ['HS256'] })
    } catch {
      return new Response('invalid token\n', { status: 401 })
    }
    return new Response('ok\n')
  },
}
