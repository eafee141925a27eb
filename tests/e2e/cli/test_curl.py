"""The forms of OpenAI's curl examples."""
import json
import shutil

import pytest
from conftest import BASE_URL, MODEL, run

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not there")
KEY = ("-H", "Authorization: Bearer unused")
JSON = ("-H", "Content-Type: application/json")
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6,
                   "temperature": 0})


def curl(path, *words, stdin=None, key=KEY):
    r = run("curl", "-sS", "--max-time", "60", BASE_URL + path, *key, *words, stdin=stdin)
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_chat():
    whole = json.loads(curl("/chat/completions", *JSON, "-d", CHAT))["choices"][0]["message"]["content"]
    assert json.loads(curl("/chat/completions", "--json", CHAT, key=()))["choices"][0]["message"]["content"] == whole
    # as -d alone sends it, with the content type of a form
    assert json.loads(curl("/chat/completions", "-d", CHAT))["choices"][0]["message"]["content"] == whole
    chunked = curl("/chat/completions", *JSON, "-H", "Transfer-Encoding: chunked", "-d", "@-", stdin=CHAT)
    assert json.loads(chunked)["choices"][0]["message"]["content"] == whole
    expected = curl("/chat/completions", *JSON, "-H", "Expect: 100-continue", "-d", CHAT)
    assert json.loads(expected)["choices"][0]["message"]["content"] == whole
    old = curl("/chat/completions", "--http1.0", *JSON, "-d", CHAT)
    assert json.loads(old)["choices"][0]["message"]["content"] == whole


def test_stream():
    text = curl("/chat/completions", "-N", *JSON, "-d", json.dumps({**json.loads(CHAT), "stream": True}))
    assert text.startswith("data: {") and text.endswith("data: [DONE]\n\n")


def test_files_and_jobs(rows):
    f = json.loads(curl("/files", "-F", "purpose=fine-tune", "-F", f"file=@{rows}"))
    assert f["filename"] == "train.jsonl" and curl(f"/files/{f['id']}/content") == rows.read_text()
    kept = json.loads(curl("/files", "-F", f"file=@{rows};filename=a \"b\".jsonl", "-F", "purpose=fine-tune",
                           "-F", "expires_after[anchor]=created_at", "-F", "expires_after[seconds]=3600"))
    assert kept["expires_at"] == kept["created_at"] + 3600 and kept["filename"].endswith(".jsonl")
    listed = json.loads(curl("/files", "-G", "-d", "purpose=fine-tune", "-d", "limit=1"))
    assert [x["id"] for x in listed["data"]] == [kept["id"]] and listed["has_more"]
    order = {"training_file": f["id"], "model": MODEL, "method": {
        "type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 1}}}}
    job = json.loads(curl("/fine_tuning/jobs", *JSON, "-d", json.dumps(order)))
    assert json.loads(curl(f"/fine_tuning/jobs/{job['id']}"))["id"] == job["id"]
    assert json.loads(curl(f"/fine_tuning/jobs/{job['id']}/cancel", "-X", "POST"))["status"] == "cancelled"
    text = curl(f"/fine_tuning/jobs/{job['id']}/events?stream=true", "-N")
    assert text.endswith("data: [DONE]\n\n") and "Created fine-tuning job" in text
    for x in (f, kept):
        assert json.loads(curl(f"/files/{x['id']}", "-X", "DELETE"))["deleted"]


def test_what_is_not_there():
    status = curl("/fine-tunes", "-o", "/dev/null", "-w", "%{http_code}", *JSON, "-d", "{}")
    assert status == "400"
    assert "fine_tuning/jobs" in json.loads(curl("/fine-tunes/ft-1/events?stream=true"))["error"]["message"]
    head = curl("/models", "-I")
    assert head.startswith("HTTP/1.1 200") and "x-request-id: req_" in head
