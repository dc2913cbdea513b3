"""Your SSH key is your login.

>>> import seamless
>>> token = seamless.get_token("corp@login.example.com")  # doctest: +SKIP
>>> verifier = seamless.Verifier(secret="a secret of sixteen bytes or more")
>>> verifier.verify("ada.ZVPxAA.2i9lSqgqLifD_3VwrbNHMZ7TFAE")
Traceback (most recent call last):
seamless._errors.Rejection: invalid token
"""

from ._core import Identity, Token, Verifier, __version__
from ._errors import AuthenticationError, ClockSkewWarning, Rejection
from ._login import TokenSource, fetch_token, get_token

__all__ = [
    "AuthenticationError",
    "ClockSkewWarning",
    "Identity",
    "Rejection",
    "Token",
    "TokenSource",
    "Verifier",
    "__version__",
    "fetch_token",
    "get_token",
]
