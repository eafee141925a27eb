"""A server under test, and a client of it: what the scripts in tests/crash and tests/e2e/soak share.

Python's standard library alone. A Server is one process of `attune serve` on a home that outlives
it; requests are answered on connections of their own, and any answer or none is a value, so that a
script can ask a server that is being killed."""
import http.client
import json
import os
import random
import select
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 60
STOP_SECONDS = 180


class Failure(Exception):
    pass


class Lost(Exception):
    """no answer: the server went, or never was"""


class Server:
    def __init__(self, program, home, *options, setup=None, env=None):
        self.home, self.port = home, None
        self.log_path = os.path.join(home, "server.log")
        os.makedirs(home, exist_ok=True)
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [program, "serve", "--port", "0", *options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log, preexec_fn=setup,
            env={**os.environ, **(env or {}), "ATTUNE_HOME": home})

    def wait(self):
        """until requests are answered"""
        if not select.select([self.process.stdout], [], [], START_SECONDS)[0]:
            raise Failure("the server did not start within %d s\n%s" % (START_SECONDS, self.tail()))
        line = self.process.stdout.readline().decode()
        if not line.startswith("listening on "):
            raise Failure("the server did not start: " + line + self.tail())
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def tail(self, lines=30):
        """the end of what it said, but for the requests"""
        with open(self.log_path, errors="replace") as f:
            said = [x for x in f if not x.startswith("time=")]
            return "".join(said[-lines:])

    def kill(self):
        self.process.kill()
        self.close()

    def stop(self):
        """the way a person does it; its exit status has to be 0"""
        self.process.send_signal(signal.SIGTERM)
        try:
            rc = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("the server did not stop within %d s\n%s" % (STOP_SECONDS, self.tail()))
        finally:
            self.close()
        if rc:
            raise Failure("the server ended with %d\n%s" % (rc, self.tail(60)))

    def close(self):
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def resident(self):
        """bytes of it in memory"""
        with open("/proc/%d/statm" % self.process.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    # --- requests ---

    def raw(self, method, path, body=None, headers=None, seconds=120):
        try:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
            try:
                c.request(method, path, body, headers or {})
                r = c.getresponse()
                return r.status, r.read()
            finally:
                c.close()
        except (OSError, http.client.HTTPException) as e:
            raise Lost("%s %s: %r" % (method, path, e)) from None

    def json(self, method, path, body=None):
        """status and what the answer's JSON says"""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        status, text = self.raw(method, path, None if body is None else json.dumps(body), headers)
        return status, json.loads(text)

    def ok(self, method, path, body=None):
        status, v = self.json(method, path, body)
        if status != 200:
            raise Failure("%s %s: %d %s" % (method, path, status, json.dumps(v)))
        return v

    def upload(self, name, purpose, content):
        boundary = "x%032x" % random.getrandbits(128)
        body = b"".join([
            b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n%b\r\n' % (
                boundary.encode(), purpose.encode()),
            b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n' % (
                boundary.encode(), name.encode()),
            content, b"\r\n--%b--\r\n" % boundary.encode()])
        status, text = self.raw("POST", "/v1/files", body,
                                {"Content-Type": "multipart/form-data; boundary=" + boundary})
        return status, json.loads(text)

    def all(self, path):
        """every row of a list, over its pages"""
        rows, after = [], ""
        while True:
            page = self.ok("GET", path + ("&" if "?" in path else "?") + "limit=100" + after)
            rows += page["data"]
            if not page["has_more"]:
                return rows
            after = "&after=" + rows[-1]["id"]


def rows(first, count):
    """lines of the demo's training file, to train on"""
    with open(os.path.join(ROOT, "examples", "bookings.train.jsonl"), "rb") as f:
        return b"".join(f.read().splitlines(True)[first:first + count])


def question(i, **more):
    return {"model": "starter", "temperature": 0, "max_tokens": 12,
            "messages": [{"role": "user", "content": "Tell me about animal number %d." % i}], **more}


def batch_file(count, first=0):
    return "".join(json.dumps({"custom_id": "line-%d" % i, "method": "POST",
                               "url": "/v1/chat/completions", "body": question(first + i)}) + "\n"
                   for i in range(count)).encode()


def new_batch(file):
    return {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def until(what, seconds, check):
    """check() as soon as it is true"""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        got = check()
        if got:
            return got
        time.sleep(0.1)
    raise Failure("not within %d s: %s" % (seconds, what))


def processes(home):
    """ids of the processes that work on this home"""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as f:
                if ("ATTUNE_HOME=" + home).encode() in f.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            pass
    return found


def run(main):
    """the script's end: what failed in one line, exit status 1"""
    name = os.path.basename(sys.argv[0])
    try:
        main()
    except (Failure, Lost) as e:
        print("%s: FAILED: %s" % (name, e), file=sys.stderr)
        sys.exit(1)
