import json
import time

import openai
import pytest
from conftest import MODEL


def line(custom_id, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about a cat."}],
            "max_tokens": 6, "temperature": 0, **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def start(client, lines):
    text = "".join(json.dumps(x) + "\n" for x in lines)
    f = client.files.create(file=("batch.jsonl", text.encode()), purpose="batch")
    return client.batches.create(input_file_id=f.id, endpoint="/v1/chat/completions", completion_window="24h")


def finish(client, batch_id):
    deadline = time.time() + 120
    while time.time() < deadline:
        b = client.batches.retrieve(batch_id)
        if b.status in ("completed", "failed", "expired", "cancelled"):
            return b
        time.sleep(0.1)
    raise AssertionError("the batch did not end: " + b.status)


def results(client, file_id):
    text = client.files.content(file_id).read().decode()
    return {r["custom_id"]: r["response"] for r in map(json.loads, text.splitlines())}


def test_lines_are_answered_as_requests_are(client):
    b = finish(client, start(client, [line("a"), line("b", n=2), line("bad", temperature=9)]).id)
    assert b.status == "completed"
    assert (b.request_counts.total, b.request_counts.completed, b.request_counts.failed) == (3, 2, 1)
    out, err = results(client, b.output_file_id), results(client, b.error_file_id)
    want = client.chat.completions.create(**line("a")["body"]).choices[0].message.content
    assert out["a"]["status_code"] == 200
    assert out["a"]["body"]["choices"][0]["message"]["content"] == want
    assert len(out["b"]["body"]["choices"]) == 2
    assert err["bad"]["status_code"] == 400 and err["bad"]["body"]["error"]["param"] == "temperature"


def test_a_repeated_id_fails_the_batch(client):
    b = finish(client, start(client, [line("a"), line("b"), line("a")]).id)
    assert b.status == "failed" and b.errors.data[0].line == 3
    assert b.output_file_id is None


def test_cancel(client):
    b = start(client, [line(str(i), max_tokens=200, logit_bias={"2": -100}) for i in range(300)])
    assert client.batches.cancel(b.id).status in ("cancelling", "cancelled")
    assert finish(client, b.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(b.id)


def test_list_and_errors(client):
    made = [start(client, [line("x")]).id for _ in range(3)]
    got = [b.id for b in client.batches.list(limit=2)]
    assert [i for i in got if i in made] == made[::-1]
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")
    with pytest.raises(openai.BadRequestError) as e:
        client.batches.create(input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h")
    assert e.value.param == "input_file_id"
    for i in made:
        finish(client, i)
