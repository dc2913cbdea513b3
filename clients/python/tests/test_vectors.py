"""The vectors that every runtime is held to, and itsdangerous in both directions."""

from __future__ import annotations

import base64
import importlib.util
import json
import time
from typing import Any, Dict, Iterator

import itsdangerous
import jwt as pyjwt
import pytest

import seamless
from seamless.signer import Signer

from conftest import ROOT, SECRET


@pytest.fixture(scope="module")
def said() -> Dict[str, Dict[str, Any]]:
    """What CPython says to each case, by suite and name."""
    spec = importlib.util.spec_from_file_location("conformance", ROOT / "tests/conformance/run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suites = (
        module.of_seamless,
        module.chap,
        module.jwt,
        module.keys,
        module.authorization,
        module.identity,
        module.strip,
        module.answers,
        module.rules,
        module.refused,
        module.paths,
        module.prefixes,
    )

    def read(name: str) -> Any:
        return json.loads((ROOT / "tests/vectors" / f"{name}.json").read_text())

    return {suite.__name__: {name: got for name, *got in suite(read)} for suite in suites}


def wrong(said: Dict[str, Any], cases: Any) -> Iterator[str]:
    for case in cases:
        got, *subject = said[case["name"]]
        wanted = case["verdict"]
        good = got != "ok" if wanted == "rejected" else got == wanted or got in case.get("or", [])
        subject_wanted = case.get("subject", case.get("expect", {}).get("subject"))
        if not good or (got == "ok" and subject_wanted is not None and subject != [subject_wanted]):
            yield f"{case['name']}: {got} {subject}, not {wanted} {subject_wanted}"


@pytest.mark.filterwarnings("ignore:.*under 16 bytes")
@pytest.mark.parametrize(
    ("suite", "file", "member", "at_least"),
    [
        ("of_seamless", "seamless-v1.json", "cases", 170),
        ("chap", "chap.json", "cases", 110),
        ("jwt", "jwt.json", "cases", 130),
        ("authorization", "headers.json", "authorization", 40),
    ],
)
def test_verdicts(said: Any, vectors: Any, suite: str, file: str, member: str, at_least: int) -> None:
    cases = vectors(file)[member]
    assert len(cases) >= at_least
    assert list(wrong(said[suite], cases)) == []


def test_rules_and_paths(said: Any, vectors: Any) -> None:
    judged = 0
    for group in vectors("rules.json")["sets"]:
        for i, case in enumerate(group["requests"]):
            path = "null" if case["path"] is None else case["path"]
            assert said["rules"][f"{group['name']} {i} {case['method']} {path}"] == [case["outcome"]]
            judged += 1
    for case in vectors("paths.json")["cases"]:
        wanted = "open" if case["verdict"] == "ok" else case["verdict"]
        assert said["paths"]["null" if case["path"] is None else case["path"]] == [wanted]
        judged += 1
    assert judged > 140


def test_headers_and_answers(said: Any, vectors: Any) -> None:
    file = vectors("headers.json")
    for case in file["identity"]:
        assert json.loads(said["identity"][case["name"]][0]) == case["headers"]
    for case in file["strip"]:
        assert said["strip"][case["name"]] == ["stripped" if case["strip"] else "kept"], case
    for case in file["codes"]:
        # What no vector brings about is the keys' that can't be fetched: test_verifier.py.
        if case["code"] in said["answers"]:
            answer = json.loads(said["answers"][case["code"]][0])
            assert answer["status"] == answer["sent"] == case["status"] and answer["message"].startswith(case["body"])
    assert len(said["answers"]) >= 14


