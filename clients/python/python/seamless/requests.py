"""Tokens for requests.

>>> import requests
>>> from seamless.requests import SeamlessAuth
>>> session = requests.Session()
>>> session.auth = SeamlessAuth("corp@login.example.com")
"""

from __future__ import annotations

from typing import Any, Optional

from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.models import PreparedRequest, Response

from ._plugin import Plugin, asks_for_token, origin

__all__ = ["SeamlessAuth"]


class SeamlessAuth(Plugin, AuthBase):
    """Sends a token of ``realm`` with each request, fetched at the first one, and anew before it ends.

    Every server is sent a token of its own, kept as long as the plugin. A 401 that asks for a token is tried once more with
    a new one (unless ``retry_expired`` is false), if the request can be sent again: a body that is a stream is not.
    ``servers`` names the addresses that may get a token at all. The other keywords are those of `seamless.get_token`;
    ``source`` is a `seamless.TokenSource` that several plugins share.
    """

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        server = self.server(request.url or "")
        value = self.source.authorization(server)
        request.headers["Authorization"] = value
        if self.retry_expired:
            position = _position(request.body)

            def again(response: Response, **options: Any) -> Response:
                return self._again(response, server, value, position, options)

            request.register_hook("response", again)  # type: ignore[no-untyped-call]
        return request

    def _again(
        self, response: Response, server: str, used: str, position: Optional[int], options: Any
    ) -> Response:
        request = response.request
        # requests hands its hooks on to where a redirect leads: nobody there is to ask for a token.
        ours = origin(request.url or "") == server and request.headers.get("Authorization") == used
        if response.status_code != 401 or not ours or not _asks_for_token(response):
            return response
        if not _rewind(request.body, position):
            return response
        value = self.source.renew(server, used)
        if value is None:
            return response
        # The connection is free when all has been read.
        response.content
        response.close()
        retry = request.copy()
        jar: Any = getattr(retry, "_cookies")  # noqa: B009, types know nothing of it
        extract_cookies_to_jar(jar, request, response.raw)  # type: ignore[no-untyped-call]
        retry.prepare_cookies(jar)
        retry.headers["Authorization"] = value
        connection: Any = getattr(response, "connection")  # noqa: B009
        answer: Response = connection.send(retry, **options)
        answer.history.append(response)
        answer.request = retry
        return answer


def _asks_for_token(response: Response) -> bool:
    # Each by itself, where they came in several headers.
    headers: Any = getattr(response.raw, "headers", None)
    several = headers.getlist("WWW-Authenticate") if hasattr(headers, "getlist") else None
    return asks_for_token(several if several is not None else [response.headers.get("WWW-Authenticate", "")])


def _position(body: Any) -> Optional[int]:
    """Where a file is read from; None for what can't be told."""
    try:
        return int(body.tell())
    except (AttributeError, OSError, ValueError):
        return None


def _rewind(body: Any, position: Optional[int]) -> bool:
    """Whether the body is there to be sent again."""
    if body is None or isinstance(body, (bytes, str)):
        return True
    if position is None:
        return False
    try:
        body.seek(position)
    except (AttributeError, OSError, ValueError):
        return False
    return True
