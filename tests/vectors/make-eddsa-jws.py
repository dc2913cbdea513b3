#!/usr/bin/env python3
"""Writes eddsa-jws.json: the mutations of Wycheproof's json_web_signature_test.json, for EdDSA.

Needs PyPI `cryptography`. Deterministic: run it again and the file stays the same.
"""

import base64
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

L = 2**252 + 27742317777372353535851937790883648493


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def jwk(key, kid):
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public(key)), "kid": kid, "alg": "EdDSA", "use": "sig"}


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
HEADER = '{"alg":"EdDSA","kid":"kid-ed-sign"}'
cases = []


def sign(header=HEADER, payload="foo", key=KEY):
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def case(name, jws, verdict, *alternatives, note=None):
    entry = {"name": name, "jws": jws, "verdict": verdict}
    if alternatives:
        entry["or"] = list(alternatives)
    if note:
        entry["note"] = note
    cases.append(entry)


good = sign()
h, p, s = good.split(".")
raw = base64.urlsafe_b64decode(s + "==")
R, S = raw[:32], int.from_bytes(raw[32:], "little")


def with_signature(signature):
    return f"{h}.{p}.{b64(signature)}"


case("valid", good, "ok")
case("valid-Ed25519", sign('{"alg":"Ed25519","kid":"kid-ed-sign"}'), "ok", note="RFC 9864's name for the same key")
case("valid-empty-payload", sign(payload=""), "ok")
case("valid-zero-payload", sign(payload=bytes(20)), "ok")
case("valid-spaces-in-header", sign('{ "kid" : "kid-ed-sign",\n"alg": "EdDSA" }'), "ok")
case("valid-escaped-header", sign('{"\\u0061lg":"\\u0045dDSA","kid":"kid-ed\\u002dsign"}'), "ok")
case("modified-signature", f"{h}.{p}.X{s[1:]}", "bad_signature")
case("missing-signature", f"{h}.{p}.", "bad_signature", "malformed")
case("missing-signature-and-separator", f"{h}.{p}", "malformed")
case("modified-payload", f"{h}.W{p[1:]}.{s}", "bad_signature")
case("missing-payload", f"{h}..{s}", "bad_signature")
case("missing-payload-and-separator", f"{h}.{s}", "malformed")
case("modified-header", f"{b64(HEADER.replace('kid-ed', 'Xid-ed'))}.{p}.{s}", "unknown_key")
case("missing-header", f".{p}.{s}", "malformed")
case("missing-header-and-separator", f"{p}.{s}", "malformed")
case("missing-header-and-signature", f".{p}.", "malformed")
case("payload-only", p, "malformed")
case("empty", "", "malformed")
case("extra-empty-component", f"{good}.", "malformed")
case("extra-component", f"{good}.{s}", "malformed")
case("json-serialisation", json.dumps({"payload": p, "signatures": [{"protected": h, "signature": s}]}), "malformed")
for alg in ["none", "None", "NONE", ""]:
    header = b64(json.dumps({"alg": alg, "kid": "kid-ed-sign"}))
    case(f"alg-{alg or 'empty'}-unsigned", f"{header}.{p}.", "unsupported_algorithm", "malformed")
for alg in ["eddsa", "EDDSA", "ed25519", "Ed448", "HS256", "ES256", "RS256", "EdDSA "]:
    header = json.dumps({"alg": alg, "kid": "kid-ed-sign"})
    case(f"alg-{alg}", sign(header), "unsupported_algorithm")
case("alg-missing", sign('{"kid":"kid-ed-sign"}'), "malformed")
case("alg-number", sign('{"alg":1,"kid":"kid-ed-sign"}'), "malformed")
case("kid-missing", sign('{"alg":"EdDSA"}'), "malformed")
case("kid-empty", sign('{"alg":"EdDSA","kid":""}'), "unknown_key", "malformed")
case("kid-of-other-key", sign('{"alg":"EdDSA","kid":"kid-ed-other"}'), "bad_signature")
case("kid-in-capitals", sign('{"alg":"EdDSA","kid":"KID-ED-SIGN"}'), "unknown_key")
embedded = json.dumps({"alg": "EdDSA", "kid": "kid-ed-sign", "jwk": jwk(OTHER, "kid-ed-sign")})
case("embedded-jwk-of-signer", sign(embedded, key=OTHER), "bad_signature", note="an embedded key is never used")
case("embedded-jwk-ignored", sign(embedded), "ok")
for name, member in {
    "crit": '"crit":["exp"]',
    "crit-empty": '"crit":[]',
    "b64": '"b64":false',
    "zip": '"zip":"DEF"',
    "enc": '"enc":"A256GCM"',
    "duplicate-alg": '"alg":"EdDSA"',
    "duplicate-kid-escaped": '"k\\u0069d":"kid-ed-sign"',
    "duplicate-unknown": '"x":1,"x":1',
    "lone-surrogate": '"x":"\\ud800"',
}.items():
    case(f"header-{name}", sign(f"{HEADER[:-1]},{member}}}"), "malformed")
case("header-bom", sign("\ufeff" + HEADER), "malformed")
case("header-trailing", sign(HEADER + "{}"), "malformed")
case("header-not-utf8", sign(HEADER.encode()[:-1] + b',"x":"\xff"}'), "malformed")
case("header-list", sign(f"[{HEADER}]"), "malformed")
case("space-before-signature", f"{h}.{p}. {s}", "malformed")
case("space-in-header", f"{h} .{p}.{s}", "malformed")
case("newline-at-end", f"{good}\n", "malformed")
case("invalid-character-in-signature", f"{h}.{p}.?{s[1:]}", "malformed")
case("invalid-character-in-header", f"{h[:-1]}?{h[-1]}.{p}.{s}", "malformed")
case("invalid-character-in-payload", f"{h}.{p}?.{s}", "malformed")
case("padded-signature", f"{good}==", "malformed")
case("spare-bits-in-signature", f"{h}.{p}.{s[:-1]}{chr(ord(s[-1]) + 1)}", "malformed")
case("spare-bits-in-payload", f"{h}.AB.{s}", "malformed")
case("signature-truncated", with_signature(raw[:63]), "bad_signature", "malformed")
case("signature-too-long", with_signature(raw + b"\0"), "bad_signature", "malformed")
case("signature-much-too-long", with_signature(raw * 20), "bad_signature", "malformed")
case("s-plus-l", with_signature(R + (S + L).to_bytes(32, "little")), "bad_signature", note="RFC 8032 section 5.1.7")
case("s-zero", with_signature(R + bytes(32)), "bad_signature")
case("s-is-l", with_signature(R + L.to_bytes(32, "little")), "bad_signature")
case("r-zero", with_signature(bytes(32) + raw[32:]), "bad_signature")
case("r-neutral-s-zero", with_signature(b"\1" + bytes(63)), "bad_signature")
case("all-zero", with_signature(bytes(64)), "bad_signature")
case("all-ones", with_signature(b"\xff" * 64), "bad_signature")
case("s-r-swapped", with_signature(raw[32:] + R), "bad_signature")

file = {
    "format": "JWS compact with EdDSA: the signature layer alone",
    "made_with": "make-eddsa-jws.py, after Wycheproof's json_web_signature_test.json",
    "jwks": {"keys": [jwk(KEY, "kid-ed-sign"), jwk(OTHER, "kid-ed-other")]},
    "cases": cases,
}
text = json.dumps(file, indent=1, ensure_ascii=True) + "\n"
pathlib.Path(__file__).with_name("eddsa-jws.json").write_text(text)
