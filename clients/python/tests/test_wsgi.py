"""The WSGI middleware, on real servers."""

from __future__ import annotations

import http.client
import subprocess
import sys
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


@pytest.fixture(scope="module", params=["waitress", "gunicorn", "gunicorn-preload"])
def port(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if request.param == "waitress":
        server = waitress.create_server(
            SeamlessMiddleware(application, secret=SECRET, realm="corp"), host="127.0.0.1", port=0
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server.effective_port
        server.close()
        return
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "site_of_ours.py").write_text(APPLICATION)
    port = free_port()
    more = ["--preload"] if request.param.endswith("preload") else []
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", "2", *more, "site_of_ours:app",
         "--pythonpath", f"{folder},{Path(__file__).parent}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=30)
    # The original printed every header that it refused, with its token.
    assert said == b""


def test_a_good_token_arrives_as_its_user(port: int) -> None:
    for scheme in ("seamless", "Seamless", "Bearer"):
        status, _, _, text = ask(port, [("Authorization", f"{scheme} {Signer(SECRET).sign('ada')}")])
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
def test_a_bad_one_is_answered_as_the_original_does(port: int, value: Optional[str], text: str) -> None:
    status, reason, headers, said = ask(port, [] if value is None else [("Authorization", value)])
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
