"""The Python package beside what people use there now: a line of JSON a figure. `measure.py WHEEL [--quick]`."""

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import itsdangerous
import jwt
import waitress
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import seamless
from seamless.signer import Signer
from seamless.wsgi import SeamlessMiddleware

SECRET = "a secret of thirty-two bytes here"
ISSUER, AUDIENCE = "https://login.example.com/corp", "https://api.example.com"
QUICK = "--quick" in sys.argv
PAIRS = 5 if QUICK else 25


def main(wheel):
    token = Signer(SECRET).sign("ada")
    verifier = seamless.Verifier(SECRET)
    signer = itsdangerous.TimestampSigner(SECRET, key_derivation="none")
    ours = lambda: verifier.verify(token)
    of_itsdangerous = lambda: signer.unsign(token, max_age=60)
    now = int(time.time())
    claims = {"sub": "ada", "aud": AUDIENCE, "iss": ISSUER, "iat": now, "exp": now + 600, "client_id": "ssh", "jti": "1"}
    hs256 = jwt.encode(claims, SECRET, "HS256")
    of_pyjwt = lambda: jwt.decode(hs256, SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)
    compare("verify `seamless`", ours, "itsdangerous", of_itsdangerous, goal=1 / 20)
    compare("verify `seamless`", ours, "PyJWT, HS256", of_pyjwt, goal=1 / 10)

    cold, seen, public = eddsa(claims)
    tokens = iter(cold)
    theirs = lambda: jwt.decode(cold[0], public, ["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    compare("verify JWT (EdDSA), cold", lambda: seen.verify(next(tokens)), "PyJWT, EdDSA", theirs, number=100)
    compare("verify JWT (EdDSA), seen before", lambda: seen.verify(cold[0]), "PyJWT, EdDSA", theirs, number=100)

    middleware(token)
    imports()
    print(json.dumps({"name": "size of the wheel", "count": Path(wheel).stat().st_size / 1e6, "unit": "MB"}))


def eddsa(claims):
    key = Ed25519PrivateKey.generate()
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    jwk = {name: jwk[name] for name in ("crv", "kty", "x")}
    # RFC 7638.
    import base64
    import hashlib

    digest = hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    headers = {"typ": "at+jwt", "kid": kid}
    verifier = seamless.Verifier(jwks={"keys": [jwk]}, issuer=ISSUER, audience=AUDIENCE)
    # As many as one row looks at once each, so that none was seen before.
    many = [jwt.encode({**claims, "jti": str(i)}, key, "EdDSA", headers=headers) for i in range((PAIRS + 2) * 100 + 1)]
    return many, verifier, key.public_key()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def middleware(token):
    protected = SeamlessMiddleware(application, secret=SECRET)
    environ = {f"HTTP_X_{i}": "value" for i in range(12)}
    environ.update({f"wsgi.{i}": i for i in range(10)})
    environ.update({"REQUEST_METHOD": "GET", "PATH_INFO": "/a/b", "HTTP_HOST": "api.example.com"})
    environ["HTTP_AUTHORIZATION"] = f"seamless {token}"
    start = lambda status, headers: None
    with_it = lambda: protected(environ, start)
    without = lambda: application(environ, start)
    one, other = time_of(with_it, 20_000), time_of(without, 20_000)
    print(json.dumps({"name": "what the WSGI middleware adds to a call", "count": (one - other) / 1e3, "unit": "µs"}))

    servers = [waitress.create_server(app, host="127.0.0.1", port=0, threads=2) for app in (protected, application)]
    for server in servers:
        threading.Thread(target=server.run, daemon=True).start()
    clients = [http.client.HTTPConnection("127.0.0.1", server.effective_port) for server in servers]

    def ask(client):
        def once():
            client.request("GET", "/a/b", headers={"Authorization": f"seamless {token}", "User-Agent": "bench"})
            client.getresponse().read()

        return once

    compare("a request through waitress with `SeamlessMiddleware`", ask(clients[0]), "the bare application", ask(clients[1]), number=300)


def imports():
    def start(module):
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    for beside, module in (("Python that imports nothing more", "sys"), ("`import jwt`", "jwt")):
        compare("a process that does `import seamless`", start("seamless"), beside, start(module), number=1)


def compare(ours, one, beside, other, goal=None, number=20_000):
    """Interleaved pairs, and their medians."""
    if QUICK:
        number = max(1, number // 10)
    # Warm both.
    time_of(one, max(1, number // 10)), time_of(other, max(1, number // 10))
    pairs = []
    for i in range(PAIRS):
        first, second = (one, other) if i % 2 == 0 else (other, one)
        times = {id(first): time_of(first, number)}
        times[id(second)] = time_of(second, number)
        pairs.append((times[id(one)], times[id(other)]))
    ratios = sorted(a / b for a, b in pairs)
    figure = {
        "ours": ours,
        "beside": beside,
        "ours_ns": statistics.median(a for a, _ in pairs),
        "beside_ns": statistics.median(b for _, b in pairs),
        "ratio": [ratios[0], statistics.median(ratios), ratios[-1]],
        "pairs": PAIRS,
    }
    if goal is not None:
        figure["goal_ratio"] = goal
    print(json.dumps(figure), flush=True)


def time_of(run, number):
    """Nanoseconds a call."""
    began = time.perf_counter_ns()
    for _ in range(number):
        run()
    return (time.perf_counter_ns() - began) / number


if __name__ == "__main__":
    main(sys.argv[1])
