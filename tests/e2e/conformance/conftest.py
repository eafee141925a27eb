"""Plain HTTP against the server of tests/e2e/run; every answer is held against the description."""
import http.client
import json
import os
import re
import time
import urllib.parse
import uuid

import pytest
from spec import Spec

ROOT = os.environ["ATTUNE_E2E_ROOT"]
SPEC = os.path.join(ROOT, "..", "shared", "openai-subset.yaml")
MODEL = "starter"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if headers["content-type"] == "application/json" else None


class Api:
    def __init__(self, spec):
        at = urllib.parse.urlsplit(os.environ["ATTUNE_E2E_URL"])
        self.host, self.spec, self.seen = at.netloc, spec, set()
        self.connection = http.client.HTTPConnection(self.host, timeout=300)

    def raw(self, method, path, body=None, headers=None):
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body), {"Content-Type": "application/json", **(headers or {})}
        self.connection.request(method, "/v1" + path, body, headers or {})
        r = self.connection.getresponse()
        return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())

    def call(self, method, path, body=None, headers=None, status=200):
        """an answer whose status, type and body are the operation's"""
        op = self.spec.operation(method, path.split("?")[0])
        a = self.raw(method, path, body, headers)
        what = f"{method} {path}"
        assert re.fullmatch(r"req_[0-9a-f]{32}", a.headers["x-request-id"]), what
        assert a.status == status, f"{what}: {a.status} {a.body[:500]}"
        if status >= 400:
            return self.error(what, a)
        assert op, what + " is no operation"
        self.seen.add(op["operationId"])
        kind = a.headers["content-type"].split(";")[0]
        schema = self.spec.answer(op, status, kind)
        if kind == "text/event-stream":
            self.events(what, schema, a)
        elif a.json is not None and "content" not in path.split("/")[-1]:
            assert schema, f"{what}: {status} {kind} is not described"
            self.spec.check(what, schema, a.json)
        return a

    def error(self, what, a):
        assert a.headers["content-type"] == "application/json", what
        self.spec.check(what, "ErrorResponse", a.json)
        assert set(a.json) == {"error"} and set(a.json["error"]) == {"message", "type", "param", "code"}
        return a

    def events(self, what, schema, a):
        """each event of a stream, and its end"""
        assert a.headers["content-type"] == "text/event-stream; charset=utf-8"
        *chunks, done, rest = a.body.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", ""), what
        a.chunks = []
        for c in chunks:
            if c.startswith(":"):
                continue
            assert c.startswith("data: ") and "\n" not in c, c
            a.chunks.append(json.loads(c[6:]))
            self.spec.check(what + " (stream)", schema, a.chunks[-1])

    def form(self, path, fields, file_field, filename, content, status=200):
        mark = "----" + uuid.uuid4().hex
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
                 for k, v in fields.items()]
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="{file_field}"; filename="{filename}"\r\n'
                     "Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n")
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        return self.call("POST", path, body, {"Content-Type": "multipart/form-data; boundary=" + mark}, status)

    def upload(self, lines, purpose="fine-tune", name="train.jsonl", **more):
        return self.form("/files", {"purpose": purpose, **more}, "file", name, b"\n".join(lines) + b"\n").json

    def until(self, path, states, seconds=240):
        """polls, each answer checked, until status is one of these"""
        deadline = time.time() + seconds
        while True:
            got = self.call("GET", path).json
            if got["status"] in states:
                return got
            assert time.time() < deadline, f"{path} stays {got['status']}"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def api():
    return Api(Spec(SPEC))


@pytest.fixture(scope="session")
def examples():
    with open(os.path.join(ROOT, "examples", "bookings.train.jsonl"), "rb") as f:
        return f.read().splitlines()
