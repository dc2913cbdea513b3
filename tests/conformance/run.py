"""CPython: `run.py FOLDER_OF_VECTORS`, a line of JSON a case, the same lines as those of suite.mjs.

Nothing is compared here, but for what can only be seen here, which becomes part of `got`.
"""

import json
import sys
import warnings
from pathlib import Path

import seamless
from seamless import Rejection, Verifier
from seamless.wsgi import _STATUS as statuses

# The vectors have secrets of every length.
warnings.simplefilter("ignore")


def main(folder):
    def read(name):
        return json.loads((folder / f"{name}.json").read_text())

    for suite in (of_seamless, chap, jwt, keys, authorization, identity, strip, answers, rules, refused, paths, prefixes):
        for name, got, *subject in suite(read):
            line = {"suite": suite.__name__.replace("of_", ""), "case": str(name), "got": got}
            if subject and subject[0] is not None:
                line["subject"] = subject[0]
            print(json.dumps(line))


def verdict(verifier, token, now):
    try:
        return "ok", verifier.verify_with(token, now=now).subject
    except Rejection as rejection:
        return rejection.code, None


def of_seamless(read):
    file = read("seamless-v1")
    for case in file["cases"]:
        verifier = Verifier(case["secrets"], digest=case["digest"], max_age=case["max_age"], leeway=file["leeway"])
        yield case["name"], *verdict(verifier, case["token"], case["now"])


def chap(read):
    for case in read("chap")["cases"]:
        yield case["name"], *verdict(Verifier(chap_secret=case["secrets"]), case["token"], case["now"])


def of_policy(file, case):
    policy = case["policy"]
    return Verifier(
        jwks=file["jwks"],
        issuer=policy["issuer"],
        audience=policy["audience"],
        leeway=policy["leeway"],
        scope=policy["scope"],
        revocations=case.get("revoked"),
    )


def jwt(read):
    file = read("jwt")
    for case in file["cases"]:
        yield case["name"], *verdict(of_policy(file, case), case["token"], case["now"])


def keys(read):
    for short, name in (("jws", "json_web_signature_test"), ("jwk", "json_web_key_test")):
        for i, group in enumerate(read(f"wycheproof/{name}")["testGroups"]):
            for half in ("public", "private"):
                if half in group:
                    yield f"{short} {i} {half} {group.get('comment')}", loads(group[half])


def loads(keys):
    jwks = keys if isinstance(keys.get("keys"), list) else {"keys": [keys]}
    try:
        Verifier(jwks=jwks, issuer="https://login.example/corp", audience="https://api.example")
    except ValueError:
        return "refused"
    return "loaded"


def made(file, **more):
    """With what a file of vectors names. It asks for the audience of JWTs alone: a secret's tokens have that one."""
    settings = file["verifier"]
    verifier = Verifier(
        settings["secrets"],
        digest=settings["digest"],
        max_age=settings["max_age"],
        secret_audience=settings["audience"],
        jwks=settings["jwks"],
        issuer=settings["issuer"],
        audience=settings["audience"],
        leeway=settings["leeway"],
        realm=settings["realm"],
        **more,
    )
    return verifier, settings["now"]


def outcome(verifier, request, now):
    return verifier.outcome(*request, now=now)


def authorization(read):
    file = read("headers")
    verifier, now = made(file)
    for case in file["authorization"]:
        headers = [("Authorization", value) for value in case["authorization"]]
        got = outcome(verifier, ("GET", "", "", "/", headers), now)
        subject = None
        if got == "identity":
            got, subject = "ok", spoken_for(verifier, case["authorization"][0], now)
        yield case["name"], got, subject


def spoken_for(verifier, value, now):
    token = value[5:].lstrip(" ") if value.startswith("chap:") else value.split(" ", 1)[1]
    return verifier.verify_with(token.encode("latin-1"), now=now).subject


