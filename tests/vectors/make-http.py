#!/usr/bin/env python3
"""Writes headers.json, rules.json and paths.json: what every edge makes of a request.

Needs PyPI `cryptography`. Deterministic: run it again and the files stay the same.
"""

import base64
import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_800_000_000
ISSUER = "https://login.example/corp"
AUDIENCE = "https://api.example"
SECRET = "0f" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


X = b64(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
KID = b64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{X}"}}'.encode()).digest())
JWKS = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": X, "kid": KID, "alg": "EdDSA", "use": "sig"}]}
# What every verifier of these files is made with.
VERIFIER = {
    "realm": "corp",
    "secrets": [SECRET],
    "digest": "sha1",
    "max_age": 60,
    "jwks": JWKS,
    "issuer": ISSUER,
    "audience": AUDIENCE,
    "leeway": 5,
    "now": NOW,
}


def jwt(subject="ada", **claims):
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": KID}
    payload = {"iss": ISSUER, "sub": subject, "aud": AUDIENCE, "client_id": "ssh", "iat": NOW - 60, "exp": NOW + 240}
    payload |= {"jti": "MSmQOsHUVZeiQv3x"} | claims
    compact = (",", ":")
    signed = b64(json.dumps(header, separators=compact)) + "." + b64(json.dumps(payload, separators=compact))
    return f"{signed}.{b64(KEY.sign(signed.encode()))}"


def seamless(subject, issued=NOW - 10):
    signed = subject.encode() + b"." + b64(issued.to_bytes(4, "big")).encode()
    tag = hmac.new(SECRET.encode(), signed, "sha1").digest()
    return (signed + b"." + b64(tag).encode()).decode()


def latin1(text):
    """UTF-8 bytes as the characters that HTTP runtimes hand out."""
    return text.encode().decode("latin-1")


def write(name, file):
    text = json.dumps(file, indent=1, ensure_ascii=True) + "\n"
    pathlib.Path(__file__).with_name(name).write_text(text)


# -- headers.json ---------------------------------------------------------------------------------

S, J = seamless("ada"), jwt()
authorization = []


def auth(name, values, verdict, subject=None, note=None):
    case = {"name": name, "authorization": values, "verdict": verdict}
    if subject:
        case["subject"] = subject
    if note:
        case["note"] = note
    authorization.append(case)


auth("seamless", [f"seamless {S}"], "ok", "ada")
auth("bearer-jwt", [f"Bearer {J}"], "ok", "ada")
auth("bearer-seamless", [f"Bearer {S}"], "ok", "ada", "the shape says what the token is, not the scheme")
auth("seamless-jwt", [f"seamless {J}"], "ok", "ada")
auth("scheme-lower", [f"bearer {J}"], "ok", "ada")
auth("scheme-upper", [f"SEAMLESS {S}"], "ok", "ada")
auth("scheme-mixed", [f"BeArEr {J}"], "ok", "ada")
auth("subject-with-space", [f"seamless {seamless('with space')}"], "ok", "with space")
auth("subject-utf8", [latin1(f"seamless {seamless('späße-日本')}")], "ok", "späße-日本", "each character is a byte")
auth("none", [], "missing_authorization")
auth("empty", [""], "bad_authorization")
auth("space", [" "], "bad_authorization")
auth("scheme-only", ["Bearer"], "bad_authorization")
auth("scheme-and-space", ["Bearer "], "bad_authorization")
auth("token-only", [J], "bad_authorization")
auth("two-spaces", [f"Bearer  {J}"], "bad_authorization")
auth("tab", [f"Bearer\t{J}"], "bad_authorization")
auth("space-in-front", [f" Bearer {J}"], "bad_authorization")
auth("space-at-end", [f"Bearer {J} "], "malformed")
auth("basic", ["Basic YWRhOnNlY3JldA=="], "bad_authorization")
auth("unknown-scheme", [f"Token {J}"], "bad_authorization")
auth("scheme-prefix", [f"BearerX {J}"], "bad_authorization")
auth("colon", [f"Bearer:{J}"], "bad_authorization")
auth("quoted", [f'Bearer "{J}"'], "malformed", note="two dots, but it doesn't begin with eyJ: a seamless token, and no good one")
auth("two-headers-same", [f"Bearer {J}", f"Bearer {J}"], "bad_authorization")
auth("two-headers", [f"Bearer {J}", "Basic YWRhOnNlY3JldA=="], "bad_authorization", note="Node drops the second")
auth("bad-header-first", ["Basic YWRhOnNlY3JldA==", f"Bearer {J}"], "bad_authorization")
auth("empty-header-too", [f"Bearer {J}", ""], "bad_authorization")
auth("joined", [f"Bearer {J}, Bearer {J}"], "bad_authorization", note="Envoy and Fetch join two headers")
auth("joined-without-space", [f"Bearer {J},Bearer {J}"], "bad_authorization")
auth("comma-at-end", [f"Bearer {J},"], "bad_authorization")
auth("comma-in-subject", [f"seamless {seamless('a,b')}"], "bad_authorization", note="a comma rejects wherever it is")
auth("chap", ["chap:AXTOZVPw"], "unsupported_algorithm", note="crtauth: without a key for it")
auth("chap-of-no-shape", ["chap:dGVzdA"], "malformed")
auth("chap-empty", ["chap:"], "bad_authorization")
auth("chap-upper", ["CHAP:dGVzdA"], "bad_authorization", note="as the original has it")
auth("expired", [f"seamless {seamless('ada', NOW - 61)}"], "expired")
auth("jwt-expired", [f"Bearer {jwt(exp=NOW - 5)}"], "expired")
auth("other-audience", [f"Bearer {jwt(aud='https://other.example')}"], "wrong_audience")
auth("nonsense", ["Bearer nonsense"], "malformed")
auth("too-large", ["Bearer " + "a" * 8193], "too_large")

identity = [
    {
        "name": name,
        "token": jwt(subject, **claims),
        "headers": {"x-seamless-user": user, "x-seamless-scope": scope, "x-seamless-groups": groups},
    }
    for name, subject, claims, user, scope, groups in [
        ("plain", "ada", {}, "ada", "", ""),
        ("all", "ada", {"scope": "read deploy:prod", "groups": ["ops", "a.b_c-d@e+f"]}, "ada", "read deploy:prod", "ops,a.b_c-d@e+f"),
        ("space", "with space", {}, "with%20space", "", ""),
        ("percent", "100%", {}, "100%25", "", ""),
        ("comma", "a,b", {}, "a%2Cb", "", ""),
        ("utf8", "späße-日本", {}, "sp%C3%A4%C3%9Fe-%E6%97%A5%E6%9C%AC", "", ""),
        ("printable", "!\"#$&'()*+-./:;<=>?@[\\]^_`{|}~", {}, "!\"#$&'()*+-./:;<=>?@[\\]^_`{|}~", "", ""),
        ("groups", "ada", {"groups": ["a,b", "c d", "é"]}, "ada", "", "a%2Cb,c%20d,%C3%A9"),
        ("empty-groups", "ada", {"groups": [], "scope": ""}, "ada", "", ""),
    ]
]

strip = [
    {"name": name, "strip": stripped}
    for name, stripped in {
        "x-seamless-user": True,
        "X-Seamless-User": True,
        "X_Seamless_User": True,
        "x_seamless-scope": True,
        "X-SEAMLESS_GROUPS": True,
        "x-seamless-": True,
        "x-seamless-anything": True,
        "x-seamless": False,
        "x-seamlessuser": False,
        "seamless-user": False,
        "x-seam-less-user": False,
        "xx-seamless-user": False,
        "authorization": False,
        "": False,
    }.items()
]

codes = [
    {"code": code, "status": status, "body": body}
    for status, body, names in [
        (401, "bad authorization header format", "missing_authorization bad_authorization"),
        (401, "invalid token", "malformed too_large unsupported_algorithm unknown_key bad_signature wrong_issuer wrong_audience revoked binding_required"),
        (401, "token expired", "expired"),
        (401, "token not yet valid", "not_yet_valid"),
        (403, "insufficient scope", "missing_scope"),
        (400, "bad request path", "bad_path"),
        (503, "verification keys unavailable", "keys_unavailable"),
    ]
    for code in names.split()
]

challenges = [
    {"code": code, "realm": "corp", "www_authenticate": ['seamless realm="corp"', f'Bearer realm="corp", error="{error}"']}
    for code, error in [("missing_authorization", "invalid_token"), ("expired", "invalid_token"), ("missing_scope", "insufficient_scope")]
]

write(
    "headers.json",
    {
        "format": "Authorization in, identity and challenges out",
        "made_with": "make-http.py",
        "verifier": VERIFIER,
        "authorization": authorization,
        "identity": identity,
        "strip": strip,
        "codes": codes,
        "challenges": challenges,
    },
)

# -- rules.json -----------------------------------------------------------------------------------

tokens = {
    "ada": jwt(),
    "admin": jwt("root", scope="read admin", amr=["hwk", "user"]),
    "reader": jwt("bob", scope="read"),
    "billing": jwt("eve", aud=["https://billing.example"], scope="read"),
    "expired": jwt(exp=NOW - 10),
    "hmac": seamless("cli"),
    "nonsense": "nonsense",
}


def request(method, authority, path, token, outcome, rule=None):
    return {"method": method, "authority": authority, "path": path, "token": token, "outcome": outcome, "rule": rule}


def get(path, token, outcome, rule=None, host="api.example"):
    return request("GET", host, path, token, outcome, rule)


sets = [
    {
        "name": "empty",
        "rules": {"rules": []},
        "requests": [
            get("/", None, "missing_authorization"),
            get("/", "ada", "identity"),
            get("/", "expired", "expired"),
            get("/", "hmac", "identity"),
            get("//", "ada", "bad_path"),
        ],
    },
    {
        "name": "needs",
        "rules": {
            "$schema": "https://example/rules.schema.json",
            "rules": [
                {"path_prefix": "/open", "need": "open"},
                {"path_prefix": "/maybe", "need": "optional"},
                {"path_prefix": "/open/but/not", "need": "required"},
                {"path_prefix": "/admin", "need": "required", "scopes": ["admin"]},
                {"path_prefix": "/touch", "need": "required", "amr": ["hwk", "user"]},
                {"path_prefix": "/billing", "need": "required", "audience": "https://billing.example"},
                {"path_prefix": "/either", "need": "required", "audience": [AUDIENCE, "https://billing.example"]},
                {"path_prefix": "/maybe/admin", "need": "optional", "scopes": ["admin", "read"]},
            ],
        },
        "requests": [
            get("/open", None, "open", 0),
            get("/open/", None, "open", 0),
            get("/open/x?token=1", "nonsense", "open", 0),
            get("/openx", None, "missing_authorization"),
            get("/Open", None, "missing_authorization"),
            get("/%6fpen", None, "open", 0),
            get("/open/but/not", None, "missing_authorization", 2),
            get("/open/but/not/this", "ada", "identity", 2),
            get("/open/but/nothing", None, "open", 0),
            get("/open/../admin", None, "bad_path"),
            get("/open%2f..%2fadmin", None, "bad_path"),
            get("/open/%2e%2e/admin", None, "bad_path"),
            get("//admin", "admin", "bad_path"),
            get("/open;/admin", None, "bad_path"),
            get("/open\\..\\admin", None, "bad_path"),
            get("/maybe", None, "anonymous", 1),
            get("/maybe", "ada", "identity", 1),
            get("/maybe", "expired", "expired", 1),
            get("/maybe", "nonsense", "malformed", 1),
            get("/maybe/admin", None, "anonymous", 7),
            get("/maybe/admin", "reader", "missing_scope", 7),
            get("/maybe/admin", "admin", "identity", 7),
            get("/admin", None, "missing_authorization", 3),
            get("/admin", "ada", "missing_scope", 3),
            get("/admin", "reader", "missing_scope", 3),
            get("/admin", "admin", "identity", 3),
            get("/%61dmin", "reader", "missing_scope", 3),
            get("/admin", "hmac", "missing_scope", 3),
            get("/touch", "ada", "missing_scope", 4),
            get("/touch", "admin", "identity", 4),
            get("/billing", "ada", "wrong_audience", 5),
            get("/billing", "billing", "identity", 5),
            get("/billing", "hmac", "wrong_audience", 5),
            get("/either", "ada", "identity", 6),
            get("/either", "billing", "identity", 6),
            get("/other", "billing", "wrong_audience"),
            request("CONNECT", "api.example:443", None, "ada", "bad_path"),
            request("OPTIONS", "api.example", "*", "ada", "bad_path"),
            request("GET", "api.example", None, "ada", "bad_path"),
            request("GET", "api.example", "", "ada", "bad_path"),
        ],
    },
    {
        "name": "precedence",
        "rules": {
            "rules": [
                {"path_prefix": "/", "need": "required"},
                {"path_prefix": "/a", "need": "open"},
                {"host": "x.example", "need": "open"},
                {"host": "x.example", "methods": ["GET", "HEAD"], "need": "optional"},
                {"methods": ["GET"], "need": "optional"},
                {"path_prefix": "/a", "need": "required"},
                {"path_prefix": "/b/", "need": "open"},
                {"host": "y.example", "path_prefix": "/a/b", "methods": ["POST"], "need": "required"},
            ]
        },
        "requests": [
            request("PUT", "z.example", "/", None, "missing_authorization", 0),
            request("GET", "z.example", "/", None, "anonymous", 4),
            request("get", "z.example", "/", None, "missing_authorization", 0),
            request("PUT", "x.example", "/", None, "open", 2),
            request("HEAD", "x.example", "/", None, "anonymous", 3),
            request("PUT", "X.Example", "/", None, "open", 2),
            request("PUT", "x.example:8443", "/", None, "open", 2),
            request("PUT", "x.example.", "/", None, "open", 2),
            request("PUT", "x.example.:8443", "/", None, "open", 2),
            request("PUT", "x.example..", "/", None, "missing_authorization", 0),
            request("PUT", "www.x.example", "/", None, "missing_authorization", 0),
            request("PUT", "x.example@z.example", "/", None, "bad_path"),
            request("PUT", "z.example@x.example", "/", None, "bad_path"),
            request("PUT", "x.example,z.example", "/", None, "bad_path"),
            request("PUT", "x.example:a", "/", None, "bad_path"),
            request("PUT", "", "/", None, "missing_authorization", 0),
            request("PUT", "[::1]:443", "/", None, "missing_authorization", 0),
            request("GET", "x.example", "/a", None, "open", 1),
            request("GET", "x.example", "/b/c", None, "open", 6),
            request("PUT", "z.example", "/b", None, "missing_authorization", 0),
            request("POST", "y.example", "/a/b/c", None, "missing_authorization", 7),
            request("GET", "y.example", "/a/b/c", None, "open", 1),
        ],
    },
]

refused = [
    {"name": name, "rules": rules}
    for name, rules in {
        "not-an-object": [],
        "no-rules": {},
        "unknown-member": {"rules": [], "version": 1},
        "rule-not-an-object": {"rules": ["/"]},
        "unknown-member-in-rule": {"rules": [{"need": "open", "paths": ["/"]}]},
        "no-need": {"rules": [{"path_prefix": "/"}]},
        "unknown-need": {"rules": [{"need": "maybe"}]},
        "need-in-capitals": {"rules": [{"need": "OPEN"}]},
        "path-without-slash": {"rules": [{"need": "open", "path_prefix": "open"}]},
        "path-empty": {"rules": [{"need": "open", "path_prefix": ""}]},
        "path-with-query": {"rules": [{"need": "open", "path_prefix": "/a?b"}]},
        "path-with-dots": {"rules": [{"need": "open", "path_prefix": "/a/../b"}]},
        "path-with-double-slash": {"rules": [{"need": "open", "path_prefix": "/a//"}]},
        "path-encoded-slash": {"rules": [{"need": "open", "path_prefix": "/a%2Fb"}]},
        "host-in-capitals": {"rules": [{"need": "open", "host": "X.example"}]},
        "host-with-port": {"rules": [{"need": "open", "host": "x.example:443"}]},
        "host-with-final-dot": {"rules": [{"need": "open", "host": "x.example."}]},
        "host-empty": {"rules": [{"need": "open", "host": ""}]},
        "methods-empty": {"rules": [{"need": "open", "methods": []}]},
        "methods-lower": {"rules": [{"need": "open", "methods": ["get"]}]},
        "methods-string": {"rules": [{"need": "open", "methods": "GET"}]},
        "audience-empty": {"rules": [{"need": "required", "audience": ""}]},
        "audience-empty-list": {"rules": [{"need": "required", "audience": []}]},
        "open-with-scopes": {"rules": [{"need": "open", "scopes": ["read"]}]},
        "open-with-audience": {"rules": [{"need": "open", "audience": "a"}]},
        "too-many": {"rules": [{"need": "open"}] * 257},
    }.items()
]

write(
    "rules.json",
    {
        "format": "rules.json and what becomes of requests under it",
        "made_with": "make-http.py",
        "verifier": VERIFIER,
        "tokens": tokens,
        "sets": sets,
        "refused": refused,
    },
)

# -- paths.json -----------------------------------------------------------------------------------

good = [
    "/", "/a", "/a/", "/a/b.c", "/a/...", "/a/..b", "/a/b..", "/.well-known/x", "/a?b=//..;\\", "/?", "/a%20b", "/%61",
    "/%C3%A9", "/~user", "/%7Euser", "/a:b@c!$&'()*+,=-_", "/a|b", "/a%3Fb", "/a%3fb?", "/a%23",
]
bad = [
    None, "", "a", "*", "?", "?/", "//", "/a//b", "/a//", "//a", "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/../b",
    "/a/./b", "/a/..?b", "\\", "/a\\b", "/\\", "/a;b", "/;", "/a;", "/a;/../b", "/a#b", "/a b", "/a\tb", "/a\x00", "/a\x1f",
    "/a\x7f", "/\x80", latin1("/é"), "/\xff", "/%2e", "/%2E", "/a/%2e%2e/b", "/a/%2e./b", "/a/.%2E/b", "/%2f", "/a%2Fb",
    "/%5c", "/a%5Cb", "/%25", "/%252e", "/a%2525", "/%00", "/a%00b", "/%3b", "/a%3Bb", "/%0a", "/%0D%0A", "/%7f", "/%", "/%2",
    "/a%", "/a%2", "/%zz", "/%u002e", "/%-1", "http://api.example/", "/a%2", "/%2x",
]
below = [
    ("/", "/", True), ("/a", "/", True), ("/a", "/a", True), ("/a/", "/a", True), ("/a/b", "/a", True),
    ("/a?b", "/a", True), ("/ab", "/a", False), ("/A", "/a", False), ("/b/a", "/a", False), ("/a", "/a/", False),
    ("/a/b", "/a/", True), ("/a%62", "/ab", True), ("/ab", "/a%62", True), ("/a%62c", "/ab", False), ("/a%20b/c", "/a%20b", True),
    ("/a.", "/a", False), ("/a/b/c", "/a/b", True), ("/a/bc", "/a/b", False),
]

write(
    "paths.json",
    {
        "format": "request targets that are judged or turned away; each character is a byte",
        "made_with": "make-http.py",
        "cases": [{"path": path, "verdict": "ok"} for path in good] + [{"path": path, "verdict": "bad_path"} for path in bad],
        "prefixes": [{"path": path, "prefix": prefix, "below": result} for path, prefix, result in below],
    },
)
