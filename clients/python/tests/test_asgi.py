"""The ASGI middleware, on uvicorn."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, MutableMapping

import pytest
import uvicorn
import websockets.sync.client
from websockets.exceptions import InvalidStatus

import seamless
from seamless.asgi import SeamlessMiddleware
from seamless.signer import Signer

from conftest import SECRET
from test_wsgi import ask


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says whom it sees, by header and by identity."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    identity = scope["seamless.identity"]
    seen = sorted(pair for pair in scope["headers"] if pair[0].replace(b"_", b"-").startswith(b"x-seamless"))
    text = repr((identity and identity.subject, seen))
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def run(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < limit and thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from run(SeamlessMiddleware(application, secret=SECRET, realm="corp"))


SEEN = [(b"x-seamless-groups", b""), (b"x-seamless-scope", b""), (b"x-seamless-user", b"ada")]


def test_a_good_token_arrives_as_its_user(port: int) -> None:
    status, _, _, text = ask(port, [("Authorization", f"Bearer {Signer(SECRET).sign('ada')}")])
    assert (status, text) == (200, repr(("ada", SEEN)))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "bad authorization header format\n"), ("seamless x.y.z", "invalid token\n")]
)
def test_a_bad_one_is_answered(port: int, value: Any, text: str) -> None:
    status, _, headers, said = ask(port, [] if value is None else [("Authorization", value)])
    assert (status, said) == (401, text)
    challenges = [value for name, value in headers if name == "www-authenticate"]
    assert challenges[0] == 'seamless realm="corp"' and len(challenges) == 2


def test_what_a_client_says_of_itself_never_arrives(port: int) -> None:
    """Attack: a client names its user itself."""
    token = ("Authorization", f"seamless {Signer(SECRET).sign('ada')}")
    for name in ("X-Seamless-User", "x_seamless_user", "X-SEAMLESS-Admin"):
        assert ask(port, [token, (name, "root")])[3] == repr(("ada", SEEN))


def test_two_credentials_are_none(port: int) -> None:
    token = ("Authorization", f"seamless {Signer(SECRET).sign('ada')}")
    assert ask(port, [token, token])[0] == 401


def test_an_answer_to_head_has_no_body(port: int) -> None:
    assert ask(port, method="HEAD")[::3] == (401, "")


def test_a_websocket_is_refused_before_it_is_one(port: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        websockets.sync.client.connect(f"ws://127.0.0.1:{port}/")
    response = refused.value.response
    # Where the server can say so, it is a 401 with its reason.
    assert response.status_code == 401 and response.headers.get_all("www-authenticate")[0].startswith("seamless")
    headers = {"Authorization": f"seamless {Signer(SECRET).sign('ada')}", "X-Seamless-User": "root"}
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", additional_headers=headers) as socket:
        assert socket.recv() == repr(("ada", SEEN))


def call(app: Any, scope: Dict[str, Any]) -> List[MutableMapping[str, Any]]:
    sent: List[MutableMapping[str, Any]] = []

    async def receive() -> Dict[str, Any]:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_a_websocket_of_a_server_that_knows_no_answers_is_closed() -> None:
    app = SeamlessMiddleware(application, secret=SECRET)
    sent = call(app, {"type": "websocket", "path": "/", "headers": []})
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "bad authorization header format"}]


def test_a_scope_that_nobody_knows_does_not_pass() -> None:
    app = SeamlessMiddleware(application, secret=SECRET)
    with pytest.raises(ValueError, match="webtransport"):
        call(app, {"type": "webtransport"})


def test_rules_see_the_path_that_the_application_sees() -> None:
    rules = {"rules": [{"path_prefix": "/public", "need": "open"}]}
    app = SeamlessMiddleware(application, secret=SECRET, rules=rules)

    def status(path: str, method: str = "GET") -> int:
        scope = {"type": "http", "method": method, "path": path, "raw_path": b"/public", "headers": [], "scheme": "http"}
        code: int = call(app, scope)[0]["status"]
        return code

    assert [status("/public"), status("/public/ü"), status("/private"), status("/public/../private")] == [200, 200, 401, 400]


def test_the_scope_of_the_server_is_left_as_it_was() -> None:
    app = SeamlessMiddleware(application, secret=SECRET)
    headers = [(b"authorization", f"seamless {Signer(SECRET).sign('ada')}".encode()), (b"x-seamless-user", b"root")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    assert call(app, scope)[0]["status"] == 200
    assert "seamless.identity" not in scope and scope["headers"] is headers and len(headers) == 2


def test_servers_may_have_lists_where_others_have_tuples() -> None:
    """The specification says iterables of two; those in front of functions in a cloud make lists."""
    app = SeamlessMiddleware(application, secret=SECRET)
    token = f"seamless {Signer(SECRET).sign('ada')}".encode()
    headers = [[b"authorization", token], [b"X-Seamless-User", b"root"], [b"accept", b"*/*"]]
    answer = call(app, {"type": "http", "method": "GET", "path": "/", "headers": headers})
    assert (answer[0]["status"], answer[1]["body"]) == (200, repr(("ada", SEEN)).encode())
    with pytest.raises((TypeError, ValueError)):
        call(app, {"type": "http", "method": "GET", "path": "/", "headers": [[b"authorization", token, b""]]})


def test_keys_that_are_fetched_are_waited_for_without_holding_up_the_loop(realm: Any) -> None:
    token = seamless.get_token(realm.login)

    async def run() -> int:
        app = SeamlessMiddleware(application, jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
        sent: List[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {token}".encode())]
        await app({"type": "http", "method": "GET", "path": "/", "headers": headers}, None, send)  # type: ignore[arg-type]
        status: int = sent[0]["status"]
        return status

    assert asyncio.run(run()) == 200
