"""Tokens for httpx.

>>> import httpx
>>> from seamless.httpx import SeamlessAuth
>>> client = httpx.Client(auth=SeamlessAuth("corp@login.example.com"))
>>> later = httpx.AsyncClient(auth=client.auth)
"""

from __future__ import annotations

from typing import AsyncGenerator, Generator, Optional

import anyio.to_thread
import httpx

from ._plugin import Plugin, asks_for_token, origin

__all__ = ["SeamlessAuth"]


class SeamlessAuth(Plugin, httpx.Auth):
    """Sends a token of ``realm`` with each request, fetched at the first one, and anew before it ends; with
    `httpx.Client` and `httpx.AsyncClient`.

    Every server is sent a token of its own, kept as long as the plugin. A 401 that asks for a token is tried once more with
    a new one (unless ``retry_expired`` is false), if the request can be sent again: a body that is a stream is not.
    ``servers`` names the addresses that may get a token at all. The other keywords are those of `seamless.get_token`;
    ``source`` is a `seamless.TokenSource` that several plugins share.
    """

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        server = self.server(str(request.url))
        used = request.headers["Authorization"] = self.source.authorization(server)
        response = yield request
        if self._may_retry(request, response, server):
            value = self.source.renew(server, used)
            if value is not None:
                yield _again(request, response, value)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        server = self.server(str(request.url))
        used = await anyio.to_thread.run_sync(self.source.authorization, server)
        request.headers["Authorization"] = used
        response = yield request
        if self._may_retry(request, response, server):
            value: Optional[str] = await anyio.to_thread.run_sync(self.source.renew, server, used)
            if value is not None:
                yield _again(request, response, value)

    def _may_retry(self, request: httpx.Request, response: httpx.Response, server: str) -> bool:
        # httpx answers with where a redirect led: nobody there is to ask for a token.
        return (
            self.retry_expired
            and response.status_code == 401
            and origin(str(response.request.url)) == server
            and isinstance(request.stream, httpx.ByteStream)
            and asks_for_token(response.headers.get_list("WWW-Authenticate"))
        )


def _again(request: httpx.Request, response: httpx.Response, value: str) -> httpx.Request:
    httpx.Cookies(response.cookies).set_cookie_header(request)
    request.headers["Authorization"] = value
    return request
