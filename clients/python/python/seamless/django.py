"""Tokens as Django's users: a middleware, and a backend that knows who they are.

In settings.py::

    SEAMLESS = {"secret": "…", "realm": "corp"}           # the keywords of seamless.Verifier
    AUTHENTICATION_BACKENDS = ["seamless.django.SeamlessBackend"]
    MIDDLEWARE = [
        …,
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "seamless.django.SeamlessMiddleware",
    ]

``SEAMLESS`` may also hold ``required`` (True: a request without a token is turned away; False: it goes on as it is, with a
session or as nobody) and ``create_users`` (False: whom Django does not know is turned away).
"""

from __future__ import annotations

from inspect import signature
from typing import Any, Awaitable, Callable, Optional, Union

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import authenticate, get_backends
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from ._answer import body, headers
from ._core import Identity, Verifier, without_ours
from ._errors import Rejection

__all__ = ["SeamlessBackend", "SeamlessMiddleware"]


class SeamlessMiddleware:
    """Sets ``request.seamless`` to the `seamless.Identity` of a request, or None, and ``request.user`` to its user.

    A request that a token vouches for needs no CSRF token: no browser adds an ``Authorization`` header of this kind by
    itself, and the session's user, if there is one, is not whom the request speaks for.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        options = dict(getattr(settings, "SEAMLESS", {}))
        self._required = options.pop("required", True)
        options.pop("create_users", None)
        try:
            self.verifier = Verifier(**options)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"SEAMLESS: {error}") from None
        if not any("seamless" in signature(backend.authenticate).parameters for backend in get_backends()):
            raise ImproperlyConfigured("AUTHENTICATION_BACKENDS: none knows tokens; add seamless.django.SeamlessBackend")
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Union[HttpResponse, Awaitable[HttpResponse]]:
        if self._is_async:
            return self._later(request)
        refusal = self._judge(request)
        return refusal if refusal is not None else self.get_response(request)

    async def _later(self, request: HttpRequest) -> HttpResponse:
        # The database and a key that is waited for take their time.
        refusal = await sync_to_async(self._judge, thread_sensitive=True)(request)
        return refusal if refusal is not None else await self.get_response(request)

    def _judge(self, request: Any) -> Optional[HttpResponse]:
        request.seamless = None
        asked = "HTTP_AUTHORIZATION" in request.META
        try:
            identity = self._check(request)
        except Rejection as rejection:
            if rejection.code == "missing_authorization" and not asked and not self._required:
                return None
            return self._refuse(rejection)
        if identity is None:
            return None
        user = authenticate(request, seamless=identity)
        if user is None:
            # A real token, of nobody whom this site knows.
            return self._refuse(Rejection("missing_scope", 403, "no such user here"))
        request.seamless = identity
        request.user = request._cached_user = user

        async def auser() -> Any:
            return user

        request.auser = auser
        request._dont_enforce_csrf_checks = True
        return None

    def _check(self, request: Any) -> Optional[Identity]:
        # Django has decoded both to text, where WSGI has bytes in the guise of Latin-1.
        paths = {name: request.META[name] for name in ("SCRIPT_NAME", "PATH_INFO")}
        request.META.update({name: path.encode("utf-8", "surrogatepass").decode("latin-1") for name, path in paths.items()})
        try:
            return self.verifier.check_wsgi(request.META)
        finally:
            request.META.update(paths)
            # Both hold what the client said: computed from META before, and what an ASGI server handed in.
            request.__dict__.pop("headers", None)
            if hasattr(request, "scope"):
                request.scope = {**request.scope, "headers": without_ours(request.scope["headers"])}

    def _refuse(self, rejection: Rejection) -> HttpResponse:
        response = HttpResponse(body(rejection), status=rejection.status)
        challenges = []
        for name, value in headers(self.verifier, rejection):
            if name == "WWW-Authenticate":
                challenges.append(value)
            else:
                response[name] = value
        if challenges:
            # One header of several challenges (RFC 9110 section 11.6.1): Django has each name once.
            response["WWW-Authenticate"] = ", ".join(challenges)
        return response


class SeamlessBackend(ModelBackend):
    """The user of a verified token: the one of that name, or with ``create_users`` a new one. Inactive users are none."""

    def authenticate(
        self,
        request: Optional[HttpRequest],
        username: Optional[str] = None,
        password: Optional[str] = None,
        *,
        seamless: Optional[Identity] = None,
        **_: Any,
    ) -> Any:
        # Of a password, or of another backend's words, it knows nothing.
        if not isinstance(seamless, Identity):
            return None
        users = self.user_model()
        create = dict(getattr(settings, "SEAMLESS", {})).get("create_users", False)
        try:
            user = users._default_manager.get_by_natural_key(seamless.subject)
        except users.DoesNotExist:
            if not create:
                return None
            user = users._default_manager.create_user(seamless.subject)
            user = self.configure_user(request, user, seamless)
        # Some databases know no difference between Ada and ada.
        same = user.get_username() == seamless.subject
        return user if same and self.user_can_authenticate(user) else None

    def user_model(self) -> Any:
        from django.contrib.auth import get_user_model

        return get_user_model()

    def configure_user(self, request: Optional[HttpRequest], user: Any, identity: Identity) -> Any:
        """For subclasses: what a new user is given, by groups and scopes of the token for instance."""
        return user
