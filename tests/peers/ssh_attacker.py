"""A ssh client that says what a stock one never would: one JSON object a line on stdin, one answer a line on stdout.

{"port": 2222, "user": "demo", "steps": [STEP, …]}  ->  {"steps": [ANSWER, …]}

STEP is one of
  {"offer": KEYFILE}                  asks whether a key would do, without a signature
  {"cut": KEYFILE}                    the same with a key that ends too early
  {"prove": KEYFILE}                  signs with it
  {"forge": KEYFILE, "by": KEYFILE}   shows the first, signs with the second
  {"method": NAME}                    another method, with whatever it takes
  {"respond": N}                      N answers to a keyboard-interactive question that was perhaps never asked
  {"send": HEX}                       one message as it is
  {"exec": TEXT}                      opens a session and runs this in it
with "user" in it for another login name. KEYFILE is the private half; beside it lies KEYFILE.pub.
ANSWER is {"code": MESSAGE, "body": HEX}, {"stdout": …, "stderr": …, "exit": …}, {"refused": WHY}, or {"closed": true}.
"""

import base64
import json
import queue
import socket
import sys

import paramiko
from paramiko.message import Message

WAIT = 10
UNIMPLEMENTED, SERVICE_REQUEST, SERVICE_ACCEPT = 3, 5, 6
REQUEST, FAILURE, SUCCESS, BANNER, PK_OK, RESPONSE = 50, 51, 52, 53, 60, 61

KEPT = (UNIMPLEMENTED, SERVICE_ACCEPT, FAILURE, SUCCESS, PK_OK)


class Answers:
    """Stands where paramiko has its own idea of logging in, and only listens."""

    def __init__(self):
        self.got = queue.Queue()
        self.proven = False
        self._handler_table = {code: self.keep(code) for code in KEPT}
        self._handler_table[BANNER] = lambda *_: None

    def keep(self, code):
        def handler(message):
            self.proven |= code == SUCCESS
            self.got.put({"code": code, "body": message.get_remainder().hex()})

        return handler

    def is_authenticated(self):
        return self.proven

    def abort(self):
        self.got.put({"closed": True})


class Attack:
    def __init__(self, ask):
        self.user = ask["user"]
        stream = socket.create_connection(("127.0.0.1", ask["port"]), timeout=WAIT)
        self.transport = paramiko.Transport(stream)
        self.transport.start_client(timeout=WAIT)
        self.answers = Answers()
        self.transport.auth_handler = self.answers
        self.send(message(SERVICE_REQUEST, b"ssh-userauth"))
        self.answer()

    def send(self, bytes_):
        self.transport._send_message(bytes_)

    def answer(self):
        try:
            return self.answers.got.get(timeout=WAIT)
        except queue.Empty:
            return {"silent": True}

    def step(self, step):
        user = step.get("user", self.user)
        if not self.transport.is_active() and "exec" not in step:
            return {"closed": True}
        if "exec" in step:
            return self.run(step["exec"])
        if "send" in step:
            self.send(Message(bytes.fromhex(step["send"])))
        elif "respond" in step:
            reply = Message()
            reply.add_byte(bytes([RESPONSE]))
            reply.add_int(step["respond"])
            for _ in range(step["respond"]):
                reply.add_string(b"yes")
            self.send(reply)
        elif "method" in step:
            self.send(self.other(user, step["method"]))
        else:
            self.send(self.key(user, step))
        return self.answer()

    def key(self, user, step):
        """RFC 4252 section 7."""
        shown = step.get("offer") or step.get("cut") or step.get("forge") or step["prove"]
        by = step.get("by") or step.get("prove")
        name, blob = public(shown)
        if "cut" in step:
            blob = blob[:-7]
        request = message(REQUEST, user.encode(), b"ssh-connection", b"publickey")
        request.add_boolean(by is not None)
        request.add_string(name)
        request.add_string(blob)
        if by is not None:
            signed = Message()
            signed.add_string(self.transport.session_id)
            key = paramiko.PKey.from_path(by)
            request.add_string(key.sign_ssh_data(signed.asbytes() + request.asbytes(), name.decode()))
        return request

    def other(self, user, method):
        request = message(REQUEST, user.encode(), b"ssh-connection", method.encode())
        if method == "password":
            request.add_boolean(False)
            request.add_string(b"password")
        elif method == "keyboard-interactive":
            request.add_string(b"")
            request.add_string(b"")
        elif method == "hostbased":
            for part in (b"ssh-ed25519", b"", b"localhost", user.encode(), b""):
                request.add_string(part)
        return request

    def run(self, command):
        try:
            # Whoever has proven nothing may be left without an answer.
            channel = self.transport.open_session(timeout=WAIT if self.answers.proven else 1.5)
            channel.settimeout(WAIT)
            channel.exec_command(command)
            out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
            return {"stdout": out.decode(), "stderr": err.decode(), "exit": channel.recv_exit_status()}
        except (paramiko.SSHException, EOFError, OSError) as error:
            return {"refused": str(error)}


def message(code, *parts):
    made = Message()
    made.add_byte(bytes([code]))
    for part in parts:
        made.add_string(part)
    return made


def public(key):
    with open(key + ".pub", encoding="ascii") as file:
        name, blob = file.read().split()[:2]
    return name.encode(), base64.b64decode(blob)


for line in sys.stdin:
    asked = json.loads(line)
    attack = Attack(asked)
    print(json.dumps({"steps": [attack.step(step) for step in asked["steps"]]}), flush=True)
    attack.transport.close()
