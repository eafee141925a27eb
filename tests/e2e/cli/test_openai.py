"""The `openai` command that came with the Python SDK up to 2.34. Its -b without a slash at the end asks for /v1files."""
import sys
import time

from conftest import BASE_URL, ENV, MODEL, command, openai, run


def test_models():
    assert openai("models.retrieve", "-i", MODEL)["owned_by"] == "system"
    assert MODEL in str(openai("models.list", base=BASE_URL + "/"))
    assert MODEL in str(openai("models.list"))


def test_tune(rows):
    f = openai("files.create", "-f", rows, "-p", "fine-tune")
    assert f["filename"] == "train.jsonl" and f["bytes"] == rows.stat().st_size
    assert f["id"] in str(openai("files.list"))
    order = ["-m", MODEL, "-F", f["id"], "-H", '{"n_epochs": 1, "batch_size": 4}', "-s", "cli"]
    job = openai("fine_tuning.jobs.create", *order)
    deadline = time.time() + 120
    while job["status"] not in ("succeeded", "failed") and time.time() < deadline:
        job = openai("fine_tuning.jobs.retrieve", "-i", job["id"])
    assert job["status"] == "succeeded" and ":cli:" in job["fine_tuned_model"]
    listed = openai("fine_tuning.jobs.list", "-l", "1")
    assert [j["id"] for j in listed["data"]] == [job["id"]]
    first = openai("fine_tuning.jobs.list_events", "-i", job["id"], "-l", "2")
    more = openai("fine_tuning.jobs.list_events", "-i", job["id"], "-l", "2", "-a", first["data"][-1]["id"])
    assert len({e["id"] for e in first["data"] + more["data"]}) == 4
    assert openai("models.delete", "-i", job["fine_tuned_model"])["deleted"] is True
    job = openai("fine_tuning.jobs.create", "-m", MODEL, "-F", f["id"], "-H", '{"n_epochs": 50, "batch_size": 1}')
    assert openai("fine_tuning.jobs.cancel", "-i", job["id"])["status"] == "cancelled"


def test_chat():
    words = ["chat.completions.create", "-m", MODEL, "-t", "0", "-M", "12", "-g", "system", "Be kind.", "-g", "user",
             "Tell me about a cat."]
    whole = openai(*words)
    assert whole.strip() and openai(*words, "--stream").strip() == whole.strip()
    assert openai("completions.create", "-m", MODEL, "-p", "The cat", "-M", "5").strip()


def test_errors_are_told():
    status, _, err = command("models.retrieve", "-i", "nothing")
    assert status == 1 and "nothing" in err and "model_not_found" in err


def test_as_a_command():
    for where in (["-b", BASE_URL], []):
        ENV["OPENAI_BASE_URL"] = BASE_URL
        r = run(sys.executable, "-m", "openai", *where, "-k", "x", "api", "models.retrieve", "-i", MODEL)
        assert MODEL in r.stdout, r.stderr
