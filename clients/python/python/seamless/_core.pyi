from os import PathLike
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union, final

from ._errors import Rejection

_Names = Union[str, Sequence[str], None]
_Secrets = Union[str, bytes, Sequence[Union[str, bytes]], None]
_Json = Union[str, Dict[str, Any], List[Any], "PathLike[str]", None]

__version__: str

def forks() -> int:
    """How many forks lie behind this process: neither threads nor whoever held a lock came along."""

def without_ours(headers: Iterable[Tuple[bytes, bytes]]) -> List[Tuple[bytes, bytes]]:
    """The headers of an ASGI scope without what could pass for ours."""

@final
class Identity:
    """Who a verified token speaks for. Names are as they stand in the token, not encoded for headers."""

    @property
    def subject(self) -> str:
        """The user's name."""
    @property
    def format(self) -> str:
        """``seamless``, ``jwt`` or ``chap``."""
    @property
    def issued_at(self) -> int:
        """Unix seconds."""
    @property
    def expires_at(self) -> int:
        """Unix seconds. A stream that is open outlives it."""
    @property
    def issuer(self) -> Optional[str]:
        """``iss``; only a JWT has one."""
    @property
    def client_id(self) -> Optional[str]:
        """``client_id``: ``ssh`` for a JWT that was minted over ssh."""
    @property
    def jti(self) -> Optional[str]:
        """``jti``: the token's own name."""
    @property
    def ssh_fp(self) -> Optional[str]:
        """``ssh_fp``: the fingerprint of the SSH key that was proven at the mint."""
    @property
    def kid(self) -> Optional[str]:
        """The key that vouches for the token."""
    @property
    def audiences(self) -> Tuple[str, ...]:
        """Whom the token is for."""
    @property
    def scopes(self) -> Tuple[str, ...]:
        """What the token may do."""
    @property
    def groups(self) -> Tuple[str, ...]:
        """The groups of the user."""
    @property
    def amr(self) -> Tuple[str, ...]:
        """How the user authenticated (RFC 8176)."""
    def has_scope(self, scope: str) -> bool:
        """Whether the token may do this."""
    def headers(self) -> Dict[str, str]:
        """The headers for a server behind this one: ``x-seamless-user``, ``-scope`` and ``-groups``, always all three."""
    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Token:
    """A token that was fetched. Its ``repr`` does not show it."""

    @property
    def access_token(self) -> str:
        """The token itself."""
    @property
    def token_type(self) -> str:
        """``Bearer``, ``seamless`` or ``chap``."""
    @property
    def issued_at(self) -> Optional[int]:
        """Unix seconds of the server, as the token has it."""
    @property
    def expires_at(self) -> Optional[int]:
        """Unix seconds of this machine; None where nobody says."""
    @property
    def subject(self) -> Optional[str]:
        """Whose it is."""
    @property
    def authorization(self) -> str:
        """What stands behind ``Authorization:``."""

@final
class Signer:
    def __new__(cls, secret: _Secrets, digest: Optional[str] = None) -> Signer: ...
    def sign(self, subject: str, issued_at: Optional[int] = None) -> str: ...

@final
class Verifier:
    """Judges tokens and requests, in any thread and in forked processes. Wrong settings raise ``TypeError`` or
    ``ValueError`` with the argument's name in front.

    ``secret``: trusts ``seamless`` tokens of these secrets, up to ``max_age`` seconds (1 to 86 400, 60 unless given);
    ``secret_audience`` and ``secret_scope`` are what such tokens stand for, since they carry none.
    ``chap_secret``: trusts tokens of crtauth.
    ``jwks``: trusts JWTs of ``issuer`` for ``audience``: JSON, a path, or an https URL; file and URL are kept fresh.
    ``audience``, ``scope``: demanded of every token. ``leeway``: seconds that clocks may differ, 0 to 60, 5 unless given.
    ``rules``: ``rules.json``, as text, list or path. ``revocations``: what is taken back, as JSON.
    ``realm``: the name in ``WWW-Authenticate``.
    """

    def __new__(
        cls,
        secret: _Secrets = None,
        *,
        max_age: Optional[int] = None,
        digest: Optional[str] = None,
        secret_audience: _Names = None,
        secret_scope: _Names = None,
        chap_secret: _Secrets = None,
        jwks: _Json = None,
        issuer: Optional[str] = None,
        audience: _Names = None,
        scope: _Names = None,
        leeway: Optional[int] = None,
        rules: _Json = None,
        revocations: _Json = None,
        realm: Optional[str] = None,
    ) -> Verifier: ...
    @property
    def realm(self) -> str:
        """The name in ``WWW-Authenticate``."""
    def verify(self, token: Union[str, bytes], /) -> Identity:
        """Judges a token now; raises `Rejection`. A key that is fetched and missing is waited for, a second at most."""
    def verify_with(
        self,
        token: Union[str, bytes],
        *,
        audience: _Names = None,
        scope: _Names = None,
        now: Optional[int] = None,
        wait: bool = True,
    ) -> Identity:
        """`verify`, by what is demanded here beside the verifier's own policy: one of these audiences in place of its own,
        all of these scopes. ``now`` is another time than the clock's, in Unix seconds; ``wait=False`` waits for no key."""
    def check(
        self,
        method: str,
        scheme: str,
        authority: str,
        path: Union[str, bytes, None],
        headers: Iterable[Tuple[Union[str, bytes], Union[str, bytes]]],
        *,
        wait: bool = True,
    ) -> Optional[Identity]:
        """Judges a request: what the rules want of it, and the token in its ``Authorization`` header. None lets it pass as
        nobody; raises `Rejection`. The path is as it was sent; text in headers is Latin-1."""
    def outcome(
        self,
        method: str,
        scheme: str,
        authority: str,
        path: Union[str, bytes, None],
        headers: Iterable[Tuple[Union[str, bytes], Union[str, bytes]]],
        *,
        now: Optional[int] = None,
    ) -> str:
        """`check` as one word: ``open``, ``anonymous``, ``identity`` or the rejection's code."""
    def check_wsgi(self, environ: Dict[str, Any]) -> Optional[Identity]:
        """Judges a WSGI request, takes every inbound ``HTTP_X_SEAMLESS_*`` out of its environ and puts ours in."""
    def check_asgi(self, scope: Dict[str, Any]) -> Tuple[Optional[Identity], List[Tuple[bytes, bytes]]]:
        """Judges an ASGI connection, and gives the headers to go on with: inbound ``x-seamless-*`` gone, ours there.
        Waits for no key: see `may_wait`."""
    def may_wait(self, rejection: Rejection) -> bool:
        """Whether a key that was missing may be on its way: `wait_for_keys`, then judge once more."""
    def wait_for_keys(self) -> None:
        """Blocks until keys have been looked after, a second at most."""
    def challenges(self, code: str) -> List[str]:
        """The values of ``WWW-Authenticate`` that go with a rejection."""
    def set_revocations(self, revocations: _Json) -> None:
        """Puts a new list in the place of the one before."""

@final
class LogIn:
    """One log-in: where, for what, and how. Words that make no sense are errors here, before anybody is asked."""

    def __new__(
        cls,
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
    ) -> LogIn: ...
    def fetch(self, at_terminal: bool, /) -> Token:
        """Logs in. Other threads go on meanwhile."""
