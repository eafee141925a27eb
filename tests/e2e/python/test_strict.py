"""The SDK's strict mode: its types, made from OpenAI's description, must fit every answer."""
import json
import time

import openai
import pytest
from conftest import BASE_URL, MODEL

HELLO = [{"role": "user", "content": "Tell me about a cat."}]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
FORMS = {
    "plain": {}, "logprobs": {"logprobs": True, "top_logprobs": 2}, "three": {"n": 3}, "stored": {"store": True},
    "tools": {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required", "max_tokens": 100},
    "function": {"functions": [FUNCTION], "function_call": {"name": "f"}, "max_tokens": 100},
}


@pytest.fixture
def strict():
    return openai.OpenAI(base_url=BASE_URL, api_key="unused", max_retries=0, _strict_response_validation=True)


def refuses(where, call):
    """where the description's types are narrower than what the service itself sends, the SDK says so"""
    with pytest.raises(openai.APIResponseValidationError) as e:
        call()
    assert where in str(e.value.__cause__), e.value.__cause__


@pytest.mark.parametrize("form", FORMS)
def test_chat(strict, form):
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 8, **FORMS[form]}
    r = strict.chat.completions.create(**body)
    assert r.choices
    assert list(strict.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}))
    if form == "stored" and hasattr(strict.chat.completions, "list"):
        assert strict.chat.completions.retrieve(r.id).id == r.id
        assert r.id in [c.id for c in strict.chat.completions.list()]
        # messages of a user are listed; the type has an assistant's only
        refuses("role", lambda: strict.chat.completions.messages.list(r.id))
        assert strict.chat.completions.update(r.id, metadata={"a": "b"}).metadata == {"a": "b"}
        assert strict.chat.completions.delete(r.id).deleted


def test_legacy(strict):
    body = {"model": MODEL, "prompt": "The cat", "max_tokens": 4}
    assert strict.completions.create(**body, logprobs=2).choices[0].logprobs
    # the first token of an echo has no probability
    refuses("token_logprobs", lambda: strict.completions.create(**body, echo=True, logprobs=2))
    try:  # before its end a stream has no finish_reason, unless it came in one piece
        assert len(list(strict.completions.create(**body, stream=True))) == 1
    except openai.APIResponseValidationError as e:
        assert "finish_reason" in str(e.__cause__)


def test_files_and_uploads(strict):
    f = strict.files.create(file=("a.jsonl", b"{}\n"), purpose="fine-tune")
    assert strict.files.retrieve(f.id) == f and f.id in [x.id for x in strict.files.list(purpose="fine-tune")]
    assert strict.files.delete(f.id).deleted
    order = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"}
    up = strict.uploads.create(**order)
    part = strict.uploads.parts.create(up.id, data=b"{}\n")
    assert strict.uploads.complete(up.id, part_ids=[part.id]).file.bytes == 3
    assert strict.uploads.cancel(strict.uploads.create(**order).id).status == "cancelled"


def test_fine_tuning(strict, examples):
    f = strict.files.create(file=("train.jsonl", b"\n".join(examples[:12])), purpose="fine-tune")
    jobs = strict.fine_tuning.jobs
    job = jobs.create(model=MODEL, training_file=f.id, validation_file=f.id, hyperparameters={"n_epochs": 2, "batch_size": 4},
                      integrations=[{"type": "wandb", "wandb": {"project": "x"}}], metadata={"a": "b"})
    deadline = time.time() + 120
    while job.status not in ("succeeded", "failed") and time.time() < deadline:
        job = jobs.retrieve(job.id)
    assert job.status == "succeeded" and list(jobs.list_events(job.id, limit=5)) and job.id in [j.id for j in jobs.list()]
    point = jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
    if hasattr(strict.fine_tuning, "checkpoints"):
        made = strict.fine_tuning.checkpoints.permissions.create(point, project_ids=["a"]).data[0]
        assert strict.fine_tuning.checkpoints.permissions.delete(made.id, fine_tuned_model_checkpoint=point).deleted
    assert strict.models.retrieve(job.fine_tuned_model) in list(strict.models.list())
    assert strict.models.delete(job.fine_tuned_model).deleted
    long = jobs.create(model=MODEL, training_file=f.id, hyperparameters={"n_epochs": 50, "batch_size": 1})
    if hasattr(jobs, "pause"):
        refuses("status", lambda: jobs.pause(long.id))  # "paused" is in OpenAI's example, and in no enum
        jobs.resume(long.id)
    assert jobs.cancel(long.id).status == "cancelled"


def test_batches(strict):
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 2}
    lines = [{"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": {**body, "n": 1 - i}}
             for i in range(2)]
    f = strict.files.create(file=("b.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    b = strict.batches.create(input_file_id=f.id, endpoint="/v1/chat/completions", completion_window="24h")
    deadline = time.time() + 60
    while b.status != "completed" and time.time() < deadline:
        b = strict.batches.retrieve(b.id)
    assert (b.request_counts.completed, b.request_counts.failed) == (1, 1)
    assert b.id in [x.id for x in strict.batches.list(limit=50)]
