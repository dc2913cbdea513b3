"""What the pages and the modules show runs as it stands there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

import seamless
from seamless.signer import Signer
from seamless.wsgi import SeamlessMiddleware

from conftest import ROOT, SECRET

PAGES = ["docs/protect-a-python-service.md", "docs/call-from-python.md"]


def blocks(page: str) -> List[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page: str) -> None:
    found = blocks(page)
    assert found
    for block in found:
        names: Dict[str, Any] = {}
        exec(compile("import seamless.signer\n" + block, page, "exec"), names)
        if "application" in names and "start_response" in block:
            environ = {"HTTP_AUTHORIZATION": f"seamless {Signer(SECRET).sign('ada')}", "PATH_INFO": "/"}
            assert names["application"](environ, lambda *_: None) == [b"ada"]


@pytest.mark.parametrize("name", ["seamless", "seamless.wsgi", "seamless.asgi", "seamless.fastapi", "seamless.starlette", "seamless.requests", "seamless.httpx"])
def test_the_examples_in_a_module_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0


README = ROOT / "clients/python/README.md"


def snippet(of: str) -> str:
    """The block of the README that has this in it."""
    return next(block for block in re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S) if of in block)


def call(app: Any, authorization: str) -> Tuple[int, List[Tuple[str, str]], bytes]:
    heard: List[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": authorization}
    content = b"".join(app(environ, lambda status, headers: heard.append((status, headers))))
    status, headers = heard[0]
    return int(status.split()[0]), [pair for pair in headers if pair[0] != "Content-Length"], content


def hello(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b"hello " + environ["HTTP_X_SEAMLESS_USER"].encode()]


def test_the_originals_readme_gets_a_token(realm: Any) -> None:
    block = snippet("get_token")
    # The lines of the original's README, and what they print there with a token in it.
    assert block.startswith(">>> import seamless\n>>> seamless.get_token('seamless-realm@seamless-host')\n'")
    lines = block.replace("seamless-realm@seamless-host", realm.login)
    lines = re.sub(r"^'.*…'$", "'eyJ...'", lines, flags=re.M)
    test = doctest.DocTestParser().get_doctest(lines, {}, "README", None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test).failed == 0 and runner.tries == 2


@pytest.mark.filterwarnings("ignore:.*under 16 bytes")
def test_the_originals_readme_protects_a_service() -> None:
    block = snippet("max_age=60, secret='...'")
    names: Dict[str, Any] = {}
    assert "\napp = ...\n" in block
    exec(block.replace("app = ...", "from test_docs import hello as app"), names)
    assert call(names["app"], f"seamless {Signer('...').sign('ada')}")[::2] == (200, b"hello ada")
    assert call(names["app"], f"seamless {Signer('....').sign('ada')}")[::2] == (401, b"invalid token\n")


def test_the_originals_readme_calls_one(realm: Any, site: Any) -> None:
    app = SeamlessMiddleware(hello, jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)
    server = site(lambda method, path, headers, body: call(app, headers.get("authorization", "")))
    block = snippet("session.auth = SeamlessAuth('name@seamless-host')")
    assert "session.get('http://protected-app/')" in block
    block = block.replace("name@seamless-host", realm.login).replace("http://protected-app/", server.url)
    names: Dict[str, Any] = {}
    exec(block.replace("session.get", "answer = session.get"), names)
    assert (names["answer"].status_code, names["answer"].text) == (200, f"hello {realm.user}")


@pytest.mark.filterwarnings("ignore:.*under 16 bytes")
def test_the_rest_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: Dict[str, Any] = {"app": hello, "SeamlessMiddleware": SeamlessMiddleware}
    exec(snippet("jwks="), names)
    assert call(names["app"], "seamless x")[0] == 401
    exec(snippet("seamless.Verifier("), {"seamless": seamless, "token": Signer("the one before").sign("ada") + "x"})
    assert capsys.readouterr().out == "401 bad_signature\n"


def test_every_public_thing_says_what_it_is() -> None:
    for name in seamless.__all__:
        thing = getattr(seamless, name)
        if name != "__version__" and not name.startswith("_"):
            assert isinstance(thing.__doc__, str) and thing.__doc__.strip(), name


def test_the_stubs_have_what_the_core_has() -> None:
    """A method without a type is one that nobody can use with mypy."""
    stub = (Path(seamless.__file__).parent / "_core.pyi").read_text()
    for kind in (seamless.Verifier, seamless.Identity, seamless.Token):
        body = stub[stub.index(f"class {kind.__name__}:") :].split("\nclass ")[0].split("\ndef ")[0]
        for name in vars(kind):
            if not name.startswith("_"):
                assert f"def {name}(" in body, f"{kind.__name__}.{name}"
