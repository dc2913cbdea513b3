"""The WSGI middleware, on real servers."""

from __future__ import annotations

import http.client
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
import waitress
from wsgiref.util import setup_testing_defaults

import seamless
from seamless.signer import Signer
from seamless.wsgi import SeamlessMiddleware

from conftest import SECRET, free_port, wait_for_port

Asked = Callable[..., Tuple[int, List[Tuple[str, str]], str]]


def application(environ: Dict[str, Any], start_response: Any) -> List[bytes]:
    """Says whom it sees, by header and by identity."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    identity = environ["seamless.identity"]
    seen = {name: value for name, value in environ.items() if name.upper().replace("-", "_").startswith("HTTP_X_SEAMLESS")}
    return [repr((identity and identity.subject, sorted(seen.items()))).encode()]


APPLICATION = f"""
from test_wsgi import application
from seamless.wsgi import SeamlessMiddleware
app = SeamlessMiddleware(application, secret={SECRET!r}, realm="corp")
"""


def ask(port: int, headers: Any = (), path: str = "/", method: str = "GET") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.reason, answer.getheaders(), content


def serve_by_waitress(folder: Path) -> Iterator[int]:
    app = SeamlessMiddleware(application, secret=SECRET, realm="corp")
    server = waitress.create_server(app, host="127.0.0.1", port=0)
    threading.Thread(target=server.run, daemon=True).start()
    yield server.effective_port
    server.close()


def serve_by_gunicorn(folder: Path, *options: str) -> Iterator[int]:
    paths = f"{folder},{Path(__file__).parent}"
    listen = ["-b", f"127.0.0.1:{(port := free_port())}"]
    command = [sys.executable, "-m", "gunicorn", *listen, "-w", "2", *options, "site_of_ours:app", "--pythonpath", paths]
    yield from serve_by(command, folder, port)


def serve_by_uwsgi(folder: Path) -> Iterator[int]:
    """Forks below Python, has no threads of Python's, and an interpreter for each application."""
    listen = ["--http-socket", f"127.0.0.1:{(port := free_port())}"]
    command = [str(Path(sys.executable).with_name("uwsgi")), *listen, "--master", "--processes", "2", "--die-on-term", "--need-app"]
    mounts = ["--mount", "/second=site_of_ours:app", "--mount", "/=site_of_ours:app", "--manage-script-name"]
    yield from serve_by([*command, *mounts, "--pythonpath", str(folder), "--pythonpath", str(Path(__file__).parent)], folder, port)


def serve_by(command: List[str], folder: Path, port: int) -> Iterator[int]:
    (folder / "site_of_ours.py").write_text(APPLICATION)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=30)
    # The original printed every header that it refused, with its token.
    assert said == b""


#: Two applications in one process, each with an interpreter of its own: what mod_wsgi does unless it is told otherwise.
APACHE = """
ServerName localhost
ServerRoot {folder}
{user}
Listen 127.0.0.1:{port}
PidFile pid
ErrorLog error
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
StartServers 1
WSGIPythonPath {folder}
WSGIScriptAlias /second {folder}/second.wsgi
WSGIScriptAlias / {folder}/first.wsgi
WSGIPassAuthorization On
<Directory {folder}>
    Require all granted
</Directory>
"""
MODULES = Path("/usr/lib/apache2/modules")


def serve_by_apache(folder: Path) -> Iterator[int]:
    program = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or not (MODULES / "mod_wsgi.so").is_file():
        pytest.skip("apache2 with mod_wsgi is not installed")
    # Its processes are of an account that sees neither pytest's folders nor this interpreter's.
    folder = Path(tempfile.mkdtemp(prefix="seamless-apache-"))
    folder.chmod(0o755)
    shutil.copytree(Path(seamless.__file__).parent, folder / "seamless", ignore=shutil.ignore_patterns("__pycache__"))
    script = inspect.getsource(application) + APPLICATION.replace("from test_wsgi import application\n", "")
    for name in ("first", "second"):
        text = f"from __future__ import annotations\nfrom typing import *\n{script}\napplication = app\n"
        (folder / f"{name}.wsgi").write_text(text)
    port = free_port()
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(APACHE.format(folder=folder, user=user, port=port, modules=MODULES))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    process = subprocess.Popen([program, "-f", str(folder / "conf"), "-D", "FOREGROUND"], start_new_session=True)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        # Gently it takes ten seconds, with any application.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        log = (folder / "error").read_text()
        shutil.rmtree(folder)
    assert "Traceback" not in log and "Authorization" not in log, log


SERVERS: Dict[str, Callable[[Path], Iterator[int]]] = {
    "waitress": serve_by_waitress,
    "gunicorn": serve_by_gunicorn,
    "gunicorn-preload": lambda folder: serve_by_gunicorn(folder, "--preload"),
    "uwsgi": serve_by_uwsgi,
    "apache": serve_by_apache,
}


