"""The original clients of crtauth, unmodified, with the ssh-agent of SSH_AUTH_SOCK. CPython 2.7.

crtauth_client.py library VERSION URL USER
    logs in by crtauth.client, then asks for URL with the token
crtauth_client.py plugin VERSION URL USER [METHOD [BODY_BYTES]]
    asks for URL by requests with requests_crtauth.HttpCrtAuth
crtauth_client.py relay REQUEST_URL RESPONSE_URL USER
    has one server's challenge signed and answers another's with it, as behind a load balancer; then RESPONSE_URL as above
crtauth_client.py short SECRET_FILE PUBLIC_KEY URL USER
    makes challenges as a server of the fleet would until the signature begins with a zero byte, which it leaves out
    as the original's SingleKeySigner does; then URL as above

One JSON object on stdout: {"status": 200, "body": "...", "token": "...", "challenge": 1, "handshake": [401, 200, 200]}, or
{"error": "ClassName", "message": "..."}.
"""

import httplib
import json
import sys
import time
from urlparse import urlparse

import requests
from crtauth import client, msgpack_protocol, ssh
from crtauth.rsa import RSAPublicKey
from requests_crtauth import HttpCrtAuth


def read(path):
    with open(path) as file:
        return file.read()


class Refused(Exception):
    pass


def ask(url, headers, path=None):
    place = urlparse(url)
    connection = httplib.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.request("GET", path or place.path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.getheader("X-CHAP")


def chap(url, message):
    status, body, answer = ask(url, {"X-CHAP": message}, "/_auth")
    if status != 200:
        raise Refused("%d %s" % (status, body))
    return answer.split(":", 1)[1]


def with_token(url, challenge, token):
    status, body, _ = ask(url, {"Authorization": "chap:" + token})
    version = {"v": 0, "\x01": 1}[ssh.base64url_decode(challenge)[0]]
    return {"status": status, "body": body, "token": token, "challenge": version}


def challenge_of(url, version, user):
    return chap(url, "request:" + (client.create_request(user) if version == "1" else user))


def library(version, url, user):
    challenge = challenge_of(url, version, user)
    response = client.create_response(challenge, urlparse(url).hostname)
    return with_token(url, challenge, chap(url, "response:" + response))


def plugin(version, url, user, method="GET", size="0"):
    auth = HttpCrtAuth(username=user, version=int(version))
    answer = requests.request(method, url, auth=auth, data="x" * int(size) or None, timeout=20)
    # Each answer holds the one before it.
    statuses, step = [], answer
    while step.history:
        step = step.history[-1]
        statuses.insert(0, step.status_code)
    return {"status": answer.status_code, "body": answer.text, "token": auth.chap_token, "handshake": statuses}


def relay(request_url, response_url, user):
    challenge = challenge_of(request_url, "1", user)
    response = client.create_response(challenge, urlparse(request_url).hostname)
    return with_token(response_url, challenge, chap(response_url, "response:" + response))


def short(secret_file, public_key, url, user):
    secret = read(secret_file)
    host, random = urlparse(url).hostname, open("/dev/urandom")
    fingerprint = RSAPublicKey(read(public_key)).fingerprint()
    for _ in range(10000):
        now = int(time.time())
        challenge = msgpack_protocol.Challenge(
            unique_data=random.read(20), valid_from=now - 2, valid_to=now + 20,
            fingerprint=fingerprint, server_name=host, username=user,
        ).serialize(secret)
        signature = ssh.AgentSigner().sign(challenge, fingerprint)
        if signature[0] == "\0":
            break
    response = msgpack_protocol.Response(challenge=challenge, signature=signature.lstrip("\0")).serialize()
    token = chap(url, "response:" + ssh.base64url_encode(response))
    said = with_token(url, ssh.base64url_encode(challenge), token)
    return dict(said, shorter_by=len(signature) - len(signature.lstrip("\0")))


if __name__ == "__main__":
    how = {"library": library, "plugin": plugin, "relay": relay, "short": short}[sys.argv[1]]
    try:
        said = how(*sys.argv[2:])
    except Exception as error:
        said = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(said))
