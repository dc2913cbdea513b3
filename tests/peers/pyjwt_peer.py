"""PyJWT as a verifier: one JSON object a line on stdin, one answer a line on stdout.

{"token": "...", "jwks": URL or FILE, "audience": "...", "issuer": "..."}
    -> {"header": {...}, "claims": {...}}  or  {"error": "InvalidAudienceError"}
"""

import json
import sys

import jwt


def key_set(jwks):
    if jwks.startswith("http"):
        return jwt.PyJWKClient(jwks, timeout=10).get_jwk_set()
    with open(jwks, encoding="utf-8") as file:
        return jwt.PyJWKSet.from_dict(json.load(file))


def answer(ask):
    try:
        header = jwt.get_unverified_header(ask["token"])
        key = key_set(ask["jwks"])[header["kid"]]
        claims = jwt.decode(
            ask["token"],
            key,
            algorithms=["EdDSA", "ES256", "RS256"],
            audience=ask["audience"],
            issuer=ask["issuer"],
            options={"require": ["iss", "sub", "aud", "client_id", "iat", "exp", "jti"]},
        )
    except (jwt.PyJWTError, KeyError) as error:
        return {"error": type(error).__name__}
    return {"header": header, "claims": claims}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
