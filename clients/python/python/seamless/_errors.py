"""The exceptions. None of them holds a token or a secret."""

from __future__ import annotations

from typing import Optional


class AuthenticationError(Exception):
    """No token was to be had: ssh failed, the server said no, or there is no key.

    As text it is one line: what happened, and then what to do about it where that is known.
    """

    def __init__(
        self,
        message: str = "",
        hint: Optional[str] = None,
        exit_status: Optional[int] = None,
        kind: str = "internal",
    ) -> None:
        super().__init__(message, hint, exit_status, kind)
        self.message = message
        self.hint = hint
        #: ssh's own exit status, where it was ssh that failed.
        self.exit_status = exit_status
        #: ``refused``, ``no_agent``, ``no_key``, ``clock``, ``network``, ``server`` or ``internal``.
        self.kind = kind

    @property
    def cause(self) -> Exception:
        """As the original had it: ssh's failure, with its ``returncode``."""
        import subprocess

        status = 1 if self.exit_status is None else self.exit_status
        return subprocess.CalledProcessError(status, ["ssh"], stderr=self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Rejection(Exception):
    """A token or a request that is turned away."""

    def __init__(self, code: str, status: int, message: str, skew: Optional[int] = None) -> None:
        super().__init__(code, status, message, skew)
        #: The same word in every language: ``expired``, ``bad_signature``, …
        self.code = code
        #: The HTTP status to answer with.
        self.status = status
        #: The first line of the answer: ``token expired``, ``invalid token``, ``token not yet valid (skew 31 s)``, …
        self.message = message
        #: Of ``not_yet_valid``: how many seconds the token is ahead.
        self.skew = skew

    def __str__(self) -> str:
        return self.message


class ClockSkewWarning(UserWarning):
    """The clock of a log-in server and the one here differ: tokens seem to end too early, or too late."""
