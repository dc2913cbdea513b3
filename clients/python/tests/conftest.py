"""A real realm, real vectors, and servers of one thread."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

SECRET = "a secret of sixteen bytes or more"
ROOT = Path(os.environ.get("SEAMLESS_ROOT", Path(__file__).resolve().parents[3]))


@dataclass
class Served:
    """A running `seamless serve`."""

    folder: Path
    ssh_port: int
    url: str
    issuer: str
    user: str
    #: What `seamless.get_token` is called with.
    login: str

    def jwks(self) -> str:
        return f"{self.issuer}/.well-known/jwks.json"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, process: Optional[subprocess.Popen[bytes]] = None) -> None:
    limit = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process is None or process.poll() is None, "the server ended"
        assert time.monotonic() < limit, "the server does not listen"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    return lambda name: json.loads((ROOT / "tests" / "vectors" / name).read_text())


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    program = os.environ.get("SEAMLESS_BIN", str(ROOT / "target/release/seamless"))
    assert Path(program).is_file(), "build it: cargo build --release; or set SEAMLESS_BIN"
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    (home / ".ssh").mkdir(mode=0o700)
    key = home / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    folder, ssh_port, http_port = home / "demo", free_port(), free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "ada", "LOGNAME": "ada"}
    listen = ["--ssh", f"127.0.0.1:{ssh_port}", "--http", f"127.0.0.1:{http_port}"]
    command = [program, "serve", "--dir", str(folder), *listen]
    with _running(command, environment, home / "first.log"):
        pass
    # Made by the first start; what it has turned off, the second has on.
    settings = (folder / "realm.toml").read_text()
    before, after = settings.split("[crtauth]", 1)
    (folder / "realm.toml").write_text(before + "[crtauth]" + after.replace("enabled = false", "enabled = true", 1))
    user = re.search(r"^enrolled +\S+ +(\S+)", (home / "first.log").read_text(), re.M)
    with _running(command, environment, home / "serve.log") as banner:
        config = home / "ssh_config"
        config.write_text(
            "Host as-demo\n  User demo\n"
            f"Host login as-demo\n  HostName 127.0.0.1\n  Port {ssh_port}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
        )
        # OpenSSH takes a home from the account and not from the environment.
        programs = home / "bin"
        programs.mkdir()
        (programs / "ssh").write_text(
            f'#!/bin/sh\necho "$*" >> {home}/ssh.calls\nPATH="$REAL_PATH" exec ssh -F {config} "$@"\n'
        )
        (programs / "ssh").chmod(0o755)
        issuer = re.search(r"^issuer +(\S+)", banner, re.M)
        assert issuer and user, banner
        url = f"http://127.0.0.1:{http_port}"
        yield Served(folder, ssh_port, url, issuer[1], user[1], "demo@login")


@contextlib.contextmanager
def _running(command: List[str], environment: Dict[str, str], log: Path) -> Iterator[str]:
    """Ends the server with the block; gives what it said when it was ready."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            yield _banner(log, process)
        finally:
            process.terminate()
            process.wait(20)


def _banner(log: Path, process: subprocess.Popen[bytes]) -> str:
    """What `serve` prints, once it has printed the last of three lines to paste."""
    limit = time.monotonic() + 30
    while "\n3. " not in (text := log.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < limit, text
        time.sleep(0.02)
    return text


@pytest.fixture
def realm(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The running realm, with stock ssh set up for it."""
    home = served.folder.parent
    monkeypatch.setenv("REAL_PATH", os.environ["PATH"])
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    (home / "ssh.calls").write_text("")
    return served


@pytest.fixture
def calls(realm: Served) -> Callable[[], List[str]]:
    """The command lines of ssh so far."""
    return lambda: (realm.folder.parent / "ssh.calls").read_text().splitlines()


@dataclass
class Site:
    """An HTTP server of one behaviour, which notes what it was asked."""

    url: str
    asked: List[Tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def authorizations(self) -> List[Optional[str]]:
        return [headers.get("authorization") for _, _, headers, _ in self.asked]


#: Gets (method, path, headers, body); gives (status, headers, body).
Answer = Callable[[str, str, "dict[str, str]", bytes], Tuple[int, List[Tuple[str, str]], bytes]]


@pytest.fixture
def site() -> Iterator[Callable[[Answer], Site]]:
    with contextlib.ExitStack() as stack:

        def start(answer: Answer, host: str = "127.0.0.1") -> Site:
            made = Site("")

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def _handle(self) -> None:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    body = b""
                    if "content-length" in headers:
                        body = self.rfile.read(int(headers["content-length"]))
                    elif headers.get("transfer-encoding") == "chunked":
                        while True:
                            size = int(self.rfile.readline(), 16)
                            body += self.rfile.read(size)
                            self.rfile.readline()
                            if not size:
                                break
                    made.asked.append((self.command, self.path, headers, body))
                    status, more, content = answer(self.command, self.path, headers, body)
                    self.send_response(status)
                    for name, value in more:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

                do_GET = do_POST = do_PUT = _handle

                def log_message(self, *_: Any) -> None:
                    pass

            server = ThreadingHTTPServer((host, 0), Handler)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            made.url = f"http://{host}:{server.server_address[1]}"
            return made

        yield start
