#!/usr/bin/env python3
"""Writes chap.json: tokens of crtauth and their verdicts. Deterministic, with nothing but the standard library.

The first cases are tokens that the originals made (crtauth.json); the others follow the layout that is written down there.
"""

import base64
import hashlib
import hmac
import json
import pathlib

HERE = pathlib.Path(__file__).parent
NOW = 1_700_000_000
SECRET = "server_secret"
originals = json.loads((HERE / "crtauth.json").read_text())
cases = []


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def add(name, token, verdict, now=NOW, secrets=(SECRET,), subject=None, note=None, **more):
    case = {"name": name, "token": token if isinstance(token, str) else b64(token), "secrets": list(secrets), "now": now, "verdict": verdict}
    if subject is not None:
        case["subject"] = subject
    if note:
        case["note"] = note
    cases.append(case | more)


def xdr(name, start, end, key=SECRET):
    name = name if isinstance(name, bytes) else name.encode()
    payload = b"t\0\0\0" + start.to_bytes(4, "big") + end.to_bytes(4, "big") + len(name).to_bytes(4, "big") + name + b"\0" * (-len(name) % 4)
    return b"v\0\0\0" + hmac.new(key.encode(), payload, hashlib.sha1).digest() + len(payload).to_bytes(4, "big") + payload


def signed(body, key=SECRET):
    return body + b"\xc4\x20" + hmac.new(key.encode(), body, hashlib.sha256).digest()


def msgpack(name, start, end, key=SECRET, string=None, uint=lambda t: b"\xce" + t.to_bytes(4, "big")):
    name = name if isinstance(name, bytes) else name.encode()
    if string is None:
        string = bytes([0xA0 | len(name)]) if len(name) < 32 else bytes([0xD9, len(name)])
    return signed(b"\x01t" + uint(start) + uint(end) + string + name, key)


A, B = NOW - 2, NOW + 60
add("python", originals["python"]["roundtrip_own_key_v0"]["token"], "ok", subject="test", note="made by crtauth 0.99.4")
add("java", originals["java"]["token"], "ok", subject="test", note="made by crtauth-java")
add("python-utf8", originals["python"]["utf8_username_v1"]["token"], "ok", subject="nöa€")
add("protocol-md", originals["python"]["t_msgpack"]["token"], "ok", now=1_365_084_400, secrets=["gurkburk"], subject="noa", note="PROTOCOL.md's own")
add("protocol-md-wrong-secret", originals["python"]["t_msgpack"]["token"], "bad_signature", now=1_365_084_400, secrets=["wrong"])
add("python-v0", originals["python"]["t_v0_token"]["token"], "ok", now=1_411_746_561, subject="test")

for version, make in (("v0", xdr), ("v1", msgpack)):
    good = make("ada", A, B)
    add(f"{version}-good", good, "ok", subject="ada")
    add(f"{version}-first-second", good, "ok", now=A, subject="ada")
    add(f"{version}-last-second", good, "ok", now=B, subject="ada", note="both ends count")
    add(f"{version}-early", good, "not_yet_valid", now=A - 1, note="no leeway: it is dated back")
    add(f"{version}-late", good, "expired", now=B + 1)
    add(f"{version}-second-secret", good, "ok", secrets=["another", SECRET], subject="ada")
    add(f"{version}-wrong-secret", good, "bad_signature", secrets=["another"])
    for life in (597, 598, 599, 600):
        add(f"{version}-life-{life}", make("ada", A, A + life), "ok", subject="ada")
    for life in (601, 3600):
        add(f"{version}-life-{life}", make("ada", A, A + life), "malformed", note="over 600 s")
    add(f"{version}-ends-before-it-begins", make("ada", B, A), "malformed")
    for length in (1, 3, 4, 31, 32, 33, 64, 255):
        add(f"{version}-name-{length}", make("u" * length, A, B), "ok", subject="u" * length)
    add(f"{version}-name-empty", make("", A, B), "malformed")
    add(f"{version}-name-control", make("a\r\nb", A, B), "malformed")
    add(f"{version}-name-not-utf8", make(b"a\xff", A, B), "malformed")
    for at in range(0, len(good), 3):
        changed = bytearray(good)
        changed[at] ^= 4
        add(f"{version}-bit-{at}", bytes(changed), "rejected")
    for end in (0, 1, 2, 10, len(good) - 1):
        add(f"{version}-cut-{end}", good[:end], "rejected")
    add(f"{version}-longer", good + b"\0", "malformed")
    add(f"{version}-padding", b64(good) + "=", "malformed")

add("v0-length-lies", b"v\0\0\0" + b"\0" * 20 + b"\xff\xff\xff\xff" + b"t\0\0\0", "malformed")
add("v0-length-wraps", b"v\0\0\0" + b"\0" * 20 + b"\xff\xff\xff\xfd" + b"t\0\0\0", "malformed", note="its padding wraps round 32 bits")
add("v1-length-lies", b"\x01t\xce\0\0\0\1\xce\0\0\0\2\xda\xff\xffada", "malformed")
add("v1-name-old-raw16", msgpack("u" * 32, A, B, string=b"\xda\x00\x20"), "ok", subject="u" * 32, note="as msgpack-python before 1.0")
add("v1-time-uint64", msgpack("ada", A, B, uint=lambda t: b"\xcf" + t.to_bytes(8, "big")), "ok", subject="ada")
add("v1-time-negative", msgpack("ada", A, B, uint=lambda t: b"\xd2" + t.to_bytes(4, "big")), "malformed")
add("v1-mac-cut", msgpack("ada", A, B)[:-1], "malformed")
body = msgpack("ada", A, B)[:-34]
add("v1-mac-sha1", body + b"\xc4\x14" + hmac.new(SECRET.encode(), body, hashlib.sha1).digest(), "malformed")
add("v0-with-a-v1-mac", b"v\0\0\0" + hmac.new(SECRET.encode(), xdr("ada", A, B)[28:], hashlib.sha256).digest()[:20] + xdr("ada", A, B)[24:], "bad_signature")
add("challenge-as-token", originals["python"]["roundtrip_own_key_v1"]["challenge"], "malformed", note="of another message, with a good MAC")
add("challenge-v0-as-token", originals["python"]["roundtrip_own_key_v0"]["challenge"], "malformed")

file = {"about": "Tokens of crtauth, made by make-chap.py.", "cases": cases}
(HERE / "chap.json").write_text(json.dumps(file, indent=1, ensure_ascii=False) + "\n")
