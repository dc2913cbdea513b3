"""Django's middleware and backend: on gunicorn and uvicorn, and by Django's own test client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

SITE = '''
import asyncio, os, sys
import django
from asgiref.sync import sync_to_async
from django.conf import settings
from conftest import SECRET

def reads_headers(get_response):
    """A middleware of somebody else's, in front: Django keeps what it has once computed of headers."""
    def read(request):
        assert request.headers is not None
        return get_response(request)

    async def read_later(request):
        assert request.headers is not None
        return await get_response(request)

    return read_later if asyncio.iscoroutinefunction(get_response) else read

reads_headers.sync_capable = reads_headers.async_capable = True

options = {"secret": SECRET, "realm": "corp", **eval(os.environ.get("SEAMLESS_TEST", "{}"))}
backends = options.pop("backends", ["seamless.django.SeamlessBackend", "django.contrib.auth.backends.ModelBackend"])
settings.configure(
    SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SEAMLESS=options, USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DB"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    AUTHENTICATION_BACKENDS=backends,
    MIDDLEWARE=[
        __name__ + ".reads_headers",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "seamless.django.SeamlessMiddleware",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def seen(request, user):
    headers = [value for name, value in request.headers.items() if name.lower().startswith("x-seamless-user")]
    raw = [value.decode() for name, value in getattr(request, "scope", {}).get("headers", ()) if name.startswith(b"x-seamless")]
    headers += [value for value in raw if value != user.get_username()]
    return HttpResponse(repr((user.get_username(), request.seamless and request.seamless.subject, headers)))

def who(request):
    return seen(request, request.user)

async def later(request):
    # Before Django 5 a view waits for the user in a thread.
    await sync_to_async(request.user.get_username)()
    return seen(request, await request.auser() if hasattr(request, "auser") else request.user)

urlpatterns = [path("", who), path("later", later)]
wsgi, asgi = get_wsgi_application(), get_asgi_application()
if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    users = get_user_model()._default_manager
    users.create_user("ada", password="pw")
    users.create_user("gone", is_active=False)
'''

PROBE = '''
import json, sys
import site_of_ours as site
from django.test import Client
from seamless.signer import Signer
from conftest import SECRET
for line in sys.stdin:
    case = json.loads(line)
    client = Client(enforce_csrf_checks=True)
    if case.get("session"):
        assert client.login(username="ada", password="pw")
    headers = {"HTTP_" + name: value for name, value in case.get("headers", {}).items()}
    if "user" in case:
        headers["HTTP_AUTHORIZATION"] = "seamless " + Signer(SECRET).sign(case["user"])
    answer = getattr(client, case.get("method", "get"))("/", **headers)
    print(json.dumps([answer.status_code, answer.content.decode(), answer.headers.get("WWW-Authenticate")]))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("django")
    (folder / "site_of_ours.py").write_text(SITE)
    (folder / "probe.py").write_text(PROBE)
    subprocess.run([sys.executable, "site_of_ours.py"], cwd=folder, env=environment(folder), check=True)
    return folder


def environment(folder: Path, options: str = "{}") -> Dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parent), str(folder), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "SITE_DB": str(folder / "db.sqlite3"), "SEAMLESS_TEST": options}


