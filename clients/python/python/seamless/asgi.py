"""Protects an ASGI application: HTTP and websockets.

>>> from seamless.asgi import SeamlessMiddleware
>>> async def app(scope, receive, send):
...     user = scope["seamless.identity"].subject
>>> app = SeamlessMiddleware(app, secret="a secret of sixteen bytes or more", max_age=60, realm="corp")
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Dict, List, MutableMapping, Optional, Tuple

from ._answer import body, headers, verifier_of
from ._core import Identity, Verifier
from ._errors import Rejection

__all__ = ["SeamlessMiddleware"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class SeamlessMiddleware:
    """Lets connections with a good token pass, and answers all others.

    The application finds the `seamless.Identity` in ``scope["seamless.identity"]``, None where the verifier's rules let a
    request pass without a token, and ``x-seamless-user``, ``-scope`` and ``-groups`` among its headers. What a client sends
    under such names never arrives.

    ``secret`` may be a list, of which all are accepted; ``options`` are the keywords of `seamless.Verifier`, and
    ``verifier`` is one that is ready.
    """

    def __init__(
        self,
        app: _App,
        secret: Any = None,
        max_age: Optional[int] = None,
        realm: str = "",
        *,
        verifier: Optional[Verifier] = None,
        **options: Any,
    ) -> None:
        self.app = app
        self.verifier = verifier_of(verifier, secret, max_age, realm, options)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            # Start and end of the server; of what is new, nobody knows what it would need.
            if scope["type"] != "lifespan":
                raise ValueError(f"seamless.asgi knows no scope of type {scope['type']!r}")
            return await self.app(scope, receive, send)
        try:
            identity, kept = await judge(self.verifier, dict(scope))
        except Rejection as rejection:
            return await self._refuse(rejection, scope, receive, send)
        await self.app({**scope, "headers": kept, "seamless.identity": identity}, receive, send)

    async def _refuse(self, rejection: Rejection, scope: _Scope, receive: _Receive, send: _Send) -> None:
        kind = "http"
        if scope["type"] == "websocket":
            # It has to be asked for before it can be refused.
            await receive()
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": 1008, "reason": rejection.message})
                return
            kind = "websocket.http"
        content = body(rejection)
        named = [*headers(self.verifier, rejection), ("Content-Length", str(len(content)))]
        if kind != "http":
            # Servers add these to such an answer by themselves, and say them twice.
            named = [pair for pair in named if not pair[0].startswith("Content-")]
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named]
        await send({"type": f"{kind}.response.start", "status": rejection.status, "headers": raw})
        content = b"" if scope.get("method") == "HEAD" else content
        await send({"type": f"{kind}.response.body", "body": content})


async def judge(
    verifier: Verifier, scope: Dict[str, Any]
) -> Tuple[Optional[Identity], List[Tuple[bytes, bytes]]]:
    """Judges a connection; where a key may be on its way, once more when it should have come."""
    try:
        return verifier.check_asgi(scope)
    except Rejection as rejection:
        if not verifier.may_wait(rejection):
            raise
    await asyncio.to_thread(verifier.wait_for_keys)
    return verifier.check_asgi(scope)
