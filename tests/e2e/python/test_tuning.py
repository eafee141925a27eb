import json
import time

import openai
import pytest
from conftest import MODEL


def upload(client, lines, name="train.jsonl"):
    return client.files.create(file=(name, b"\n".join(lines) + b"\n"), purpose="fine-tune")


def finish(client, job_id):
    deadline = time.time() + 300
    while time.time() < deadline:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(0.2)
    raise AssertionError("the job did not end: " + job.status)


def test_files(client, examples):
    f = upload(client, examples[:12])
    assert f.id.startswith("file-") and f.status == "processed" and f.filename == "train.jsonl"
    assert client.files.retrieve(f.id).bytes == f.bytes
    assert client.files.content(f.id).read() == b"\n".join(examples[:12]) + b"\n"
    assert f.id in [x.id for x in client.files.list(purpose="fine-tune")]
    assert client.files.delete(f.id).deleted
    with pytest.raises(openai.NotFoundError) as e:
        client.files.retrieve(f.id)
    assert e.value.param == "id"


def test_file_pages(client, examples):
    made = [upload(client, examples[i:i + 10]).id for i in range(5)]
    got = [f.id for f in client.files.list(purpose="fine-tune", limit=2, order="asc")]
    assert [i for i in got if i in made] == made
    for i in made:
        client.files.delete(i)


@pytest.mark.parametrize("name,body,says", [
    ("train.jsonl", b'{"messages":[]}\nnot json\n', "2"),
    ("train.jsonl", b"[1]\n", "1"),
    ("train.txt", b"{}\n", "jsonl"),
    ("train.jsonl", b"", "empty"),
])
def test_bad_files_are_refused_at_upload(client, name, body, says):
    with pytest.raises(openai.BadRequestError) as e:
        client.files.create(file=(name, body), purpose="fine-tune")
    assert says in e.value.message


def test_upload_in_parts(client, examples):
    if not hasattr(client, "uploads"):
        pytest.skip("this SDK has no uploads")
    body = b"\n".join(examples[:40]) + b"\n"
    up = client.uploads.create(filename="big.jsonl", purpose="fine-tune", bytes=len(body), mime_type="text/jsonl")
    parts = [client.uploads.parts.create(up.id, data=body[i:i + 2000]).id for i in range(0, len(body), 2000)]
    done = client.uploads.complete(up.id, part_ids=parts)
    assert done.status == "completed" and client.files.content(done.file.id).read() == body


def test_fine_tuning_quickstart(client, examples):
    f = upload(client, examples[:60])
    job = client.fine_tuning.jobs.create(training_file=f.id, model=MODEL, suffix="e2e", seed=5,
                                         hyperparameters={"n_epochs": 3, "batch_size": 4,
                                                          "learning_rate_multiplier": 2})
    assert job.id.startswith("ftjob-") and job.status in ("validating_files", "queued")
    job = finish(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model.startswith("ft:starter:") and ":e2e:" in job.fine_tuned_model
    assert job.hyperparameters.n_epochs == 3 and job.seed == 5 and job.trained_tokens > 0
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=9))
    assert len({e.id for e in events}) == len(events)
    messages = [e.message for e in reversed(events)]
    assert messages[0].startswith("Created fine-tuning job") and "successfully" in messages[-1]
    assert sum(m.startswith("Step ") for m in messages) == 45
    csv = client.files.content(job.result_files[0]).read().decode().splitlines()
    assert csv[0].startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    assert len(csv) == 46
    question = json.loads(examples[100])["messages"][:1]
    tuned = client.chat.completions.create(model=job.fine_tuned_model, messages=question, temperature=0, max_tokens=60)
    base = client.chat.completions.create(model=MODEL, messages=question, temperature=0, max_tokens=60)
    assert json.loads(tuned.choices[0].message.content)["request"] in ("book", "change", "cancel")
    assert not base.choices[0].message.content.startswith("{")
    assert job.fine_tuned_model in [m.id for m in client.models.list()]
    if hasattr(client.fine_tuning.jobs, "checkpoints"):
        points = list(client.fine_tuning.jobs.checkpoints.list(job.id))
        assert {p.step_number for p in points} == {15, 30, 45}
        for p in points:
            r = client.chat.completions.create(model=p.fine_tuned_model_checkpoint, messages=question, max_tokens=5)
            assert r.usage.completion_tokens >= 1
    assert client.models.delete(job.fine_tuned_model).deleted
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(job.fine_tuned_model)


def test_job_that_cannot_succeed(client, examples):
    job = client.fine_tuning.jobs.create(training_file=upload(client, examples[:7]).id, model=MODEL)
    job = finish(client, job.id)
    assert job.status == "failed" and job.error.code == "invalid_n_examples" and job.error.param == "training_file"
    row = b'{"messages":[{"role":"user","content":"hi"}]}'
    job = client.fine_tuning.jobs.create(training_file=upload(client, examples[:10] + [row]).id, model=MODEL)
    job = finish(client, job.id)
    assert job.status == "failed" and "11" in job.error.message


@pytest.mark.parametrize("change,param,code", [
    ({"model": "gpt-99"}, "model", "model_not_available"),
    ({"training_file": "file-none"}, "training_file", None),
    ({"suffix": "x" * 70}, "suffix", None),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", None),
])
def test_bad_jobs_are_refused(client, examples, change, param, code):
    options = {"training_file": upload(client, examples[:10]).id, "model": MODEL, **change}
    with pytest.raises(openai.BadRequestError) as e:
        client.fine_tuning.jobs.create(**options)
    assert e.value.param == param and (code is None or e.value.code == code)


def test_cancel(client, examples):
    f = upload(client, examples)
    job = client.fine_tuning.jobs.create(training_file=f.id, model=MODEL, hyperparameters={"n_epochs": 50})
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert finish(client, job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.cancel(job.id)


def test_models(client):
    assert client.models.retrieve(MODEL).owned_by == "system"
    with pytest.raises(openai.NotFoundError) as e:
        client.models.retrieve("nothing")
    assert e.value.code == "model_not_found"
    with pytest.raises((openai.BadRequestError, openai.PermissionDeniedError)):
        client.models.delete(MODEL)
