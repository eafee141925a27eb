"""Error classes and retries, against a server of its own: one answer at a time, one that waits."""
import glob
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import openai
import pytest
from conftest import MODEL, PROGRAM, Server

LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about a cat."}], "max_tokens": 700,
        "logit_bias": {"2": -100}}  # its end is never chosen


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("home"), "--queue", "1", "--batch", "1")
    yield s
    s.stop()


def crowd(n, ask):
    """n calls at the same time; what each gave or raised"""
    gate, got = threading.Barrier(n), [None] * n

    def one(i):
        gate.wait()
        try:
            got[i] = ask()
        except Exception as e:
            got[i] = e

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def test_full_queue_is_429(server):
    client = server.client()
    got = crowd(6, lambda: client.chat.completions.create(**LONG))
    refused = [e for e in got if isinstance(e, Exception)]
    assert 1 <= len(refused) < 6
    for e in refused:
        assert isinstance(e, openai.RateLimitError) and e.status_code == 429, e
        assert e.code == "rate_limit_exceeded" and e.type == "requests"
        assert int(e.response.headers["retry-after"]) >= 1


def test_full_queue_heals_with_retries(server):
    client = server.client(max_retries=8)
    before = len(server.requests("/v1/chat/completions", 6))
    got = crowd(4, lambda: client.chat.completions.create(**LONG))
    assert [r.choices[0].finish_reason for r in got] == ["length"] * 4
    refused = server.requests("/v1/chat/completions", before + 6)[before:].count("429")
    answered = server.requests("/v1/chat/completions", before + refused + 4)[before:]
    assert answered.count("200") == 4 and answered.count("429") == len(answered) - 4 > 0


def test_what_will_not_heal_is_asked_once(server):
    client = server.client(max_retries=3)
    f = client.files.create(file=("notes.txt", b"some text"), purpose="user_data")
    path = f"/v1/files/{f.id}/content"
    assert client.files.content(f.id).read() == b"some text"
    for blob in glob.glob(os.path.join(server.home, "blobs", "**"), recursive=True):
        if os.path.isfile(blob):
            os.remove(blob)
    with pytest.raises(openai.InternalServerError) as e:
        client.files.content(f.id)
    assert e.value.type == "server_error" and e.value.response.headers["x-should-retry"] == "false"
    assert server.requests(path, 2) == ["200", "500"]
    for status, call in (("400", lambda: client.files.create(file=("a.txt", b"x"), purpose="fine-tune")),
                         ("404", lambda: client.files.retrieve("file-none"))):
        with pytest.raises(openai.APIStatusError) as e:
            call()
        assert str(e.value.status_code) == status
    assert server.requests("/v1/files", 2) == ["200", "400"] and server.requests("/v1/files/file-none", 1) == ["404"]


def test_a_client_that_waits_no_longer(server):
    with pytest.raises(openai.APITimeoutError):
        server.client(timeout=openai.Timeout(0.05, connect=5)).chat.completions.create(**LONG)
    assert server.client(max_retries=8).chat.completions.create(**{**LONG, "max_tokens": 2}).choices


def test_nobody_there(server):
    with pytest.raises(openai.APIConnectionError):
        server.client(base_url="http://127.0.0.1:9/v1").models.list()


def test_keys(server, tmp_path):
    s = Server(tmp_path)
    try:
        made = subprocess.run([PROGRAM, "key", "create", "--scopes", "inference"], env=s.env, check=True,
                              capture_output=True, text=True).stdout
        key = next(w for w in made.split() if w.startswith("sk-"))
        with pytest.raises(openai.AuthenticationError) as e:
            s.client(api_key="sk-wrong-wrong-wrong-wrong").models.list()
        assert e.value.code == "invalid_api_key" and "wrong-wrong-wrong" not in e.value.message
        with pytest.raises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(s.url + "/models")
        error = json.load(e.value)["error"]
        assert e.value.code == 401 and error["code"] is None and "API key" in error["message"]
        assert s.client(api_key=key).models.list().data
        with pytest.raises(openai.PermissionDeniedError):
            s.client(api_key=key).files.list()
    finally:
        s.stop()
