"""The plugin of httpx, both ways, against real servers and a real realm."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Iterator, List

import httpx
import pytest

import seamless
from seamless.httpx import SeamlessAuth

from test_requests import CHALLENGE, Source, accepts


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture(params=["sync", "async"])
def ask(request: Any) -> Any:
    """Asks with either client: (auth, method, url, …) -> response."""

    def sync(auth: Any, method: str, url: str, **more: Any) -> httpx.Response:
        with httpx.Client(auth=auth, follow_redirects=True) as client:
            return client.request(method, url, **more)

    def later(auth: Any, method: str, url: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(auth=auth, follow_redirects=True) as client:
                return await client.request(method, url, **more)

        return asyncio.run(run())

    return sync if request.param == "sync" else later


def test_a_service_behind_the_middleware_lets_it_in(realm: Any, site: Any, ask: Any) -> None:
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        identity = verifier.check(method, "http", headers["host"], path, headers.items())
        return 200, [], identity.subject.encode()

    assert ask(SeamlessAuth(realm.login), "GET", site(answer).url).text == realm.user


def test_a_401_is_tried_once_more_with_another_token(site: Any, ask: Any, source: Source) -> None:
    server = site(accepts("Bearer 2"))
    auth = SeamlessAuth(source=source.inner)
    assert ask(auth, "GET", server.url).status_code == 401
    response = ask(auth, "POST", server.url, content=b"body")
    assert (response.status_code, response.content) == (200, b"body")
    assert server.authorizations() == ["Bearer 1", "Bearer 1", "Bearer 2"]
    assert server.asked[-1][2]["cookie"] == "refused=1"
    assert source.made == 2


def test_a_stream_is_not_sent_again(site: Any, ask: Any, source: Source) -> None:
    server = site(accepts("Bearer 2"))
    auth = SeamlessAuth(source=source.inner)
    ask(auth, "GET", server.url)

    def parts() -> Iterator[bytes]:
        yield b"one"

    async def later() -> AsyncIterator[bytes]:
        yield b"one"

    content = later() if "later" in ask.__name__ else parts()
    assert ask(auth, "POST", server.url, content=content).status_code == 401
    assert source.made == 1


def test_a_401_of_somebody_elses_is_left_alone(site: Any, ask: Any, source: Source) -> None:
    server = site(lambda *_: (401, [("WWW-Authenticate", "Basic")], b"expired"))
    auth = SeamlessAuth(source=source.inner)
    ask(auth, "GET", server.url)
    ask(auth, "GET", server.url)
    assert server.authorizations() == ["Bearer 1", "Bearer 1"]


def test_where_a_redirect_leads_gets_no_token(site: Any, ask: Any, source: Source) -> None:
    """Attack: a service sends its callers to a host that asks for a token."""
    evil = site(lambda *_: (401, [CHALLENGE], b"token expired\n"))
    server = site(lambda *_: (302, [("Location", evil.url.replace("127.0.0.1", "localhost"))], b""))
    auth = SeamlessAuth(source=source.inner)
    ask(auth, "GET", server.url)
    assert ask(auth, "GET", server.url).status_code == 401
    assert evil.authorizations() == [None, None]
    assert source.made == 1


def test_only_servers_that_were_named_get_one(site: Any, ask: Any, source: Source) -> None:
    auth = SeamlessAuth(source=source.inner, servers="https://api.example")
    server = site(accepts("Bearer 1"))
    with pytest.raises(ValueError, match="servers"):
        ask(auth, "GET", server.url)
    assert server.asked == [] and source.made == 0


def test_many_tasks_fetch_one_token(site: Any, source: Source) -> None:
    server = site(accepts("Bearer 1"))

    async def run() -> List[int]:
        async with httpx.AsyncClient(auth=SeamlessAuth(source=source.inner)) as client:
            answers = await asyncio.gather(*(client.get(server.url) for _ in range(8)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(run()) == [200] * 8
    assert source.made == 1