def test_what_does_not_load(said: Any, vectors: Any) -> None:
    assert {tuple(got) for got in said["refused"].values()} == {("refused",)}
    private = {name: got for name, got in said["keys"].items() if " private " in name}
    assert private and {tuple(got) for got in private.values()} == {("refused",)}
    for case in vectors("paths.json")["prefixes"]:
        wanted = "open" if case["below"] else "missing_authorization"
        assert said["prefixes"][f"{case['path']} below {case['prefix']}"] == [wanted]


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("subject", ["ada", "a.b.c", "ada@example.com", "ü", "x" * 500])
def test_itsdangerous_in_both_directions(digest: str, subject: str) -> None:
    import hashlib

    theirs = itsdangerous.TimestampSigner(SECRET, key_derivation="none", digest_method=getattr(hashlib, digest))
    ours = Signer(SECRET, digest)
    assert seamless.Verifier(SECRET, digest=digest).verify(theirs.sign(subject)).subject == subject
    assert theirs.unsign(ours.sign(subject), max_age=60).decode() == subject
    other = theirs.sign(subject)[:-1] + b"A" if theirs.sign(subject)[-1:] != b"A" else theirs.sign(subject)[:-1] + b"B"
    with pytest.raises(seamless.Rejection):
        seamless.Verifier(SECRET, digest=digest).verify(other)
    with pytest.raises(itsdangerous.BadSignature):
        theirs.unsign(ours.sign(subject) + "x")


def test_rotation_is_as_itsdangerous_has_it() -> None:
    old, new = SECRET + " of last year", SECRET
    theirs = itsdangerous.TimestampSigner([old, new], key_derivation="none")
    ours = Signer([old, new])
    # The last signs, and all are accepted.
    assert seamless.Verifier(new).verify(theirs.sign("ada")).subject == "ada"
    assert seamless.Verifier(new).verify(ours.sign("ada")).subject == "ada"
    for secret in (old, new):
        assert theirs.unsign(Signer(secret).sign("ada"), max_age=60) == b"ada"
        assert ours.unsign(Signer(secret).sign("ada")) == "ada"
    with pytest.raises(seamless.Rejection) as failed:
        seamless.Verifier(new).verify(Signer(old).sign("ada"))
    assert failed.value.code == "bad_signature"


def test_the_original_signer_is_this_one() -> None:
    """The original derived its own from itsdangerous, and signed with the clock."""
    signer = Signer(SECRET)
    assert signer.unsign(signer.sign("ada"), max_age=60) == "ada"
    with pytest.raises(seamless.Rejection) as failed:
        signer.unsign(seamless._core.Signer(SECRET).sign("ada", int(time.time()) - 61), max_age=60)
    assert failed.value.message == "token expired"
    with pytest.raises(ValueError, match="subject"):
        signer.sign("")
    with pytest.raises(ValueError, match="secret"):
        Signer("")
    assert SECRET not in repr(signer)


def test_pyjwt_reads_what_the_realm_mints(realm: Any) -> None:
    token = seamless.get_token(realm.login)
    import urllib.request

    with urllib.request.urlopen(realm.jwks()) as answer:
        keys = pyjwt.PyJWKSet.from_json(answer.read())
    key = keys[pyjwt.get_unverified_header(token)["kid"]]
    claims = pyjwt.decode(token, key.key, ["EdDSA"], audience=realm.issuer, issuer=realm.issuer)
    assert claims["sub"] == realm.user


def test_a_jwt_of_a_shared_secret_is_none(realm: Any) -> None:
    """Attack: the public key as the secret of an HMAC."""
    import urllib.request

    with urllib.request.urlopen(realm.jwks()) as answer:
        key = json.load(answer)["keys"][0]
    secret = base64.urlsafe_b64decode(key["x"] + "=")
    forged = pyjwt.encode(
        {"sub": "root", "aud": realm.issuer, "iss": realm.issuer, "exp": time.time() + 60},
        secret,
        "HS256",
        headers={"kid": key["kid"], "typ": "at+jwt"},
    )
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
    with pytest.raises(seamless.Rejection) as failed:
        verifier.verify(forged)
    assert failed.value.code == "unsupported_algorithm"
