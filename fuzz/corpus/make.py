#!/usr/bin/env python3
"""Writes the seed corpus of the token targets from tests/vectors."""

import base64
import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent.parent / "tests/vectors"


def write(target, name, data):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    (folder / re.sub(r"[^A-Za-z0-9.-]+", "-", name)).write_bytes(data if isinstance(data, bytes) else data.encode())


def load(name):
    return json.loads((VECTORS / name).read_text())


for case in load("seamless-v1.json")["cases"]:
    if not re.search(r"-\d+$", case["name"]) or case["name"].startswith("valid-1"):
        write("seamless", case["name"], case["token"])

for case in load("jwt.json")["cases"]:
    if len(case["token"]) > 1000 or case["name"].startswith("bit-flip"):
        continue
    write("jwt", case["name"], case["token"])
    parts = case["token"].split(".")
    if re.search("duplicate|payload|sub-|exp-|scope|audience-list", case["name"]) and len(parts) == 3:
        raw = [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in parts[:2]]
        write("jwt", "decoded-" + case["name"], b"\0".join(raw))

for case in load("chap.json")["cases"]:
    write("chap", case["name"], case["token"])

crtauth = load("crtauth.json")
python, java = crtauth["python"], crtauth["java"]
for name, case in [*python.items(), ("java", java), *java.items()]:
    if not isinstance(case, dict):
        continue
    for kind in ("request", "challenge", "response"):
        if isinstance(case.get(kind), str):
            prefix = "challenge:" if kind == "challenge" else ""
            write(f"chap_{kind}", name, prefix + case[kind])
for value, _ in python["parse_request"]:
    write("chap_request", "parse-" + value, value)
for case in load("crtauth-v2.json")["cases"]:
    for kind in ("request", "challenge", "response"):
        value = case[kind] if kind == "challenge" else case[kind].partition(":")[2]
        write(f"chap_{kind}", "v2-" + case["key"], value)


def ssh(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


for kind, key in load("crtauth-v2.json")["keys"].items():
    blob = base64.b64decode(key["public"].split()[1])
    write("agent_reply", "one-" + kind, b"\x0c" + (1).to_bytes(4, "big") + ssh(blob, kind.encode()))
    write("agent_reply", "signature-" + kind, b"\x0e" + ssh(ssh(b"ssh-" + kind.encode(), b"\0" * 64)))
write("agent_reply", "none", b"\x0c" + (0).to_bytes(4, "big"))
write("agent_reply", "failure", b"\x05")
write("agent_reply", "many", b"\x0c" + (0xFFFFFFFF).to_bytes(4, "big"))

write("jwks", "jwt", json.dumps(load("jwt.json")["jwks"]))
write("jwks", "revocations", '[{"jti":"a"},{"sub":"ada","issued_before":7},{"ssh_fp":"SHA256:x"},{"kid":"k"}]')
for group in load("wycheproof/json_web_key_test.json")["testGroups"]:
    keys = group.get("public") or group["private"]
    write("jwks", f"wycheproof-{group['tests'][0]['tcId']}", json.dumps(keys))

rules = load("rules.json")
for entry in rules["sets"]:
    write("rules", entry["name"], json.dumps(entry["rules"]) + "\0/admin/x?y")
for entry in rules["refused"]:
    if entry["name"] != "too-many":
        write("rules", "refused-" + entry["name"], json.dumps(entry["rules"]))
for i, entry in enumerate(load("paths.json")["cases"]):
    if entry["path"] is not None:
        write("rules", f"path-{i}", b'{"rules":[]}\0' + entry["path"].encode("latin-1"))
