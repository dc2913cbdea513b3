"""Identities as dependencies of FastAPI.

>>> from typing import Annotated
>>> from fastapi import Depends, FastAPI
>>> from seamless import Identity, Verifier
>>> from seamless.fastapi import SeamlessAuth
>>> auth = SeamlessAuth(Verifier("a secret of sixteen bytes or more", realm="corp"))
>>> app = FastAPI()
>>> @app.get("/me")
... def me(user: Annotated[Identity, Depends(auth)]):
...     return user.subject
"""

# Without annotations from the future: FastAPI reads them at run time.
from typing import Optional, Sequence, Union

from fastapi import HTTPException, WebSocketException
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from ._core import Identity, Verifier, without_ours
from ._errors import Rejection
from .asgi import judge

__all__ = ["SeamlessAuth"]


class SeamlessAuth(SecurityBase):
    """A dependency that answers with the `seamless.Identity` of a request, and turns away requests without one.

    ``scope`` is demanded of the token beside what the verifier demands; so are the scopes of ``Security(auth, scopes=…)``
    and of the dependencies around it. With ``optional`` a request without an ``Authorization`` header is nobody: None. One
    with a bad token is turned away all the same.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        scope: Union[str, Sequence[str], None] = None,
        optional: bool = False,
        scheme_name: str = "seamless",
        description: str = "A token of `ssh -T REALM@HOST`.",
    ) -> None:
        if not isinstance(verifier, Verifier):
            raise TypeError("verifier: is a seamless.Verifier")
        self.verifier = verifier
        self.scheme_name = scheme_name
        self.model = HTTPBearer(description=description)
        self._scopes = (scope,) if isinstance(scope, str) else tuple(scope or ())
        self._optional = optional

    async def __call__(self, connection: HTTPConnection, wanted: SecurityScopes) -> Optional[Identity]:
        try:
            identity, kept = await judge(self.verifier, dict(connection.scope))
            scopes = (*self._scopes, *wanted.scopes)
            if identity is not None and not all(map(identity.has_scope, scopes)):
                raise Rejection("missing_scope", 403, "insufficient scope")
            if identity is None and not self._optional:
                # The verifier's rules would let it pass; who asks for an identity has one.
                raise Rejection("missing_authorization", 401, "bad authorization header format")
        except Rejection as rejection:
            if not (self._optional and rejection.code == "missing_authorization"):
                raise self._refusal(connection, rejection) from None
            identity, kept = None, without_ours(connection.scope["headers"])
        # For parameters of the endpoint that read such a header: what a client sends under these names never arrives.
        connection.scope["headers"] = kept
        vars(connection).pop("_headers", None)
        return identity

    def _refusal(self, connection: HTTPConnection, rejection: Rejection) -> Exception:
        if connection.scope["type"] == "websocket":
            return WebSocketException(1008, rejection.message)
        headers = {"Cache-Control": "no-store"}
        if rejection.status in (401, 403):
            challenges = [one for one in self.verifier.challenges(rejection.code) if one.isascii()]
            headers["WWW-Authenticate"] = ", ".join(challenges)
        return HTTPException(rejection.status, str(rejection), headers)
