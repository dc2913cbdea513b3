// The least that a Worker in front of an origin can do: hand the request on.
export default {
  fetch(request, env) {
    const path = request.url.slice(request.url.indexOf('/', 8))
    return fetch(new Request(env.ORIGIN + path, request), { redirect: 'manual' })
  },
}
