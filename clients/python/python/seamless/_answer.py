"""What a request that is turned away is answered with, the same on every server."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from ._core import Verifier
from ._errors import Rejection


def body(rejection: Rejection) -> bytes:
    """One line; the original's client looks for ``expired`` in it."""
    return f"{rejection}\n".encode()


def headers(verifier: Verifier, rejection: Rejection) -> List[Tuple[str, str]]:
    """Without the length of the body."""
    found = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    if rejection.status in (401, 403):
        for challenge in verifier.challenges(rejection.code):
            # A realm of other characters than a header has is left unsaid.
            if challenge.isascii():
                found.append(("WWW-Authenticate", challenge))
    return found


def verifier_of(
    verifier: Optional[Verifier], secret: Any, max_age: Optional[int], realm: str, options: dict[str, Any]
) -> Verifier:
    """The verifier of a middleware: a ready one, or one of its keywords."""
    if verifier is None:
        return Verifier(secret, max_age=max_age, realm=realm, **options)
    if secret is not None or options:
        raise TypeError("verifier: stands alone; secrets and options are its own")
    if not isinstance(verifier, Verifier):
        raise TypeError("verifier: is a seamless.Verifier")
    return verifier
