"""Commands against the server of tests/e2e/run: the `openai` of the environment that runs this, and curl."""
import contextlib
import io
import json
import os
import subprocess
import sys

import openai as sdk
import pytest
from openai.cli._cli import main

BASE_URL = os.environ["ATTUNE_E2E_URL"]
MODEL = "starter"
ENV = {**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}


def run(*words, stdin=None):
    return subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, env=ENV, timeout=120)


def command(*words, base=BASE_URL):
    """openai api WORDS in this process, since its start costs more than the call: exit status, both outputs"""
    err, argv = io.StringIO(), sys.argv
    # it writes what it streams as bytes
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as out:
        with contextlib.redirect_stderr(err):
            sys.argv = ["openai", "-b", base, "-k", "unused", "api", *map(str, words)]
            try:
                status = main()
            finally:
                sys.argv = argv
                sdk._reset_client()
    return status, out.buffer.getvalue().decode(), err.getvalue()


def openai(*words, base=BASE_URL):
    """its answer, as JSON where it is that"""
    status, out, err = command(*words, base=base)
    assert status == 0, err
    try:
        return json.loads(out)
    except ValueError:
        return out


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    at = os.path.join(os.environ["ATTUNE_E2E_ROOT"], "examples", "bookings.train.jsonl")
    path = tmp_path_factory.mktemp("rows") / "train.jsonl"
    with open(at) as f:
        path.write_text("".join(f.readlines()[:12]))
    return path
