"""Identities as dependencies, on uvicorn."""

# Without annotations from the future: FastAPI reads them at run time.
from typing import Any, Dict, Iterator, Optional

import pytest
import websockets.sync.client
from fastapi import Depends, FastAPI, Header, Security, WebSocket
from websockets.exceptions import InvalidStatus

import seamless
from seamless import Identity
from seamless.fastapi import SeamlessAuth
from seamless.signer import Signer

from conftest import SECRET
from test_asgi import run
from test_wsgi import ask

auth = SeamlessAuth(seamless.Verifier(SECRET, realm="corp", secret_scope=["read"]))
maybe = SeamlessAuth(auth.verifier, optional=True)
app = FastAPI()


@app.get("/me")
def me(user: Identity = Depends(auth), x_seamless_user: Optional[str] = Header(None)) -> Dict[str, Any]:
    return {"user": user.subject, "header": x_seamless_user}


@app.get("/maybe")
def perhaps(user: Optional[Identity] = Depends(maybe), x_seamless_user: Optional[str] = Header(None)) -> Any:
    return [user and user.subject, x_seamless_user]


@app.get("/read")
def read(user: Identity = Security(auth, scopes=["read"])) -> str:
    return user.subject


@app.get("/write")
def write(user: Identity = Security(auth, scopes=["write"])) -> str:
    return user.subject


@app.get("/admin", dependencies=[Depends(SeamlessAuth(auth.verifier, scope="admin"))])
def admin() -> str:
    return "admin"


@app.websocket("/ws")
async def socket(websocket: WebSocket, user: Identity = Depends(auth)) -> None:
    await websocket.accept()
    await websocket.send_text(user.subject)
    await websocket.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from run(app)


@pytest.fixture
def token() -> Any:
    return ("Authorization", f"Bearer {Signer(SECRET).sign('ada')}")


def test_an_endpoint_gets_its_user(port: int, token: Any) -> None:
    assert ask(port, [token], "/me")[3] == '{"user":"ada","header":"ada"}'


def test_without_a_token_it_is_401_with_both_challenges(port: int) -> None:
    status, _, headers, text = ask(port, [], "/me")
    assert (status, text) == (401, '{"detail":"bad authorization header format"}')
    challenge = dict(headers)["www-authenticate"]
    assert challenge.startswith('seamless realm="corp", Bearer realm="corp", error=')
    assert ask(port, [("Authorization", "Bearer x")], "/me")[3] == '{"detail":"invalid token"}'


def test_scopes_are_demanded(port: int, token: Any) -> None:
    assert ask(port, [token], "/read")[0] == 200
    for path in ("/write", "/admin"):
        status, _, headers, text = ask(port, [token], path)
        assert (status, text) == (403, '{"detail":"insufficient scope"}')
        assert "insufficient_scope" in dict(headers)["www-authenticate"]


def test_an_optional_one_may_be_absent_and_not_bad(port: int, token: Any) -> None:
    assert ask(port, [], "/maybe")[3] == "[null,null]"
    assert ask(port, [token], "/maybe")[3] == '["ada","ada"]'
    assert ask(port, [("Authorization", "Bearer x")], "/maybe")[0] == 401


def test_what_a_client_says_of_itself_never_arrives(port: int, token: Any) -> None:
    """Attack: an endpoint that reads the header of the middleware's."""
    assert ask(port, [("X-Seamless-User", "root")], "/maybe")[3] == "[null,null]"
    assert ask(port, [token, ("X-Seamless-User", "root")], "/me")[3] == '{"user":"ada","header":"ada"}'


def test_a_websocket_is_refused(port: int, token: Any) -> None:
    with pytest.raises(InvalidStatus):
        websockets.sync.client.connect(f"ws://127.0.0.1:{port}/ws")
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/ws", additional_headers=[token]) as socket:
        assert socket.recv() == "ada"


def test_it_is_in_the_description_of_the_interface() -> None:
    described = app.openapi()
    assert described["components"]["securitySchemes"]["seamless"]["scheme"] == "bearer"
    assert described["paths"]["/write"]["get"]["security"] == [{"seamless": ["write"]}]


def test_wrong_words_are_errors_at_construction() -> None:
    with pytest.raises(TypeError, match="verifier"):
        SeamlessAuth("secret")  # type: ignore[arg-type]