@pytest.fixture(scope="module", params=SERVERS)
def port(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from SERVERS[request.param](tmp_path_factory.mktemp("server"))


@pytest.fixture(params=["/", "/second"])
def path(request: Any) -> str:
    """Apache has an application for each; the others have one for all."""
    found: str = request.param
    return found


def test_a_good_token_arrives_as_its_user(port: int, path: str) -> None:
    for scheme in ("seamless", "Seamless", "Bearer"):
        status, _, _, text = ask(port, [("Authorization", f"{scheme} {Signer(SECRET).sign('ada')}")], path)
        assert (status, text) == (
            200,
            repr(("ada", [("HTTP_X_SEAMLESS_GROUPS", ""), ("HTTP_X_SEAMLESS_SCOPE", ""), ("HTTP_X_SEAMLESS_USER", "ada")])),
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "bad authorization header format\n"),
        ("", "bad authorization header format\n"),
        ("Basic YTpi", "bad authorization header format\n"),
        ("seamless", "bad authorization header format\n"),
        ("seamless x.y.z", "invalid token\n"),
        ("seamless " + Signer(SECRET + "!").sign("ada"), "invalid token\n"),
        # Made in 2015, by the original.
        ("seamless username.VgfAwA.v-xKIZh3qYawqcm2RRh4q-LPfVE", "invalid token\n"),
    ],
)
def test_a_bad_one_is_answered_as_the_original_does(
    port: int, path: str, value: Optional[str], text: str
) -> None:
    status, reason, headers, said = ask(port, [] if value is None else [("Authorization", value)], path)
    assert (status, reason, said) == (401, "Not Authorized", text)
    challenges = [value for name, value in headers if name.lower() == "www-authenticate"]
    assert challenges[0] == 'seamless realm="corp"' and challenges[1].startswith('Bearer realm="corp", error=')
    assert dict(headers)["Cache-Control"] == "no-store"


def test_an_old_one_says_expired(port: int) -> None:
    old = seamless._core.Signer(SECRET).sign("ada", 1_700_000_000)
    assert ask(port, [("Authorization", f"seamless {old}")])[3] == "token expired\n"


@pytest.mark.parametrize("name", ["X-Seamless-User", "x_seamless_user", "X-SEAMLESS-GROUPS", "X-Seamless_Admin"])
def test_what_a_client_says_of_itself_never_arrives(port: int, name: str) -> None:
    """Attack: a client names its user itself; `_` is `-` to WSGI."""
    headers = [("Authorization", f"seamless {Signer(SECRET).sign('ada')}"), (name, "root")]
    status, _, _, text = ask(port, headers)
    assert status != 200 or "root" not in text
    assert ask(port, [(name, "root")])[0] != 200


def test_two_credentials_are_none(port: int) -> None:
    token = Signer(SECRET).sign("ada")
    for second in (f"seamless {token}", "seamless x"):
        headers = [("Authorization", f"seamless {token}"), ("Authorization", second)]
        assert ask(port, headers)[0] in (400, 401)


def test_a_name_is_encoded_in_headers_and_plain_in_the_identity(port: int) -> None:
    status, _, _, text = ask(port, [("Authorization", ("seamless " + Signer(SECRET).sign("ada,lovelace ü")).encode().decode("latin-1"))])
    assert status in (200, 401)
    if status == 200:
        assert "'ada,lovelace ü'" in text and "ada%2Clovelace%20%C3%BC" in text


def test_an_answer_to_head_has_no_body(port: int) -> None:
    status, _, headers, text = ask(port, method="HEAD")
    assert (status, text) == (401, "") and dict(headers)["Content-Length"] == "32"


def call(app: Any, **environ: Any) -> Tuple[str, bytes]:
    """One call without a server."""
    setup_testing_defaults(environ)
    heard: List[str] = []
    content = b"".join(app(environ, lambda status, headers: heard.append(status)))
    return heard[0], content


def test_rules_see_the_path_that_the_application_sees() -> None:
    rules = [{"path_prefix": "/public", "need": "open"}, {"path_prefix": "/maybe", "need": "optional"}]
    app = SeamlessMiddleware(application, secret=SECRET, rules={"rules": rules})
    assert call(app, PATH_INFO="/public/x") == ("200 OK", b"(None, [])")
    assert call(app, SCRIPT_NAME="/public", PATH_INFO="/x")[0] == "200 OK"
    assert call(app, PATH_INFO="/maybe", HTTP_X_SEAMLESS_USER="root") == ("200 OK", b"(None, [])")
    assert call(app, PATH_INFO="/private")[0] == "401 Not Authorized"
    assert call(app, PATH_INFO="/publicity")[0] == "401 Not Authorized"
    # What the server has decoded is decoded: these say `..` to the application.
    assert call(app, PATH_INFO="/public/../private")[0] == "400 Bad Request"
    assert call(app, PATH_INFO="/maybe", HTTP_AUTHORIZATION="seamless x")[0] == "401 Not Authorized"


def test_any_of_several_secrets_will_do() -> None:
    app = SeamlessMiddleware(application, [SECRET + " of last year", SECRET], 60, "corp")
    for secret in (SECRET, SECRET + " of last year"):
        assert call(app, HTTP_AUTHORIZATION=f"seamless {Signer(secret).sign('ada')}")[0] == "200 OK"


def test_keys_that_are_fetched_are_waited_for(realm: Any) -> None:
    app = SeamlessMiddleware(application, jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer, realm="corp")
    token = seamless.get_token(realm.login)
    status, text = call(app, HTTP_AUTHORIZATION=f"Bearer {token}")
    assert status == "200 OK" and realm.user.encode() in text


def test_wrong_words_are_errors_at_construction() -> None:
    with pytest.raises(ValueError, match="secret"):
        SeamlessMiddleware(application, secret="")
    with pytest.raises(ValueError, match="secret"):
        SeamlessMiddleware(application)
    with pytest.raises(TypeError, match="verifier"):
        SeamlessMiddleware(application, SECRET, verifier=seamless.Verifier(SECRET))
    with pytest.raises(TypeError, match="verifier"):
        SeamlessMiddleware(application, verifier="x")  # type: ignore[arg-type]


def test_an_error_of_the_application_is_its_own() -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise seamless.Rejection("expired", 401, "token expired")

    app = SeamlessMiddleware(broken, secret=SECRET)
    with pytest.raises(seamless.Rejection):
        call(app, HTTP_AUTHORIZATION=f"seamless {Signer(SECRET).sign('ada')}")