def identity(read):
    file = read("headers")
    verifier, now = made(file)
    for case in file["identity"]:
        try:
            headers = verifier.verify_with(case["token"], now=now).headers()
        except Rejection as rejection:
            yield case["name"], rejection.code
        else:
            yield case["name"], json.dumps(dict(sorted(headers.items())), separators=(",", ":"), ensure_ascii=False)


def strip(read):
    file = read("headers")
    verifier, _ = made(file, rules={"rules": [{"path_prefix": "/", "need": "open"}]})
    for case in file["strip"]:
        name = case["name"]
        headers = [(name.encode("latin-1", "replace"), b"mallory")]
        _, kept = verifier.check_asgi({"type": "http", "method": "GET", "path": "/", "headers": headers})
        environ = {"PATH_INFO": "/", f"HTTP_{name.upper().replace('-', '_')}": "mallory"}
        verifier.check_wsgi(environ)
        ways = {"kept" if kept else "stripped", "kept" if "mallory" in environ.values() else "stripped"}
        yield name, ways.pop() if len(ways) == 1 else "WSGI and ASGI differ"


def answers(read):
    file, tokens = read("headers"), read("jwt")
    verifier, now = made(file)
    found = {}

    def keep(verifier, ask):
        try:
            ask(verifier)
        except Rejection as rejection:
            found[rejection.code] = rejection

    for case in file["authorization"]:
        for value in case["authorization"]:
            if " " in value and "," not in value:
                keep(verifier, lambda one: one.verify_with(value.split(" ", 1)[1].encode("latin-1"), now=now))
    keep(verifier, lambda one: one.check("GET", "", "", "/", []))
    keep(verifier, lambda one: one.check("GET", "", "", "/", [("Authorization", "x")]))
    for case in tokens["cases"]:
        keep(of_policy(tokens, case), lambda one: one.verify_with(case["token"], now=case["now"]))
    keep(made(file, rules={"rules": []})[0], lambda one: one.check("GET", "", "", "//", []))
    for code, rejection in sorted(found.items()):
        answer = {
            "status": rejection.status,
            "message": rejection.message,
            "skew": rejection.skew is not None,
            "sent": int(statuses[rejection.status].split()[0]),
        }
        if rejection.status in (401, 403):
            answer["challenges"] = ", ".join(verifier.challenges(code))
        yield code, json.dumps(answer, separators=(",", ":"))


def rules(read):
    file = read("rules")
    for group in file["sets"]:
        verifier, now = made(file, rules=group["rules"])
        for i, case in enumerate(group["requests"]):
            token = case["token"]
            headers = [] if token is None else [("authorization", f"Bearer {file['tokens'][token]}")]
            request = (case["method"], "https", case["authority"], case["path"], headers)
            path = "null" if case["path"] is None else case["path"]
            yield f"{group['name']} {i} {case['method']} {path}", outcome(verifier, request, now)


def refused(read):
    file = read("rules")
    for case in file["refused"]:
        try:
            made(file, rules=json.dumps(case["rules"]))
        except ValueError as error:
            yield case["name"], "refused" if str(error).startswith("rules: ") else str(error)
        else:
            yield case["name"], "loaded"


def paths(read):
    verifier, now = made(read("rules"), rules={"rules": [{"path_prefix": "/", "need": "open"}]})
    for case in read("paths")["cases"]:
        name = "null" if case["path"] is None else case["path"]
        yield name, outcome(verifier, ("GET", "https", "api.example", case["path"], []), now)


def prefixes(read):
    file = read("rules")
    for case in read("paths")["prefixes"]:
        verifier, now = made(file, rules={"rules": [{"path_prefix": case["prefix"], "need": "open"}]})
        got = outcome(verifier, ("GET", "https", "api.example", case["path"], []), now)
        yield f"{case['path']} below {case['prefix']}", got


if __name__ == "__main__":
    assert seamless.__version__
    main(Path(sys.argv[1]))
