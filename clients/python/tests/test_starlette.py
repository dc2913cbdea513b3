"""Starlette's own authentication, on uvicorn."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import seamless
from seamless.signer import Signer
from seamless.starlette import SeamlessBackend, on_error

from conftest import SECRET
from test_asgi import run
from test_wsgi import ask


async def who(request: Request) -> JSONResponse:
    return JSONResponse([request.user.display_name, request.user.is_authenticated, request.headers.get("x-seamless-user")])


@requires(["authenticated", "read"])
async def read(request: Request) -> JSONResponse:
    return JSONResponse([request.user.identity, list(request.user.seamless.scopes)])


@requires("write")
async def write(request: Request) -> JSONResponse:
    return JSONResponse([])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    backend = SeamlessBackend(seamless.Verifier(SECRET, realm="corp", secret_scope="read"))
    middleware = [Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)]
    yield from run(Starlette(routes=[Route("/", who), Route("/read", read), Route("/write", write)], middleware=middleware))


TOKEN = ("Authorization", f"Bearer {Signer(SECRET).sign('ada')}")


def test_a_good_token_is_a_user_with_its_scopes(port: int) -> None:
    assert ask(port, [TOKEN])[3] == '["ada",true,"ada"]'
    assert ask(port, [TOKEN], "/read")[3] == '["ada",["read"]]'
    assert ask(port, [TOKEN], "/write")[0] == 403


def test_without_one_it_is_nobody(port: int) -> None:
    assert ask(port)[3] == '["",false,null]'
    assert ask(port, path="/read")[0] == 403
    # Attack: a client names its user itself.
    assert ask(port, [("X-Seamless-User", "root"), ("x_seamless_user", "root")])[3] == '["",false,null]'


def test_a_bad_one_is_answered_as_everywhere(port: int) -> None:
    status, _, headers, text = ask(port, [("Authorization", "Bearer x")])
    assert (status, text) == (401, "invalid token\n")
    challenges = [value for name, value in headers if name == "www-authenticate"]
    assert challenges[0] == 'seamless realm="corp"' and len(challenges) == 2
    assert ask(port, [TOKEN, TOKEN])[0] == 401


def test_wrong_words_are_errors_at_construction() -> None:
    bad: Any = "secret"
    with pytest.raises(TypeError, match="verifier"):
        SeamlessBackend(bad)
