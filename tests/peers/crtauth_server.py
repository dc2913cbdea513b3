"""The original server of crtauth, unmodified, in front of an application that says who is there. CPython 2.7.

crtauth_server.py SECRET_FILE KEYS_FOLDER SERVER_NAME VERSIONS

VERSIONS is what it speaks: `01`, `1`, or `0` for a server from before version 1, to which every request was a name.
It prints `listening on PORT` and serves /_auth and everything else on 127.0.0.1 until it is killed.
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from crtauth.key_provider import FileKeyProvider
from crtauth.server import AuthServer
from crtauth.wsgi import CrtauthMiddleware


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["hello %s" % environ["crtauth.username"]]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        # wsgiref would ask the resolver for the name of 127.0.0.1.
        return self.client_address[0]


secret, keys, name, versions = sys.argv[1:]
with open(secret) as file:
    auth = AuthServer(file.read(), FileKeyProvider(keys), name, lowest_supported_version=int(versions[0]))
middleware = CrtauthMiddleware(hello, auth)
if versions == "0":
    middleware.parse_request = lambda request: (request, 0)
server = make_server("127.0.0.1", 0, middleware, handler_class=Quiet)
sys.stdout.write("listening on %d\n" % server.server_port)
sys.stdout.flush()
server.serve_forever()
