"""The plugin of requests, against real servers and a real realm."""

from __future__ import annotations

import io
import threading
import warnings
from typing import Any, Callable, Iterator, List

import pytest
import requests

import seamless
from seamless.requests import SeamlessAuth

CHALLENGE = ("WWW-Authenticate", 'seamless realm="corp"')


class Source:
    """Tokens that are numbers, so that each can be told from the others."""

    def __init__(self) -> None:
        self.made = 0
        self.lock = threading.Lock()
        self.inner = seamless.TokenSource("corp@login")
        self.inner._fetch = self.fetch  # type: ignore[assignment]

    def fetch(self) -> Any:
        with self.lock:
            self.made += 1

            class Token:
                authorization = f"Bearer {self.made}"
                issued_at = None
                expires_at = None

            return Token()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def session(source: Source) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = SeamlessAuth(source=source.inner)
        yield session


def accepts(*values: str) -> Callable[..., Any]:
    """A server that accepts these, and says `expired` to all others."""

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        if headers.get("authorization") in values:
            return 200, [("Set-Cookie", "seen=1")], body or b"hello"
        return 401, [CHALLENGE, ("Set-Cookie", "refused=1")], b"token expired\n"

    return answer


def test_a_service_behind_the_middleware_lets_it_in(realm: Any, site: Any) -> None:
    verifier = seamless.Verifier(jwks=realm.jwks(), issuer=realm.issuer, audience=realm.issuer)

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        identity = verifier.check(method, "http", headers["host"], path, headers.items())
        return 200, [], identity.subject.encode()

    with requests.Session() as session:
        session.auth = SeamlessAuth(realm.login)
        assert session.get(site(answer).url).text == realm.user


def test_a_401_is_tried_once_more_with_another_token(site: Any, session: Any, source: Source) -> None:
    server = site(accepts("Bearer 2"))
    # A token of this very request that is refused will not do better a second time.
    assert session.get(server.url).status_code == 401
    assert server.authorizations() == ["Bearer 1"]
    response = session.post(server.url, data=b"body")
    assert (response.status_code, response.content) == (200, b"body")
    assert server.authorizations() == ["Bearer 1", "Bearer 1", "Bearer 2"]
    assert [old.status_code for old in response.history] == [401]
    assert server.asked[-1][2]["cookie"] == "refused=1"
    assert session.get(server.url).status_code == 200
    assert source.made == 2


def test_it_is_tried_once_more_and_no_oftener(site: Any, session: Any, source: Source) -> None:
    server = site(accepts())
    session.get(server.url)
    assert session.get(server.url).status_code == 401
    assert len(server.asked) == 3 and source.made == 2


@pytest.mark.parametrize("challenge", ['Basic realm="proxy"', "", "Negotiate", "seamlessly x"])
def test_a_401_of_somebody_elses_is_left_alone(site: Any, session: Any, challenge: str) -> None:
    server = site(lambda *_: (401, [("WWW-Authenticate", challenge)], b"expired"))
    session.get(server.url)
    session.get(server.url)
    assert server.authorizations() == ["Bearer 1", "Bearer 1"]


def test_the_challenge_may_be_one_of_several(site: Any, session: Any) -> None:
    headers = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", 'Bearer realm="corp", error="invalid_token"')]
    server = site(lambda *_: (401, headers, b"no"))
    session.get(server.url)
    session.get(server.url)
    assert server.authorizations() == ["Bearer 1", "Bearer 1", "Bearer 2"]


def test_who_wants_no_retry_has_none(site: Any, source: Source) -> None:
    server = site(accepts())
    for _ in range(2):
        requests.get(server.url, auth=SeamlessAuth(source=source.inner, retry_expired=False))
    assert server.authorizations() == ["Bearer 1", "Bearer 1"]


def test_a_file_is_sent_again_from_where_it_was(site: Any, session: Any) -> None:
    server = site(accepts("Bearer 2"))
    session.get(server.url)
    body = io.BytesIO(b"xxbody")
    body.seek(2)
    assert session.put(server.url, data=body).content == b"body"
    assert [asked[3] for asked in server.asked] == [b"", b"body", b"body"]


def test_a_stream_is_not_sent_again(site: Any, session: Any, source: Source) -> None:
    server = site(accepts("Bearer 2"))
    session.get(server.url)
    response = session.post(server.url, data=iter([b"one", b"two"]))
    assert response.status_code == 401 and "expired" in response.text
    assert [asked[3] for asked in server.asked] == [b"", b"onetwo"]
    assert source.made == 1


def test_where_a_redirect_leads_gets_no_token(site: Any, session: Any, source: Source) -> None:
    """Attack: a service sends its callers to a host that asks for a token."""
    evil = site(lambda *_: (401, [CHALLENGE], b"token expired\n"))
    server = site(lambda *_: (302, [("Location", evil.url.replace("127.0.0.1", "localhost"))], b""))
    session.get(server.url)
    assert session.get(server.url).status_code == 401
    assert evil.authorizations() == [None, None]
    assert source.made == 1


def test_each_server_has_a_token_of_its_own(site: Any, session: Any) -> None:
    """Attack: a service uses what it was sent against another one."""
    one, other = site(accepts("Bearer 1")), site(accepts("Bearer 2"))
    assert session.get(one.url).status_code == session.get(other.url).status_code == 200
    assert session.get(one.url).status_code == 200
    assert other.authorizations() == ["Bearer 2"]


def test_only_servers_that_were_named_get_one(site: Any, source: Source) -> None:
    server = site(accepts("Bearer 1"))
    auth = SeamlessAuth(source=source.inner, servers=["https://api.example", server.url + "/"])
    assert requests.get(server.url + "/x", auth=auth).status_code == 200
    with pytest.raises(ValueError, match="servers"):
        requests.get(site(accepts()).url, auth=auth)
    assert source.made == 1
    with pytest.raises(ValueError):
        SeamlessAuth("corp@login", servers="api.example")


def test_plain_http_beyond_this_machine_is_worth_a_warning(source: Source) -> None:
    auth = SeamlessAuth(source=source.inner)
    prepared = requests.Request("GET", "http://api.example/").prepare()
    with pytest.warns(UserWarning, match="use https"):
        auth(prepared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auth(prepared)
        auth(requests.Request("GET", "http://127.0.0.9/").prepare())
        auth(requests.Request("GET", "https://api.example/").prepare())


def test_threads_that_meet_an_expired_token_fetch_one(site: Any, source: Source) -> None:
    server = site(accepts("Bearer 2"))
    auth = SeamlessAuth(source=source.inner)
    requests.get(server.url, auth=auth)
    found: List[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(requests.get(server.url, auth=auth).status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8 and source.made == 2


def test_who_can_not_log_in_is_told_why(realm: Any, site: Any) -> None:
    server = site(accepts())
    with pytest.raises(seamless.AuthenticationError, match="Permission denied"):
        requests.get(server.url, auth=SeamlessAuth("nobody@login", interactive=False))
    assert server.asked == []


def test_wrong_words_are_errors_at_construction() -> None:
    with pytest.raises(TypeError, match="realm"):
        SeamlessAuth()
    with pytest.raises(TypeError, match="source"):
        SeamlessAuth("corp@login", source=seamless.TokenSource("corp@login"))
    with pytest.raises(TypeError):
        SeamlessAuth("corp@login", colour="red")
    assert repr(SeamlessAuth("corp@login")) == "SeamlessAuth('corp@login')"
