"""Protects a WSGI application (PEP 3333).

>>> from seamless.wsgi import SeamlessMiddleware
>>> def app(environ, start_response):
...     start_response("200 OK", [])
...     return [environ["HTTP_X_SEAMLESS_USER"].encode()]
>>> app = SeamlessMiddleware(app, secret="a secret of sixteen bytes or more", max_age=60, realm="corp")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Optional

from ._answer import body, headers, verifier_of
from ._core import Verifier
from ._errors import Rejection

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SeamlessMiddleware"]

#: The original's words for 401, and the standard's for the others.
_STATUS = {400: "400 Bad Request", 401: "401 Not Authorized", 403: "403 Forbidden", 503: "503 Service Unavailable"}


class SeamlessMiddleware:
    """Lets requests with a good token pass, and answers all others.

    The application finds the user in ``environ["HTTP_X_SEAMLESS_USER"]``, beside ``_SCOPE`` and ``_GROUPS``, encoded as a
    header is, and the whole `seamless.Identity` in ``environ["seamless.identity"]``: None where the verifier's rules let a
    request pass without a token. What a client sends under such names never arrives.

    ``secret`` may be a list, of which all are accepted; ``options`` are the keywords of `seamless.Verifier`, and
    ``verifier`` is one that is ready.
    """

    def __init__(
        self,
        app: WSGIApplication,
        secret: Any = None,
        max_age: Optional[int] = None,
        realm: str = "",
        *,
        verifier: Optional[Verifier] = None,
        **options: Any,
    ) -> None:
        self.app = app
        self.verifier = verifier_of(verifier, secret, max_age, realm, options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["seamless.identity"] = self.verifier.check_wsgi(environ)
        except Rejection as rejection:
            content = body(rejection)
            length = ("Content-Length", str(len(content)))
            start_response(_STATUS[rejection.status], [*headers(self.verifier, rejection), length])
            return [] if environ.get("REQUEST_METHOD") == "HEAD" else [content]
        return self.app(environ, start_response)
