"""What the pages and the modules show runs as it stands there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest

import seamless
from seamless.signer import Signer

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


@pytest.mark.parametrize("name", ["seamless", "seamless.wsgi", "seamless.asgi", "seamless.fastapi", "seamless.requests", "seamless.httpx"])
def test_the_examples_in_a_module_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.filterwarnings("ignore:.*(under 16 bytes|go in the clear)")
def test_the_originals_readme_runs_as_it_stands(realm: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its three snippets, with names of this realm in the place of theirs."""
    readme = (ROOT / "clients/python/README.md").read_text()
    get_token = "seamless.get_token('seamless-realm@seamless-host')"
    assert f">>> import seamless\n>>> {get_token}\n" in readme
    token = eval(get_token.replace("seamless-realm@seamless-host", realm.login), {"seamless": seamless})
    assert isinstance(token, str) and token.startswith("eyJ")

    wsgi = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "max_age=60, secret='...'" in block)
    seen: List[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append(environ["HTTP_X_SEAMLESS_USER"])
        start_response("200 OK", [])
        return [b"hello"]

    names: Dict[str, Any] = {"app": app}
    exec(wsgi.replace("app = ...", "").replace("'...'", "secret"), {**names, "secret": SECRET}, names)
    protected = names["app"]
    heard: List[Any] = []

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_AUTHORIZATION": headers.get("authorization", "")}
        content = b"".join(protected(environ, lambda status, fields: heard.append((status, fields))))
        status, fields = heard[-1]
        return int(status.split()[0]), [pair for pair in fields if pair[0] != "Content-Length"], content

    server = site(answer)
    requests = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "session.auth" in block)
    # The original's realm has the original's format: the token of this one is made with the service's secret.
    monkeypatch.setattr("seamless._login.fetch_token", lambda *_, **__: Fetched())
    requests = requests.replace("http://protected-app/", server.url).replace("session.get", "answer = session.get")
    names = {}
    exec(requests, names)
    assert (names["answer"].status_code, names["answer"].text, seen) == (200, "hello", ["ada"])


class Fetched:
    authorization = f"seamless {Signer(SECRET).sign('ada')}"
    issued_at = None
    expires_at = None


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
