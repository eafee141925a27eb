"""One server for all tests: tests/e2e/run starts it and passes its address."""
import os
import subprocess
import time

import openai
import pytest

BASE_URL = os.environ["ATTUNE_E2E_URL"]
MODEL = "starter"
PROGRAM = os.environ["ATTUNE_E2E_PROGRAM"]


class Server:
    """one more, with options of its own"""

    def __init__(self, home, *options):
        self.env = {**os.environ, "ATTUNE_HOME": str(home)}
        self.home, self.log = str(home), os.path.join(str(home), "server.err")
        with open(self.log, "wb") as err:
            self.process = subprocess.Popen([PROGRAM, "serve", "--port", "0", *options], env=self.env,
                                            stdout=subprocess.PIPE, stderr=err, text=True)
        self.url = self.process.stdout.readline().split()[-1] + "/v1"

    def client(self, **more):
        return openai.OpenAI(**{"base_url": self.url, "api_key": "unused", "max_retries": 0, **more})

    def requests(self, path, at_least=0):
        """statuses of what was asked of a path, from the server's log; the last line comes a moment after its answer"""
        deadline = time.time() + 10
        while True:
            with open(self.log) as f:
                lines = [x for x in f if f'path="{path}"' in x and x.endswith("\n")]
            if len(lines) >= at_least or time.time() > deadline:
                return [x.split("status=")[1].split()[0] for x in lines]
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        assert self.process.wait() == 0
        self.process.stdout.close()


@pytest.fixture
def client():
    return openai.OpenAI(base_url=BASE_URL, api_key="unused", max_retries=0)


@pytest.fixture
def examples():
    """the demo's training rows"""
    with open(os.path.join(os.environ["ATTUNE_E2E_ROOT"], "examples", "bookings.train.jsonl"), "rb") as f:
        return f.read().splitlines()
