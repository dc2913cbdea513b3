"""Tokens over ssh, from a real realm by stock ssh."""

from __future__ import annotations

import asyncio
import ctypes
import os
import stat
import subprocess
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import seamless
from seamless import _login
from seamless.httpx import SeamlessAuth as HttpxAuth
from seamless.requests import SeamlessAuth as RequestsAuth


def verifier(realm: Any, **more: Any) -> seamless.Verifier:
    return seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=[realm.issuer, "https://api.example"], **more)


def test_a_token_is_fetched_and_verified_with_the_realms_own_keys(realm: Any) -> None:
    identity = verifier(realm).verify(seamless.get_token(realm.login))
    assert (identity.subject, identity.format, identity.client_id) == (realm.user, "jwt", "ssh")
    assert identity.ssh_fp is not None and identity.ssh_fp.startswith("SHA256:")


def test_a_token_is_what_was_asked_for(realm: Any) -> None:
    token = seamless.fetch_token(realm.login, format="seamless")
    assert (token.token_type, token.subject) == ("seamless", realm.user)
    assert token.authorization == f"seamless {token.access_token}"
    assert token.expires_at is not None and abs(token.expires_at - time.time() - 60) < 5
    assert token.access_token not in repr(token)
    short = seamless.fetch_token(realm.login, audience=realm.issuer, ttl=30)
    assert short.expires_at is not None and abs(short.expires_at - time.time() - 30) < 5


def test_what_the_realm_refuses_says_so_in_its_own_words(realm: Any) -> None:
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token(realm.login, scope="everything")
    assert failed.value.exit_status == 3 and failed.value.kind == "refused"
    assert "scope" in str(failed.value) and "\n" not in str(failed.value)


def test_sshs_own_last_line_and_exit_status_are_told(realm: Any) -> None:
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token("nobody@login", interactive=False)
    assert failed.value.exit_status == 255
    assert "Permission denied" in str(failed.value)


def test_a_server_that_never_answers_is_given_up(realm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 60\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    with pytest.raises(seamless.AuthenticationError, match="no answer in time"):
        seamless.get_token(realm.login, timeout=1, interactive=False)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "destination",
    [
        "corp@h; touch evil",
        "corp@$(touch evil)",
        "corp@-oProxyCommand=touch evil",
        "-oProxyCommand=x@h",
        "corp@h\ntouch evil",
        "h; touch evil",
        "$(touch evil)",
        "-oProxyCommand=x",
        "-v",
        "h x",
        "h/x",
        "",
    ],
)
def test_a_host_name_runs_no_command(realm: Any, calls: Callable[[], List[str]], destination: str) -> None:
    for ask in (seamless.get_token, seamless.TokenSource, RequestsAuth, HttpxAuth):
        with pytest.raises(ValueError, match="^ssh: "):
            ask(destination)
    assert calls() == []


