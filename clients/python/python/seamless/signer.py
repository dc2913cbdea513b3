"""Tokens of the original's format, made and judged with the shared secret.

Whoever holds the secret can speak for anybody: services verify with `seamless.Verifier`, and only the host of the realm
needs to sign.
"""

from __future__ import annotations

from typing import Sequence, Union

from . import _core

__all__ = ["Signer"]

_Secrets = Union[str, bytes, Sequence[Union[str, bytes]]]


class Signer:
    """Signs with one secret, or with the last of several, as itsdangerous does; all of them verify."""

    def __init__(self, secret: _Secrets, digest: str = "sha1") -> None:
        self._signer = _core.Signer(secret, digest)
        self._secret, self._digest = secret, digest

    def sign(self, subject: str) -> str:
        """A token for this user, as of now."""
        return self._signer.sign(subject)

    def unsign(self, token: Union[str, bytes], max_age: int = 60) -> str:
        """The user of a token that is no older than ``max_age`` seconds, a day at most; raises `seamless.Rejection`."""
        verifier = _core.Verifier(self._secret, digest=self._digest, max_age=max_age)
        return verifier.verify(token).subject

    def __repr__(self) -> str:
        return "Signer()"
