"""Your SSH key is your login.

>>> import seamless
>>> token = seamless.get_token("corp@login.example.com")  # doctest: +SKIP
>>> verifier = seamless.Verifier(secret="a secret of sixteen bytes or more")
>>> verifier.verify("ada.ZVPxAA.2i9lSqgqLifD_3VwrbNHMZ7TFAE")
Traceback (most recent call last):
seamless._errors.Rejection: invalid token
"""

import os as _os

from . import _core, _login
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

# Threads don't survive a fork, and servers fork after they have loaded the application.
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_core.forked)
    _os.register_at_fork(after_in_child=_login.forked)