def test_a_host_of_sshs_configuration_has_its_user_there(realm: Any, calls: Callable[[], List[str]]) -> None:
    assert verifier(realm).verify(seamless.get_token("as-demo")).subject == realm.user
    assert verifier(realm).verify(seamless.get_token("ssh://as-demo")).subject == realm.user
    assert [call.split(" -- ")[1].split()[0] for call in calls()] == ["as-demo", "as-demo"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"audience": 5}, TypeError),
        ({"audience": ["a", ""]}, ValueError),
        ({"audience": "a b"}, ValueError),
        ({"scope": "a b"}, ValueError),
        ({"scope": "-x"}, ValueError),
        ({"format": "md5"}, ValueError),
        ({"format": 5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": float("nan")}, ValueError),
        ({"ttl": -1}, ValueError),
        ({"ttl": 0}, ValueError),
        ({"ttl": "60"}, TypeError),
        ({"ttl": True}, TypeError),
        ({"user": "ada"}, ValueError),
        ({"identity": 5}, TypeError),
        ({"interactive": "no"}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_wrong_words_are_errors_at_construction(
    realm: Any, calls: Callable[[], List[str]], words: Any, error: Any
) -> None:
    for ask in (seamless.get_token, seamless.fetch_token, seamless.TokenSource, RequestsAuth, HttpxAuth):
        with pytest.raises(error) as failed:
            ask(realm.login, **words)
        (argument,) = words
        assert str(failed.value).startswith(f"{argument}: ") or argument == "colour" and argument in str(failed.value)
        with pytest.raises(TypeError) as failed:
            ask(5)
        assert str(failed.value) == "ssh: is text"
    assert calls() == []


def test_what_a_server_does_not_understand_is_no_error_of_the_program(
    realm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'token: no such option: --json' >&2\nexit 2\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(seamless.AuthenticationError, match="no such option: --json") as failed:
        seamless.get_token(realm.login)
    assert (failed.value.exit_status, failed.value.kind) == (2, "refused")


@pytest.mark.parametrize("pipe", ["1", "2"])
def test_what_ssh_leaves_behind_is_not_waited_for(
    realm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe: str
) -> None:
    """A connection to be shared (ControlPersist) may keep a pipe open for hours."""
    ssh, closed = tmp_path / "ssh", "2" if pipe == "1" else "1"
    ssh.write_text(f"#!/bin/sh\nsleep 60 {closed}>/dev/null &\necho $! > {tmp_path}/left\necho ada.ZVPxAA.x\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    if pipe == "2":
        assert seamless.get_token(realm.login) == "ada.ZVPxAA.x"
    else:
        # More may come: nobody can tell.
        with pytest.raises(seamless.AuthenticationError, match="no answer in time"):
            seamless.get_token(realm.login, timeout=1, interactive=False)
    assert time.monotonic() - began < 15
    os.kill(int((tmp_path / "left").read_text()), 9)


def test_many_threads_fetch_once_and_each_server_has_a_token_of_its_own(
    realm: Any, calls: Callable[[], List[str]]
) -> None:
    source = seamless.TokenSource(realm.login)
    found: List[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(source.authorization("https://a.example:443"))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and len(set(found)) == 1 and len(calls()) == 1
    other = source.authorization("https://b.example:443")
    assert other != found[0] and len(calls()) == 2


def test_of_many_who_wait_all_hear_of_one_failure(realm: Any, calls: Callable[[], List[str]]) -> None:
    source = seamless.TokenSource("nobody@login", interactive=False)
    failures: List[BaseException] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        try:
            source.authorization("https://a.example:443")
        except seamless.AuthenticationError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 8 and len({id(one) for one in failures}) == 8
    assert len(calls()) < 8


def test_the_event_loop_goes_on_meanwhile(realm: Any, calls: Callable[[], List[str]]) -> None:
    source = seamless.TokenSource(realm.login)

    async def run() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        values = await asyncio.gather(*(source.aauthorization("https://a.example:443") for _ in range(8)))
        ticking.cancel()
        assert len(set(values)) == 1
        return ticks

    assert asyncio.run(run()) > 0
    assert len(calls()) == 1


@pytest.fixture
def agent(realm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent, without a key."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        while not socket.exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield socket
    finally:
        process.terminate()
        process.wait(10)


def test_a_token_comes_over_http_too_signed_by_the_agent(realm: Any, agent: Path, calls: Callable[[], List[str]]) -> None:
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token(realm.url, user=realm.user)
    assert failed.value.kind == "no_key" and failed.value.hint is not None and "ssh-add" in failed.value.hint
    subprocess.run(["ssh-add", "-q", str(realm.folder.parent / ".ssh/id_ed25519")], check=True)
    token = seamless.fetch_token(realm.url, user=realm.user, audience=realm.issuer)
    identity = verifier(realm).verify(token.access_token)
    assert (identity.subject, token.token_type, calls()) == (realm.user, "Bearer", [])
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token(realm.url, user="nobody")
    assert failed.value.kind == "no_key"
    with pytest.raises(ValueError, match="plain http"):
        seamless.get_token("http://login.example.com", user="ada")


def test_hints_speak_of_keywords(realm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token(realm.url, user=realm.user)
    assert failed.value.kind == "no_agent" and failed.value.hint is not None
    assert "identity=" in failed.value.hint and "--" not in failed.value.hint
    for name in ("USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="user=NAME"):
        seamless.get_token(realm.url)
    with pytest.raises(ValueError, match='^ssh: "a b" is no log-in server; such as corp@'):
        seamless.get_token("a b")


@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["by Python", "below Python"])
def test_a_forked_process_fetches_by_itself(realm: Any, calls: Callable[[], List[str]], fork: Callable[[], int]) -> None:
    source = seamless.TokenSource(realm.login)
    before = source.authorization("https://a.example:443")
    slot = source._slot("https://a.example:443")
    # Somebody holds both locks while the process forks.
    with source._lock, slot._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = fork()
        if child == 0:
            code = 1
            try:
                code = 0 if source.authorization("https://a.example:443") != before else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert source.authorization("https://a.example:443") == before and len(calls()) == 2


def test_the_originals_cause_is_there(realm: Any) -> None:
    with pytest.raises(seamless.AuthenticationError) as failed:
        seamless.get_token("nobody@login", interactive=False)
    assert isinstance(failed.value.cause, subprocess.CalledProcessError)
    assert failed.value.cause.returncode == 255


class Clock:
    """Stands in for `time` in the module of log-ins."""

    def __init__(self) -> None:
        self.wall = self.steady = 1_800_000_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady


class Token:
    """As the core's."""

    def __init__(self, number: int, clock: Clock, life: Any, ahead: int = 0) -> None:
        self.authorization = f"Bearer {number}"
        self.issued_at = int(clock.wall) + ahead
        self.expires_at = None if life is None else int(clock.wall) + life


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A source whose tokens live 100 s by a clock that the test moves."""

    def make(life: Any = 100, ahead: int = 0) -> Any:
        clock = Clock()
        monkeypatch.setattr(_login, "time", clock)
        source = seamless.TokenSource("corp@login")
        fetched: List[Token] = []

        def fetch() -> Any:
            fetched.append(Token(len(fetched), clock, life, ahead))
            return fetched[-1]

        source._fetch = fetch
        return source, clock, fetched

    return make


def test_a_token_is_fetched_anew_before_it_ends(clocked: Any) -> None:
    source, clock, fetched = clocked()
    assert source.authorization("s") == "Bearer 0"
    clock.wall += 89
    clock.steady += 89
    assert source.authorization("s") == "Bearer 0"
    clock.wall += 1
    clock.steady += 1
    assert source.authorization("s") == "Bearer 1"
    # A laptop slept: one of the clocks stood still.
    clock.wall += 1000
    assert source.authorization("s") == "Bearer 2"
    # The clock was set back: nobody knows how old it is.
    clock.wall -= 5000
    assert source.authorization("s") == "Bearer 3"
    assert len(fetched) == 4


def test_one_that_says_no_end_is_used_until_the_server_says_so(clocked: Any) -> None:
    source, clock, _ = clocked(life=None)
    assert source.authorization("s") == "Bearer 0"
    clock.wall += 10_000
    clock.steady += 10_000
    assert source.authorization("s") == "Bearer 0"
    assert source.renew("s", "Bearer 0") == "Bearer 1"
    # Another thread with the old one in hand fetches no third.
    assert source.renew("s", "Bearer 0") == "Bearer 1"


def test_one_that_was_fetched_for_this_very_request_is_not_fetched_again(clocked: Any) -> None:
    source, _, fetched = clocked()
    used = source.authorization("s")
    assert source.renew("s", used) is None
    assert len(fetched) == 1
    assert source.authorization("s") == used
    assert source.renew("s", used) == "Bearer 1"


@pytest.mark.parametrize(("ahead", "words"), [(42, "42 s ahead of"), (-42, "41 s behind")])
def test_clocks_that_differ_are_told_once(clocked: Any, ahead: int, words: str) -> None:
    source, _, _ = clocked(ahead=ahead)
    with pytest.warns(seamless.ClockSkewWarning, match=words):
        source.authorization("s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.authorization("t")


def test_clocks_that_agree_are_nothing_to_tell(clocked: Any) -> None:
    source, _, _ = clocked(ahead=4)
    assert source.authorization("s") == "Bearer 0"


def test_the_servers_are_bounded(clocked: Any) -> None:
    source, _, fetched = clocked()
    for number in range(300):
        source.authorization(f"https://h{number}:443")
    assert len(fetched) == 300 and len(source._slots) == 256


def test_a_key_file_is_named_to_ssh(realm: Any, calls: Callable[[], List[str]], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes((realm.folder.parent / ".ssh/id_ed25519").read_bytes())
    key.chmod(stat.S_IRUSR)
    assert seamless.get_token(realm.login, identity=key)
    assert f"-i {key}" in calls()[-1]
