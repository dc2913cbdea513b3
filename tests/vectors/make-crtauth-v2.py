#!/usr/bin/env python3
"""Writes crtauth-v2.json: log-ins of version 2, made without any code of this repository.

Needs OpenSSH's ssh-keygen, which makes the keys and signs (`ssh-keygen -Y sign`). The keys are kept in the file and used
again; ECDSA signatures differ from run to run, so those that are there are kept as well.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
FILE = HERE / "crtauth-v2.json"
NAMESPACE = "seamless-auth-v2"
NOW = 1_800_000_000
SECRET = b"a secret of the realm, 32 bytes."
SERVER = "login.example.com"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def uint(value):
    if value < 0x80:
        return bytes([value])
    for marker, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if value < 1 << 8 * width:
            return bytes([marker]) + value.to_bytes(width, "big")


def text(value):
    data = value.encode()
    return (bytes([0xA0 | len(data)]) if len(data) < 32 else bytes([0xD9, len(data)])) + data


def binary(data):
    return (b"\xc4" + len(data).to_bytes(1, "big") if len(data) < 256 else b"\xc5" + len(data).to_bytes(2, "big")) + data


def texts(values):
    return bytes([0x90 | len(values)]) + b"".join(map(text, values))


def wish(case):
    return text(case["format"]) + texts(case["audiences"]) + texts(case["scopes"]) + uint(case["ttl"])


def derived(label):
    return hmac.new(SECRET, label.encode(), hashlib.sha256).digest()


def hints(user, nonce, blobs):
    seed = hmac.new(derived("seamless crtauth fake fingerprint"), b"hints" + user.encode(), hashlib.sha256).digest()
    out = []
    for number in range(16):
        filler = (bytes([number]) + seed).ljust(51, bytes([number]))
        blob = blobs[number] if number < len(blobs) else filler
        out.append(hashlib.sha256(b"seamless-auth-v2 hint" + nonce + blob).digest()[:8])
    return b"".join(sorted(out))


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, **more).stdout


def sign(private, message, folder):
    key = folder / "key"
    key.write_text(private)
    key.chmod(0o600)
    armoured = run("ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), input=message).decode()
    return base64.b64decode("".join(line for line in armoured.splitlines() if not line.startswith("-----")))


def main():
    old = json.loads(FILE.read_text()) if FILE.exists() else {"keys": {}, "cases": []}
    keys = old["keys"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for kind, bits in (("ed25519", None), ("ecdsa", "256"), ("ecdsa-384", "384"), ("ecdsa-521", "521"), ("rsa", "2048")):
            if kind not in keys:
                path = folder / kind
                size = ["-b", bits] if bits else []
                run("ssh-keygen", "-q", "-t", kind.split("-")[0], *size, "-N", "", "-C", "vectors", "-f", str(path))
                keys[kind] = {"private": path.read_text(), "public": path.with_suffix(".pub").read_text().strip()}
        blob = {kind: base64.b64decode(key["public"].split()[1]) for kind, key in keys.items()}
        cases = []
        for number, kind in enumerate(keys):
            before = next((case for case in old["cases"] if case["key"] == kind), {})
            case = {
                "key": kind,
                "user": "ada",
                "format": "" if number else "jwt",
                "audiences": ["https://api.example.com"] if number % 2 else [],
                "scopes": ["read", "write"] if number > 2 else [],
                "ttl": 120 * number,
                "nonce": bytes(range(number, number + 32)).hex(),
            }
            nonce = bytes.fromhex(case["nonce"])
            request = uint(1) + uint(ord("q")) + text(case["user"]) + uint(2) + wish(case)
            # Other keys of the user's, to be told apart.
            enrolled = [blob[kind]] + [b for k, b in blob.items() if k != kind][:number]
            covered = (
                uint(2) + uint(ord("c")) + binary(nonce) + uint(NOW - 2) + uint(NOW + 20)
                + binary(hints(case["user"], nonce, enrolled)) + text(SERVER) + text(case["user"]) + wish(case)
            )
            challenge = covered + binary(hmac.new(derived("seamless crtauth handshake"), covered, hashlib.sha256).digest())
            signature = sign(keys[kind]["private"], challenge, folder)
            response = uint(2) + uint(ord("r")) + binary(challenge) + binary(signature)
            case["enrolled"] = [base64.b64encode(b).decode() for b in enrolled]
            case["request"] = "request:" + b64(request)
            case["challenge"] = "challenge:" + b64(challenge)
            case["response"] = "response:" + b64(response)
            if kind.startswith("ecdsa") and before.get("challenge") == case["challenge"]:
                case["response"] = before["response"]
            cases.append(case)
    file = {
        "about": "Log-ins of version 2 (docs/protocol-v2.md), made by make-crtauth-v2.py and ssh-keygen -Y sign.",
        "secret": SECRET.decode(),
        "server_name": SERVER,
        "now": NOW,
        "keys": keys,
        "cases": cases,
    }
    FILE.write_text(json.dumps(file, indent=1) + "\n")


main()
