"""No exception, repr, warning, log or traceback holds a token or a secret, and nothing is printed."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
import warnings
from typing import Any, Callable, List

import pytest

import seamless
from seamless.asgi import SeamlessMiddleware as Asgi
from seamless.httpx import SeamlessAuth as Httpx
from seamless.requests import SeamlessAuth as Requests
from seamless.signer import Signer
from seamless.wsgi import SeamlessMiddleware

SECRET = "hush-hush-hush-hush-hush"
TOKEN = Signer(SECRET).sign("ada")
#: What could be told of a token: its signature. The name in it is no secret.
TOLD = (SECRET, TOKEN, TOKEN.rsplit(".", 1)[1])


def outcomes() -> List[Callable[[], Any]]:
    verifier = seamless.Verifier(SECRET, realm="corp")
    jwt = "eyJhbGciOiJFZERTQSJ9.e30." + TOLD[2]
    environ = {"HTTP_AUTHORIZATION": f"seamless {TOKEN}x", "PATH_INFO": "/"}
    return [
        lambda: verifier.verify(TOKEN + "x"),
        lambda: verifier.verify(jwt),
        lambda: verifier.verify_with(TOKEN, now=1),
        lambda: verifier.verify_with(TOKEN, scope="x"),
        lambda: verifier.check("GET", "https", "a", "/", [("Authorization", f"Basic {TOKEN}")]),
        lambda: verifier.check("GET", "https", "a", "/", [("Authorization", TOKEN)] * 2),
        lambda: verifier.check_wsgi(dict(environ)),
        lambda: verifier.check_asgi({"headers": [(b"authorization", TOKEN.encode())]}),
        lambda: seamless.Verifier([SECRET, ""]),
        lambda: seamless.Verifier(SECRET, max_age=0),
        lambda: seamless.Verifier(SECRET, digest="md5"),
        lambda: seamless.Verifier({SECRET: 1}),  # type: ignore[arg-type]
        lambda: seamless.Verifier(SECRET + "\ud800"),
        lambda: Signer(SECRET).unsign(TOKEN + "x"),
        lambda: Signer(SECRET).sign(""),
        lambda: seamless.Verifier(SECRET, jwks={"keys": [{"kty": "oct", "k": SECRET}]}, issuer="https://i", audience="a"),
    ]


@pytest.mark.parametrize("number", range(16))
def test_no_failure_tells(number: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        with pytest.raises(Exception) as failed:
            outcomes()[number]()
    lines = traceback.format_exception(type(failed.value), failed.value, failed.tb)
    heard = [str(failed.value), repr(failed.value), repr(failed.value.args), *lines, caplog.text, *map(str, warned)]
    heard += [*capfd.readouterr()]
    for told in TOLD:
        assert not any(told in one for one in heard)


def test_no_repr_tells() -> None:
    verifier = seamless.Verifier(SECRET, realm="corp")
    source = seamless.TokenSource("corp@login")
    things = [
        verifier,
        verifier.verify(TOKEN),
        Signer(SECRET),
        seamless._core.Signer(SECRET),
        SeamlessMiddleware(lambda *_: [], secret=SECRET),
        Asgi(lambda *_: asyncio.sleep(0), secret=SECRET),
        source,
        Requests(source=source),
        Httpx(source=source),
    ]
    for thing in things:
        for told in TOLD:
            assert told not in repr(thing) + str(thing)


def test_a_middleware_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    app = SeamlessMiddleware(lambda *_: [], secret=SECRET)
    for value in (TOKEN, f"seamless {TOKEN}x", f"seamless {TOKEN}", "Basic x"):
        app({"HTTP_AUTHORIZATION": value, "PATH_INFO": "/", "REQUEST_METHOD": "GET"}, lambda *_: None)
    assert capfd.readouterr() == ("", "")


def test_threads_and_tasks_share_one_verifier() -> None:
    verifier = seamless.Verifier(SECRET)
    wrong: List[str] = []

    def judge(name: str) -> None:
        token = Signer(SECRET).sign(name)
        for i in range(500):
            if verifier.verify(token).subject != name:
                wrong.append(name)
            if i % 50 == 0:
                verifier.set_revocations([])

    threads = [threading.Thread(target=judge, args=(f"user{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def tasks() -> None:
        await asyncio.gather(*(asyncio.to_thread(judge, f"task{i}") for i in range(8)))

    asyncio.run(tasks())
    assert wrong == []