def probe(folder: Path, cases: List[Dict[str, Any]], options: str = "{}") -> List[Any]:
    import json

    lines = "".join(json.dumps(case) + "\n" for case in cases)
    command = [sys.executable, "probe.py"]
    done = subprocess.run(command, cwd=folder, env=environment(folder, options), input=lines, stdout=-1, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_token_is_its_user_without_a_csrf_token(folder: Path) -> None:
    good, posted = probe(folder, [{"user": "ada"}, {"user": "ada", "method": "post"}])
    assert good[:2] == posted[:2] == [200, "('ada', 'ada', ['ada'])"]


def test_whom_the_site_does_not_know_is_turned_away(folder: Path) -> None:
    unknown, inactive, other = probe(folder, [{"user": "eve"}, {"user": "gone"}, {"user": "Ada"}])
    assert [unknown[0], inactive[0], other[0]] == [403, 403, 403]
    assert unknown[1] == "no such user here\n"


def test_without_a_good_token_it_is_401(folder: Path) -> None:
    none, bad, session = probe(folder, [{}, {"headers": {"AUTHORIZATION": "seamless x"}}, {"session": True}])
    assert none == [401, "bad authorization header format\n", none[2]]
    assert none[2].startswith('seamless realm="corp", Bearer realm="corp"')
    assert bad[:2] == [401, "invalid token\n"] and session[0] == 401


def test_where_it_is_not_required_sessions_go_on(folder: Path) -> None:
    cases: List[Dict[str, Any]] = [
        {"session": True},
        {},
        {"session": True, "method": "post"},
        {"session": True, "headers": {"AUTHORIZATION": "seamless x"}},
        {"headers": {"X_SEAMLESS_USER": "ada"}},
    ]
    session, nobody, posted, bad, forged = probe(folder, cases, '{"required": False}')
    assert session[:2] == [200, "('ada', None, [])"] and nobody[:2] == [200, "('', None, [])"]
    # Attack: the exemption from CSRF is the token's, and a cookie does not share in it.
    assert posted[0] == 403 and bad[0] == 401
    # Attack: a client names its user itself.
    assert forged[:2] == [200, "('', None, [])"]


def test_new_users_are_made_where_that_is_wanted(folder: Path) -> None:
    (made,) = probe(folder, [{"user": "grace"}], '{"create_users": True}')
    assert made[:2] == [200, "('grace', 'grace', ['grace'])"]
    (found,) = probe(folder, [{"user": "grace"}])
    assert found[0] == 200


def test_wrong_settings_stop_the_site(folder: Path) -> None:
    passwords = '{"backends": ["django.contrib.auth.backends.ModelBackend"]}'
    for options in ('{"secret": ""}', '{"max_age": 0}', '{"colour": "red"}', passwords):
        with pytest.raises(subprocess.CalledProcessError):
            probe(folder, [{}], options)


@pytest.fixture(params=["gunicorn", "uvicorn"])
def port(request: Any, folder: Path) -> Iterator[int]:
    from conftest import free_port, wait_for_port

    port = free_port()
    commands = {
        "gunicorn": ["gunicorn", "-b", f"127.0.0.1:{port}", "site_of_ours:wsgi"],
        "uvicorn": ["uvicorn", "--port", str(port), "site_of_ours:asgi"],
    }
    server, _, rules = request.param.partition("-")
    need = [{"path_prefix": "/%C3%BC", "need": "required"}, {"path_prefix": "/%E2%82%AC", "need": "required"}, {"path_prefix": "/", "need": "open"}]
    options = repr({"rules": {"rules": need}}) if rules else "{}"
    process = subprocess.Popen(
        [sys.executable, "-m", *commands[server]], cwd=folder, env=environment(folder, options), stdout=-3, stderr=-3
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def test_it_serves(port: int) -> None:
    from conftest import SECRET
    from seamless.signer import Signer
    from test_wsgi import ask

    token = ("Authorization", f"Bearer {Signer(SECRET).sign('ada')}")
    for path in ("/", "/later"):
        assert ask(port, [token, ("X-Seamless-User", "root")], path)[3] == "('ada', 'ada', ['ada'])"
        assert ask(port, [], path)[0] == 401


@pytest.mark.parametrize("port", ["gunicorn-rules", "uvicorn-rules"], indirect=True)
def test_where_no_token_is_needed_nobody_names_themselves(port: int) -> None:
    """Attack: a path that is open to all, and a client that says who it is."""
    from test_wsgi import ask

    for path in ("/", "/later"):
        assert ask(port, [("X-Seamless-User", "root")], path)[3] == "('', None, [])"


@pytest.mark.parametrize("port", ["gunicorn-rules", "uvicorn-rules"], indirect=True)
def test_rules_see_the_path_that_django_routes_by(port: int) -> None:
    """Attack: a path that is text to one door and bytes to the other."""
    from test_wsgi import ask

    for path, status in [("/open", 404), ("/%C3%BC/x", 401), ("/%E2%82%AC/x", 401), ("/open/../", 400)]:
        assert ask(port, [], path)[0] == status, path
