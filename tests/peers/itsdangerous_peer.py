"""The original's signer, for the system tests: one JSON object a line on stdin, one answer a line on stdout.

{"do": "sign",   "secret": HEX, "digest": "sha1", "subject": "ada", "at": 1700000000}  -> {"token": "..."}
{"do": "unsign", "secret": HEX, "digest": "sha1", "token": "...", "max_age": 60, "at": ...}
    -> {"subject": "ada", "timestamp": 1700000000}  or  {"error": "SignatureExpired"}

`at` is the time that the signer shall believe; without it, now.
"""

import hashlib
import json
import sys
import time

from itsdangerous import BadData, TimestampSigner


class Signer(TimestampSigner):
    at = None

    def get_timestamp(self):
        return int(time.time()) if self.at is None else self.at


def signer(ask):
    made = Signer(
        bytes.fromhex(ask["secret"]),
        key_derivation="none",
        digest_method=getattr(hashlib, ask.get("digest", "sha1")),
    )
    made.at = ask.get("at")
    return made


def answer(ask):
    if ask["do"] == "sign":
        return {"token": signer(ask).sign(ask["subject"]).decode()}
    try:
        subject, when = signer(ask).unsign(ask["token"], max_age=ask.get("max_age"), return_timestamp=True)
    except BadData as error:
        return {"error": type(error).__name__}
    return {"subject": subject.decode(), "timestamp": int(when.timestamp())}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
