"""openai 0.28 for Python: the spellings of 2023."""
import os
import time

import openai
import pytest

openai.api_base, openai.api_key = os.environ["ATTUNE_E2E_URL"], "unused"
MODEL = "starter"
HELLO = [{"role": "user", "content": "Tell me about a cat."}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "train.jsonl"
    with open(os.path.join(os.environ["ATTUNE_E2E_ROOT"], "examples", "bookings.train.jsonl"), "rb") as f:
        path.write_bytes(b"".join(f.readlines()[:12]))
    return path


def test_tune(rows):
    with open(rows, "rb") as opened:
        f = openai.File.create(file=opened, purpose="fine-tune", user_provided_filename="train.jsonl")
    assert f.filename == "train.jsonl" and openai.File.download(f.id) == rows.read_bytes()
    same = openai.File.find_matching_files("train.jsonl", rows.stat().st_size, "fine-tune")
    assert f.id in [x["id"] for x in same]
    job = openai.FineTuningJob.create(training_file=f.id, model=MODEL, suffix="old",
                                      hyperparameters={"n_epochs": 2, "batch_size": 4})
    deadline = time.time() + 120
    while job.status not in ("succeeded", "failed") and time.time() < deadline:
        job = openai.FineTuningJob.retrieve(job.id)
    assert job.status == "succeeded" and job.hyperparameters.n_epochs == 2
    assert openai.FineTuningJob.list(limit=1).data[0].id == job.id
    events = openai.FineTuningJob.list_events(id=job.id, limit=100).data
    assert events[0].message == "The job has successfully completed"
    r = openai.ChatCompletion.create(model=job.fine_tuned_model, messages=HELLO, max_tokens=5)
    assert r.choices[0].message.content
    with pytest.raises(openai.error.InvalidRequestError, match="cannot be cancelled"):
        openai.FineTuningJob.cancel(job.id)
    long = openai.FineTuningJob.create(training_file=f.id, model=MODEL, hyperparameters={"n_epochs": 50})
    assert openai.FineTuningJob.cancel(long.id).status == "cancelled"
    assert openai.Model.delete(job.fine_tuned_model).deleted
    assert openai.File.delete(f.id).deleted


def test_chat():
    ask = {"model": MODEL, "messages": HELLO, "max_tokens": 12, "temperature": 0}
    whole = openai.ChatCompletion.create(**ask).choices[0].message
    pieces = [c.choices[0].delta for c in openai.ChatCompletion.create(**ask, stream=True)]
    assert "".join(p.get("content") or "" for p in pieces) == whole.content
    function = {"name": "book_table", "parameters": {"type": "object", "properties": {"people": {"type": "integer"}},
                                                     "required": ["people"]}}
    r = openai.ChatCompletion.create(**{**ask, "max_tokens": 100}, functions=[function],
                                     function_call={"name": "book_table"})
    assert r.choices[0].message.function_call.name == "book_table"
    assert openai.Completion.create(model=MODEL, prompt="The cat", max_tokens=5).choices[0].text


@pytest.mark.parametrize("call,says", [
    (lambda: openai.FineTune.create(training_file="file-x"), "Use POST /v1/fine_tuning/jobs"),
    (lambda: openai.FineTune.list(), "Use POST /v1/fine_tuning/jobs"),
    (lambda: openai.Engine.list(), "/v1/models"),
    (lambda: openai.Completion.create(engine=MODEL, prompt="x"), "with the field model"),
    (lambda: openai.Edit.create(model=MODEL, instruction="x"), "/v1/chat/completions"),
    (lambda: openai.Moderation.create("x"), "not offered"),
    (lambda: openai.ChatCompletion.create(model="nothing", messages=HELLO), "does not exist"),
])
def test_what_is_gone_says_what_to_write(call, says):
    with pytest.raises(openai.error.InvalidRequestError, match=says):
        call()
