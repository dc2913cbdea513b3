"""What a verifier is made of, and what becomes of its keys."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import seamless
from seamless.signer import Signer

from conftest import SECRET


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({}, ValueError, "secret: is missing"),
        ({"secret": ""}, ValueError, "secret: is empty"),
        ({"secret": b""}, ValueError, "secret: is empty"),
        ({"secret": []}, ValueError, "secret: is empty"),
        ({"secret": [SECRET, ""]}, ValueError, "secret: is empty"),
        ({"secret": 5}, TypeError, "secret: "),
        ({"secret": [5]}, TypeError, "secret: "),
        ({"secret": "\ud800" * 20}, ValueError, "secret: "),
        ({"chap_secret": ""}, ValueError, "chap_secret: is empty"),
        ({"secret": SECRET, "max_age": 0}, ValueError, "max_age: "),
        ({"secret": SECRET, "max_age": 86_401}, ValueError, "max_age: "),
        ({"secret": SECRET, "max_age": "60"}, TypeError, "max_age: "),
        ({"secret": SECRET, "max_age": True}, TypeError, "max_age: "),
        ({"secret": SECRET, "leeway": 61}, ValueError, "leeway: "),
        ({"secret": SECRET, "leeway": -1}, ValueError, "leeway: "),
        ({"secret": SECRET, "digest": "md5"}, ValueError, "digest: "),
        ({"secret": SECRET, "digest": 5}, TypeError, "digest: "),
        ({"secret": SECRET, "realm": 5}, TypeError, "realm: "),
        ({"secret": SECRET, "audience": "\ud800"}, ValueError, "audience: "),
        ({"jwks": {"keys": []}, "issuer": 5, "audience": "a"}, TypeError, "issuer: "),
        ({"secret": SECRET, "audience": 5}, TypeError, "audience: "),
        ({"secret": SECRET, "audience": b"a"}, TypeError, "audience: "),
        ({"secret": SECRET, "scope": [""]}, ValueError, "scope: "),
        ({"secret": SECRET, "issuer": "https://i"}, ValueError, "issuer: "),
        ({"secret": SECRET, "realm": "a\nb"}, ValueError, "realm: "),
        ({"secret": SECRET, "rules": "[{}]"}, ValueError, "rules: "),
        ({"secret": SECRET, "rules": 5}, TypeError, "rules: "),
        ({"secret": SECRET, "revocations": "{"}, ValueError, "revocations: "),
        ({"jwks": {"keys": []}}, ValueError, "issuer: "),
        ({"jwks": {"keys": []}, "issuer": "https://i"}, ValueError, "audience: "),
        ({"jwks": {"keys": 5}, "issuer": "https://i", "audience": "a"}, ValueError, "jwks: "),
        ({"jwks": {"keys": object()}, "issuer": "https://i", "audience": "a"}, ValueError, "jwks: "),
        ({"jwks": "/nowhere/jwks.json", "issuer": "https://i", "audience": "a"}, ValueError, "jwks: can't read"),
        ({"jwks": "http://i.example/jwks", "issuer": "https://i", "audience": "a"}, ValueError, "jwks: "),
        ({"jwks": 5, "issuer": "https://i", "audience": "a"}, TypeError, "jwks: "),
        ({"secret": SECRET, "colour": "red"}, TypeError, "colour"),
    ],
)
def test_wrong_words_are_errors_that_name_the_argument(words: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as failed:
        seamless.Verifier(**words)
    assert str(failed.value).startswith(text) or text == "colour" and text in str(failed.value)
    assert SECRET not in str(failed.value)


def test_a_short_secret_is_worth_a_warning() -> None:
    with pytest.warns(UserWarning, match="under 16 bytes") as told:
        seamless.Verifier("too short")
    assert told[0].filename == __file__
    assert "too short" not in str(told[0].message)


def test_a_rejection_says_what_every_edge_says() -> None:
    verifier = seamless.Verifier(SECRET)
    token = Signer(SECRET).sign("ada")
    assert verifier.verify(token).subject == verifier.verify(token.encode()).subject == "ada"
    cases = [(token + "x", "bad_signature"), ("x", "malformed"), ("\ud800", "malformed"), (b"\xff" * 9000, "too_large")]
    for bad, code in cases:
        with pytest.raises(seamless.Rejection) as failed:
            verifier.verify(bad)  # type: ignore[arg-type]
        assert (failed.value.code, failed.value.status, failed.value.message) == (code, 401, "invalid token")
    with pytest.raises(seamless.Rejection) as failed:
        verifier.verify_with(token, now=int(time.time()) + 61)
    assert (failed.value.code, str(failed.value)) == ("expired", "token expired")
    with pytest.raises(seamless.Rejection) as failed:
        verifier.verify_with(token, now=int(time.time()) - 60)
    assert failed.value.code == "not_yet_valid" and str(failed.value).startswith("token not yet valid (skew ")
    again = pickle.loads(pickle.dumps(failed.value))
    assert (again.code, again.skew, str(again)) == (failed.value.code, failed.value.skew, str(failed.value))
    for wrong in (None, 5, bytearray(token.encode())):
        with pytest.raises(TypeError) as told:
            verifier.verify(wrong)  # type: ignore[arg-type]
        assert str(told.value) == "token: is text or bytes"
    for now in (-1, 1.5, True):
        with pytest.raises((TypeError, ValueError)) as told:
            verifier.verify_with(token, now=now)  # type: ignore[arg-type]
        assert str(told.value).startswith("now: ")
    with pytest.raises(TypeError, match="^subject: "):
        Signer(SECRET).sign(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^method: "):
        verifier.check(5, "https", "a", "/", [])  # type: ignore[arg-type]


def test_what_a_secret_stands_for_is_the_operators_word() -> None:
    token = Signer(SECRET).sign("ada")
    bound = seamless.Verifier(SECRET, secret_audience="https://api.example", secret_scope=["read"], audience="https://api.example")
    identity = bound.verify(token)
    assert (identity.audiences, identity.scopes) == (("https://api.example",), ("read",))
    assert identity.has_scope("read") and not identity.has_scope("write")
    assert bound.verify_with(token, scope="read") == identity and hash(identity) == hash(bound.verify(token))
    for demand, code in [({"scope": "write"}, "missing_scope"), ({"audience": ["https://b.example"]}, "wrong_audience")]:
        with pytest.raises(seamless.Rejection) as failed:
            bound.verify_with(token, **demand)
        assert failed.value.code == code
    with pytest.raises(seamless.Rejection) as failed:
        seamless.Verifier(SECRET, audience="https://api.example").verify(token)
    assert failed.value.code == "wrong_audience"


def test_an_identity_can_not_be_changed_or_made() -> None:
    identity = seamless.Verifier(SECRET).verify(Signer(SECRET).sign("ada"))
    with pytest.raises(AttributeError):
        identity.subject = "eve"  # type: ignore[misc]
    with pytest.raises(TypeError):
        seamless.Identity()
    assert identity.headers() == {"x-seamless-user": "ada", "x-seamless-scope": "", "x-seamless-groups": ""}


def test_what_is_taken_back_is_rejected_at_once() -> None:
    verifier, token = seamless.Verifier(SECRET), Signer(SECRET).sign("ada")
    assert verifier.verify(token)
    ends = int(time.time()) + 100
    verifier.set_revocations([{"sub": "ada", "issued_before": ends}])
    with pytest.raises(seamless.Rejection) as failed:
        verifier.verify(token)
    assert failed.value.code == "revoked"
    with pytest.raises(ValueError, match="revocations"):
        verifier.set_revocations("[5]")
    verifier.set_revocations([])
    assert verifier.verify(token)


def keys_of(realm: Any) -> Any:
    import urllib.request

    with urllib.request.urlopen(realm.jwks()) as answer:
        return json.load(answer)


def until_verified(verifier: seamless.Verifier, token: str) -> seamless.Identity:
    limit = time.monotonic() + 30
    while True:
        try:
            return verifier.verify(token)
        except seamless.Rejection as rejection:
            assert rejection.code == "unknown_key" and time.monotonic() < limit, rejection.code
        time.sleep(0.05)


def test_keys_are_text_a_dict_a_file_or_an_address(realm: Any, tmp_path: Path) -> None:
    token, jwks = seamless.get_token(realm.login), keys_of(realm)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks))
    for given in (jwks, json.dumps(jwks), file, str(file), realm.jwks()):
        verifier = seamless.Verifier(jwks=given, issuer=realm.issuer, audience=realm.issuer)
        assert verifier.verify(token).subject == realm.user
        with pytest.raises(seamless.Rejection) as failed:
            verifier.verify_with(token, audience="https://other.example")
        assert failed.value.code == "wrong_audience"


def test_a_file_of_keys_is_read_again(realm: Any, tmp_path: Path, vectors: Any) -> None:
    token, file = seamless.get_token(realm.login), tmp_path / "jwks.json"
    file.write_text(json.dumps(vectors("jwt.json")["jwks"]))
    verifier = seamless.Verifier(jwks=file, issuer=realm.issuer, audience=realm.issuer)
    with pytest.raises(seamless.Rejection) as failed:
        verifier.verify_with(token, wait=False)
    assert failed.value.code == "unknown_key"
    file.write_text(json.dumps(keys_of(realm)))
    assert until_verified(verifier, token).subject == realm.user


def test_an_address_that_fails_is_told_to_the_log_and_answered_503(
    site: Any, caplog: pytest.LogCaptureFixture, vectors: Any
) -> None:
    server = site(lambda *_: (500, [], b"no"))
    with caplog.at_level(logging.WARNING, "seamless"):
        verifier = seamless.Verifier(jwks=server.url, issuer="https://i.example", audience="a")
        token = next(case["token"] for case in vectors("jwt.json")["cases"] if case["verdict"] == "ok")
        with pytest.raises(seamless.Rejection) as failed:
            verifier.verify(token)
        assert (failed.value.code, failed.value.status) == ("keys_unavailable", 503)
        limit = time.monotonic() + 10
        while not caplog.records:
            assert time.monotonic() < limit
            time.sleep(0.01)
    assert "no new keys from" in caplog.text and token not in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_fetches_keys_by_itself(realm: Any) -> None:
    """Servers fork after they have loaded the application, and threads don't come along."""
    token = seamless.get_token(realm.login)
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
    assert verifier.verify(token)
    # Others are at it while the process forks.
    going = threading.Event()
    busy = threading.Thread(target=lambda: [verifier.verify(token) for _ in iter(going.is_set, True)])
    busy.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    verifier.set_revocations([])
                    code = 0 if verifier.verify(token).subject == realm.user else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        going.set()
        busy.join()


def test_a_fork_that_python_does_not_hear_of_fetches_keys_too(realm: Any) -> None:
    """uWSGI forks below Python: without a thread that fetches, a key that was taken back would be believed for ever."""
    token = seamless.get_token(realm.login)
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
    assert verifier.verify(token)
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        code = 1
        try:
            threads = Path("/proc/self/task")
            fetches = not threads.is_dir()
            assert fetches or len(list(threads.iterdir())) == 1
            verifier.verify(token)
            fetches = fetches or any((one / "comm").read_text() == "seamless-keys\n" for one in threads.iterdir())
            code = 0 if fetches else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_of_unknown_keys_nobody_waits_for_long(realm: Any, vectors: Any) -> None:
    """Attack: tokens of keys that nobody has hold up the threads of a server."""
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
    verifier.verify(seamless.get_token(realm.login))
    forged = next(case["token"] for case in vectors("jwt.json")["cases"] if case["verdict"] == "ok")
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(seamless.Rejection) as failed:
            verifier.verify(forged)
        assert failed.value.code == "unknown_key"
    assert time.monotonic() - began < 10
