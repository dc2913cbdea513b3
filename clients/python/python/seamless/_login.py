"""Tokens for whoever runs the program."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import OrderedDict
from os import PathLike
from typing import Callable, Optional, Sequence, TypeVar, Union

from . import _core
from ._core import Token
from ._errors import AuthenticationError, ClockSkewWarning

_T = TypeVar("_T")
_Names = Union[str, Sequence[str], None]
#: Clocks that differ by more are worth a word: verifiers forgive that much.
_SKEW = 5
#: The most servers that one source keeps tokens for.
_SERVERS = 256


def get_token(
    ssh: str,
    *,
    audience: _Names = None,
    scope: _Names = None,
    format: Optional[str] = None,
    ttl: Optional[int] = None,
    user: Optional[str] = None,
    identity: Union[str, "PathLike[str]", None] = None,
    timeout: float = 20.0,
    interactive: Optional[bool] = None,
) -> str:
    """Fetches a token: ``seamless.get_token("corp@login.example.com")``.

    ``ssh`` is a realm behind an ssh server (``corp@host``, ``ssh://corp@host:2222``, or a ``Host`` of ``~/.ssh/config`` that
    has its ``User`` there), asked by OpenSSH's own client, whose configuration applies; or a server that is asked over HTTP
    with the keys of ssh-agent (``https://login.example.com``).

    ``audience``, ``scope``, ``format`` (``jwt`` or ``seamless``) and ``ttl`` (seconds) are asked of the realm, which
    decides what is left out. ``user`` is one's name there, over HTTP. ``identity`` is a key file. ``timeout`` is in
    seconds; where somebody may type a passphrase (``interactive``; at a terminal, unless said) they have two minutes more.

    Raises `AuthenticationError`, and `ValueError` or `TypeError` for an argument that makes no sense.
    """
    return fetch_token(
        ssh,
        audience=audience,
        scope=scope,
        format=format,
        ttl=ttl,
        user=user,
        identity=identity,
        timeout=timeout,
        interactive=interactive,
    ).access_token


def fetch_token(
    ssh: str,
    *,
    audience: _Names = None,
    scope: _Names = None,
    format: Optional[str] = None,
    ttl: Optional[int] = None,
    user: Optional[str] = None,
    identity: Union[str, "PathLike[str]", None] = None,
    timeout: float = 20.0,
    interactive: Optional[bool] = None,
) -> Token:
    """`get_token`, with what is known of the token."""
    log_in = _core.LogIn(
        ssh,
        audience=audience,
        scope=scope,
        format=format,
        ttl=ttl,
        user=user,
        identity=identity,
        timeout=timeout,
        interactive=interactive,
    )
    return log_in.fetch(_at_terminal())


class TokenSource:
    """Tokens of one log-in for as long as the program runs: a token of its own for each server that is asked, fetched by
    one thread while the others wait, and anew before it ends. The arguments are those of `get_token`.
    """

    def __init__(
        self,
        ssh: str,
        *,
        audience: _Names = None,
        scope: _Names = None,
        format: Optional[str] = None,
        ttl: Optional[int] = None,
        user: Optional[str] = None,
        identity: Union[str, "PathLike[str]", None] = None,
        timeout: float = 20.0,
        interactive: Optional[bool] = None,
    ) -> None:
        self._ssh = ssh
        log_in = _core.LogIn(
            ssh,
            audience=audience,
            scope=scope,
            format=format,
            ttl=ttl,
            user=user,
            identity=identity,
            timeout=timeout,
            interactive=interactive,
        )
        self._fetch: Callable[[], Token] = lambda: log_in.fetch(_at_terminal())
        self._warned = False
        self._begin()

    def _begin(self) -> None:
        self._forks = _core.forks()
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    def authorization(self, server: str) -> str:
        """The value of ``Authorization`` for a server, named by its origin: a token that no other server is shown."""
        slot = self._slot(server)
        return slot.ready() or slot.get(self._fetch_one)

    async def aauthorization(self, server: str) -> str:
        """`authorization` that lets the event loop go on."""
        slot = self._slot(server)
        ready = slot.ready()
        return ready if ready is not None else await _in_thread(lambda: slot.get(self._fetch_one))

    def renew(self, server: str, used: str) -> Optional[str]:
        """What to try once more with after ``used`` was answered with 401; None where a new one would be as good."""
        return self._slot(server).renew(used, self._fetch_one)

    async def arenew(self, server: str, used: str) -> Optional[str]:
        """`renew` that lets the event loop go on."""
        slot = self._slot(server)
        return await _in_thread(lambda: slot.renew(used, self._fetch_one))

    def __repr__(self) -> str:
        return f"TokenSource({self._ssh!r})"

    def _slot(self, server: str) -> _Slot:
        if self._forks != _core.forks():
            # Whoever held a lock did not come along.
            self._begin()
        with self._lock:
            slot = self._slots.get(server)
            if slot is None:
                slot = self._slots[server] = _Slot()
                while len(self._slots) > _SERVERS:
                    self._slots.popitem(last=False)
            self._slots.move_to_end(server)
            return slot

    def _fetch_one(self) -> Token:
        before = time.time()
        token = self._fetch()
        self._compare_clocks(token.issued_at, before, time.time())
        return token

    def _compare_clocks(self, issued_at: Optional[int], before: float, after: float) -> None:
        if issued_at is None:
            return
        ahead = issued_at - after
        behind = before - (issued_at + 1)
        if max(ahead, behind) > _SKEW:
            with self._lock:
                warned, self._warned = self._warned, True
            if not warned:
                how = f"{ahead:.0f} s ahead of" if ahead > 0 else f"{behind:.0f} s behind"
                warnings.warn(f"the clock of {self._ssh} is {how} the one here", ClockSkewWarning, stacklevel=2)


class _Slot:
    """The token for one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Optional[_Held] = None
        self._failure: Optional[AuthenticationError] = None
        self._failed_at = 0.0

    def ready(self) -> Optional[str]:
        held = self._held
        return held.use() if held is not None and held.is_good() else None

    def get(self, fetch: Callable[[], Token]) -> str:
        asked_at = time.monotonic()
        with self._lock:
            return self.ready() or self._replace(fetch, asked_at)

    def renew(self, used: str, fetch: Callable[[], Token]) -> Optional[str]:
        asked_at = time.monotonic()
        with self._lock:
            held = self._held
            if held is not None and held.value != used:
                # Another thread was here before.
                return held.use()
            if held is not None and held.is_new():
                return None
            # Servers that go by the second give the same one twice.
            value = self._replace(fetch, asked_at)
            return value if value != used else None

    def _replace(self, fetch: Callable[[], Token], asked_at: float) -> str:
        # Whoever waited while another's fetch failed need not wait for one more.
        if self._failure is not None and self._failed_at >= asked_at:
            raise self._failure.__class__(*self._failure.args)
        self._held = None
        try:
            held = _Held(fetch())
        except AuthenticationError as failure:
            self._failure, self._failed_at = failure.with_traceback(None), time.monotonic()
            raise
        self._held, self._failure = held, None
        return held.use()


class _Held:
    """A token with its time."""

    def __init__(self, token: Token) -> None:
        self.value = token.authorization
        self._uses = 0
        self._since = time.time()
        self._clock = time.monotonic()
        self._life: Optional[float] = None
        if token.expires_at is not None:
            life = max(0.0, token.expires_at - self._since)
            # Used until a tenth of its life is left, and 10 s at least; of a very short one half of it.
            self._life = life - min(max(life / 10, 10.0), life / 2)

    def use(self) -> str:
        self._uses += 1
        return self.value

    def is_new(self) -> bool:
        """Whether it was fetched for the one request that has used it."""
        return self._uses <= 1

    def is_good(self) -> bool:
        if self._life is None:
            # The server will say.
            return True
        # By both clocks: one stands still while a laptop sleeps, the other may be set.
        age = time.time() - self._since
        return 0 <= age < self._life and time.monotonic() - self._clock < self._life


async def _in_thread(run: Callable[[], _T]) -> _T:
    # Whoever comes here has it already; for all others it is most of what this package takes to load.
    import asyncio

    return await asyncio.to_thread(run)


def _at_terminal() -> bool:
    # ssh asks on the terminal of the process; a background thread has nobody before it.
    try:
        at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
    return at_terminal and threading.current_thread() is threading.main_thread()
