"""What the plugins of HTTP clients have in common."""

from __future__ import annotations

import warnings
from ipaddress import ip_address
from typing import Any, FrozenSet, Iterable, Optional, Sequence, Union
from urllib.parse import urlsplit

from ._login import TokenSource

_Servers = Union[str, Sequence[str], None]


class Plugin:
    """One source of tokens, and where they may go."""

    def __init__(
        self,
        realm: Optional[str] = None,
        retry_expired: bool = True,
        *,
        servers: _Servers = None,
        source: Optional[TokenSource] = None,
        **options: Any,
    ) -> None:
        if source is None:
            if realm is None:
                raise TypeError("realm: is missing; such as corp@login.example.com")
            source = TokenSource(realm, **options)
        elif realm is not None or options:
            raise TypeError("source: stands alone; realm and options are its own")
        self.realm = realm
        self.retry_expired = retry_expired
        self.source = source
        named = [servers] if isinstance(servers, str) else servers
        self._servers: Optional[FrozenSet[str]] = None if named is None else frozenset(map(origin, named))
        self._warned: FrozenSet[str] = frozenset()

    def server(self, url: str) -> str:
        """The server of a request; an error before anything is sent where no token may go there."""
        server = origin(url)
        if self._servers is not None and server not in self._servers:
            raise ValueError(f"servers: {server} is none of them, so it gets no token")
        if server.startswith("http://") and server not in self._warned and not _is_loopback(server):
            self._warned |= {server}
            warnings.warn(f"tokens for {server} go in the clear: use https", UserWarning, stacklevel=4)
        return server

    def __repr__(self) -> str:
        return f"SeamlessAuth({self.realm!r})"


def origin(url: str) -> str:
    """Scheme, host and port, in one spelling."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in ("http", "https") or not host:
        raise ValueError("servers: an address is https://host or https://host:port")
    port = parts.port or (443 if scheme == "https" else 80)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def asks_for_token(challenges: Iterable[str]) -> bool:
    """Whether a 401 is about tokens of ours (RFC 9110 section 11.6.1): a proxy's log-in page may have other ideas."""
    return any(value.lstrip().lower().startswith(("seamless ", "bearer ")) for value in challenges)


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
