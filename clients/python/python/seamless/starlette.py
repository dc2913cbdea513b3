"""Identities as Starlette's users.

>>> from starlette.applications import Starlette
>>> from starlette.middleware import Middleware
>>> from starlette.middleware.authentication import AuthenticationMiddleware
>>> from seamless import Verifier
>>> from seamless.starlette import SeamlessBackend, on_error
>>> backend = SeamlessBackend(Verifier("a secret of sixteen bytes or more", realm="corp"))
>>> app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)])
"""

from __future__ import annotations

from typing import Optional, Tuple

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

from ._answer import body, headers
from ._core import Identity, Verifier, without_ours
from ._errors import Rejection
from .asgi import judge

__all__ = ["SeamlessBackend", "SeamlessUser", "on_error"]


class SeamlessUser(BaseUser):
    """``request.user``: the user of a verified token."""

    def __init__(self, seamless: Identity) -> None:
        #: The whole of it.
        self.seamless = seamless

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.seamless.subject

    @property
    def identity(self) -> str:
        return self.seamless.subject


class SeamlessBackend(AuthenticationBackend):
    """For Starlette's ``AuthenticationMiddleware``: sets ``request.user``, and ``request.auth`` to ``authenticated`` and the
    scopes of the token, for ``@requires``.

    A request without a token goes on as nobody, and one with a bad token is refused. What a client sends as
    ``X-Seamless-*`` never arrives. Give the middleware ``on_error``, so that a refusal is what it is everywhere.
    """

    def __init__(self, verifier: Verifier) -> None:
        if not isinstance(verifier, Verifier):
            raise TypeError("verifier: is a seamless.Verifier")
        self.verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> Optional[Tuple[AuthCredentials, BaseUser]]:
        try:
            identity, kept = await judge(self.verifier, dict(conn.scope))
        except Rejection as rejection:
            if rejection.code != "missing_authorization":
                raise Refused(self.verifier, rejection) from None
            identity, kept = None, without_ours(conn.scope["headers"])
        conn.scope["headers"] = kept
        if identity is None:
            return None
        return AuthCredentials(["authenticated", *identity.scopes]), SeamlessUser(identity)


class Refused(AuthenticationError):
    """A rejection, on its way to `on_error`."""

    def __init__(self, verifier: Verifier, rejection: Rejection) -> None:
        super().__init__(str(rejection))
        self.verifier, self.rejection = verifier, rejection


def on_error(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer to a bad token."""
    if not isinstance(error, Refused):
        return PlainTextResponse(str(error), 400)
    response = PlainTextResponse(body(error.rejection), error.rejection.status)
    for name, value in headers(error.verifier, error.rejection):
        if name != "Content-Type":
            response.headers.append(name, value)
    return response
