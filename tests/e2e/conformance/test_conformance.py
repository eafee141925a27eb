"""Every operation that is served, in all its forms, answers what OpenAI's description says."""
import hashlib
import json
import os
import re

import pytest
from conftest import MODEL

HELLO = [{"role": "user", "content": "Tell me about a cat."}]
OVER = ("succeeded", "failed", "cancelled")
# the resources whose operations all have to be called by this file
RESOURCES = ("/files", "/uploads", "/models", "/fine_tuning/jobs", "/fine_tuning/checkpoints", "/chat/completions",
             "/completions", "/batches", "/evals", "/fine_tuning/alpha")
TOOL = {"type": "function", "function": {"name": "book_table", "strict": True, "parameters": {
    "type": "object", "properties": {"day": {"type": "string", "enum": ["Monday", "Friday"]}},
    "required": ["day"], "additionalProperties": False}}}


def listed(api, path, **want):
    """a list whose pages of one follow each other, as its documented first and last ids say"""
    join = "&" if "?" in path else "?"
    whole = api.call("GET", path).json
    assert whole["object"] == "list" and isinstance(whole["has_more"], bool)
    ids, after = [], ""
    for _ in range(3):
        page = api.call("GET", f"{path}{join}limit=1{after}").json
        if not page["data"]:
            assert page["has_more"] is False and page["first_id"] is None and page["last_id"] is None
            break
        assert page["first_id"] == page["last_id"] == page["data"][0]["id"]
        ids.append(page["data"][0]["id"])
        after = "&after=" + ids[-1]
        if not page["has_more"]:
            break
    assert ids == [x["id"] for x in whole["data"]][:len(ids)]
    api.call("GET", f"{path}{join}after=nothing-of-this-name", status=404)
    return whole


# --- files and uploads ---

def test_files(api, examples):
    f = api.upload(examples[:12])
    assert re.fullmatch(r"file-[0-9A-Za-z]{22,24}", f["id"]) and "expires_at" not in f or f["expires_at"] is None
    old = api.upload(examples[:3], **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})
    assert old["expires_at"] == old["created_at"] + 3600
    for purpose in ("assistants", "vision", "user_data", "evals"):
        api.call("DELETE", "/files/" + api.upload([b"text"], purpose, "notes.txt")["id"])
    assert api.upload([b"{}"], "batch", "b.jsonl")["expires_at"] > 0
    listed(api, "/files?purpose=fine-tune")
    assert api.call("GET", "/files/" + f["id"]).json == f
    got = api.call("GET", f"/files/{f['id']}/content")
    assert got.body == b"\n".join(examples[:12]) + b"\n"
    assert api.call("DELETE", "/files/" + f["id"]).json == {"id": f["id"], "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        api.call(method, f"/files/{f['id']}{path}", status=404)


def test_uploads(api, examples):
    body = b"\n".join(examples[:20]) + b"\n"
    order = {"filename": "big.jsonl", "purpose": "fine-tune", "bytes": len(body), "mime_type": "text/jsonl"}
    up = api.call("POST", "/uploads", order).json
    assert up["status"] == "pending" and up["expires_at"] == up["created_at"] + 3600
    half = len(body) // 2
    parts = [api.form(f"/uploads/{up['id']}/parts", {}, "data", "part", piece).json["id"]
             for piece in (body[half:], body[:half])]
    done = api.call("POST", f"/uploads/{up['id']}/complete",
                    {"part_ids": parts[::-1], "md5": hashlib.md5(body).hexdigest()}).json
    assert done["status"] == "completed"
    api.spec.check("the upload's file", "OpenAIFile", done["file"])
    assert api.call("GET", f"/files/{done['file']['id']}/content").body == body
    up = api.call("POST", "/uploads", order).json
    assert api.call("POST", f"/uploads/{up['id']}/cancel").json["status"] == "cancelled"
    api.call("POST", f"/uploads/{up['id']}/complete", {"part_ids": ["part_x"]}, status=400)


# --- chat ---

def chat(api, status=200, **more):
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 12, "temperature": 0, **more}
    return api.call("POST", "/chat/completions", body, status=status)


SCHEMA = {"type": "json_schema", "json_schema": {"name": "booking", "strict": True,
                                                 "schema": TOOL["function"]["parameters"]}}
FORCED = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 100}
FUNCTION = {"functions": [{k: v for k, v in TOOL["function"].items() if k != "strict"}],
            "function_call": {"name": "book_table"}, "max_tokens": 100}
FORMS = {
    "plain": {}, "three": {"n": 3, "temperature": 1, "seed": -9007199254740991}, "stop": {"stop": "the"},
    "logprobs": {"logprobs": True, "top_logprobs": 3}, "bare logprobs": {"logprobs": True},
    "schema": {"response_format": SCHEMA, "max_tokens": 100},
    "json": {"response_format": {"type": "json_object"}, "max_tokens": 200,
             "messages": [{"role": "user", "content": "A cat, in JSON."}]},
    "tools": FORCED, "named tool": {**FORCED, "tool_choice": {"type": "function", "function": {"name": "book_table"}}},
    "no tools": {"tools": [TOOL], "tool_choice": "none"}, "auto tools": {"tools": [TOOL]},
    "tool logprobs": {**FORCED, "logprobs": True},
    "function": FUNCTION, "nothing": {"max_tokens": None, "max_completion_tokens": 1},
    "nulls": {k: None for k in ("stop", "n", "seed", "tools", "logprobs", "user", "metadata", "store", "logit_bias",
                                "response_format", "stream", "stream_options", "service_tier", "top_p")},
    "parts": {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be short."}]}, *HELLO]},
}


@pytest.mark.parametrize("form", FORMS)
def test_chat(api, form):
    whole = chat(api, **FORMS[form]).json
    assert re.fullmatch(r"chatcmpl-[0-9A-Za-z]+", whole["id"]) and isinstance(whole["system_fingerprint"], str)
    for c in whole["choices"]:
        m = c["message"]
        assert m["refusal"] is None and m["annotations"] == [] and "logprobs" in c
        assert ("tool_calls" in m) == (form in ("tools", "named tool", "tool logprobs"))
        assert ("function_call" in m) == (form == "function")
    chunks = chat(api, **{**FORMS[form], "stream": True, "stream_options": {"include_usage": True}}).chunks
    same = [{k: c[k] for k in ("id", "created", "model", "system_fingerprint")} for c in chunks]
    assert all(s == same[0] for s in same)
    assert chunks[-1]["choices"] == [] and all(c["usage"] is None for c in chunks[:-1])
    first, last = {}, {}
    for c in chunks[:-1]:
        for x in c["choices"]:
            first.setdefault(x["index"], x)
            assert x["index"] not in last or last[x["index"]]["finish_reason"] is None, "more after the end"
            last[x["index"]] = x
    assert list(first) == [c["index"] for c in whole["choices"]]
    for c in whole["choices"]:
        assert first[c["index"]]["delta"]["role"] == "assistant"
        assert last[c["index"]]["finish_reason"] is not None
        assert form == "three" or last[c["index"]]["finish_reason"] == c["finish_reason"]
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert chunks[-1]["usage"][key] == whole["usage"][key]
    assert all("usage" not in c for c in chat(api, **{**FORMS[form], "stream": True}).chunks)


def test_a_function_without_parameters_takes_none(api):
    for tool in ({"name": "now"}, {"name": "now", "parameters": None}, {"name": "now", "strict": True}):
        r = chat(api, tools=[{"type": "function", "function": tool}], tool_choice="required",
                 parallel_tool_calls=False, max_tokens=100)
        assert r.json["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_allowed_tools(api):
    tools = [{"type": "function", "function": {"name": name}} for name in ("walk", "sit", "run")]
    for name in ("walk", "sit", "run"):
        for stream in (False, True):
            r = chat(api, tools=tools, max_tokens=100, parallel_tool_calls=False, stream=stream, tool_choice={
                "type": "allowed_tools", "allowed_tools": {
                    "mode": "required", "tools": [{"type": "function", "function": {"name": name}}]}})
            assert f'"name":"{name}"'.encode() in r.body


def test_tool_round(api):
    m = chat(api, **FORCED).json["choices"][0]["message"]
    again = [*HELLO, m, {"role": "tool", "tool_call_id": m["tool_calls"][0]["id"], "content": "done", "name": "x"}]
    chat(api, messages=again, tools=[TOOL])


def test_stored(api):
    made = [chat(api, store=True, metadata={"run": "conformance"}, **form).json
            for form in ({}, FORCED, {"logprobs": True, "n": 2, "temperature": 1})]
    ids = [m["id"] for m in made]
    got = listed(api, "/chat/completions?metadata%5Brun%5D=conformance")
    assert [c["id"] for c in got["data"]] == ids  # the oldest first
    assert api.call("GET", f"/chat/completions?metadata%5Brun%5D=none").json["data"] == []
    api.call("GET", f"/chat/completions?model={MODEL}&order=desc&limit=100")
    for m in made:
        stored = api.call("GET", "/chat/completions/" + m["id"]).json
        assert stored["choices"] == m["choices"] and stored["usage"] == m["usage"]
        assert listed(api, f"/chat/completions/{m['id']}/messages")["data"][0]["content"] == HELLO[0]["content"]
        api.call("POST", "/chat/completions/" + m["id"], {"metadata": {"run": "done"}})
        api.call("DELETE", "/chat/completions/" + m["id"])
        for method, path, body in (("GET", "", None), ("DELETE", "", None), ("GET", "/messages", None),
                                   ("POST", "", {"metadata": {}})):
            api.call(method, f"/chat/completions/{m['id']}{path}", body, status=404)


@pytest.mark.parametrize("form", [
    {}, {"prompt": ["The cat", "A dog"], "n": 2}, {"echo": True, "logprobs": 2}, {"max_tokens": 0, "echo": True},
    {"prompt": [464, 300, 301]}, {"prompt": [[464, 300], [301]]}, {"best_of": 2, "temperature": 1}, {"stop": "the"},
    {"logprobs": 0},
], ids=str)
def test_legacy_completions(api, form):
    body = {"model": MODEL, "prompt": "The cat", "max_tokens": 6, "temperature": 0, **form}
    whole = api.call("POST", "/completions", body).json
    assert all(c["finish_reason"] in ("stop", "length") for c in whole["choices"])
    if "best_of" in form:  # cannot be streamed, as the reference says
        api.call("POST", "/completions", {**body, "stream": True}, status=400)
        return
    # each chunk has the form of a whole answer
    op = api.spec.operation("POST", "/completions")
    op["responses"]["200"]["content"].setdefault(
        "text/event-stream", {"schema": {"$ref": "#/components/schemas/CreateCompletionResponse"}})
    chunks = api.call("POST", "/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}).chunks
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    for want in whole["choices"]:
        mine = [x for c in chunks for x in c["choices"] if x["index"] == want["index"]]
        assert "".join(x["text"] for x in mine) == want["text"]
        assert [x["finish_reason"] for x in mine] == [None] * (len(mine) - 1) + [want["finish_reason"]]


# --- fine-tuning ---

def job(api, f, **more):
    body = {"model": MODEL, "training_file": f["id"], "hyperparameters": {"n_epochs": 2, "batch_size": 4}, **more}
    j = api.call("POST", "/fine_tuning/jobs", body).json
    assert re.fullmatch(r"ftjob-[0-9A-Za-z]{24}", j["id"]) and j["status"] in ("validating_files", "queued")
    assert j["error"] is None and j["result_files"] == [] and j["trained_tokens"] is None
    return j


def test_fine_tuning(api, examples):
    f, v = api.upload(examples[:12]), api.upload(examples[20:24])
    j = job(api, f, validation_file=v["id"], suffix="conf", seed=1, metadata={"run": "conformance"},
            integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}])
    done = api.until("/fine_tuning/jobs/" + j["id"], OVER)
    assert done["status"] == "succeeded", done["error"]
    assert re.fullmatch(r"ft:starter:[^:]+:conf:[0-9A-Za-z]{8}", done["fine_tuned_model"])
    assert done["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2 == done["hyperparameters"]["n_epochs"]
    listed(api, "/fine_tuning/jobs")
    listed(api, "/fine_tuning/jobs?metadata%5Brun%5D=conformance")
    api.call("GET", "/fine_tuning/jobs?metadata=")
    events = listed(api, f"/fine_tuning/jobs/{j['id']}/events")["data"]
    steps = [e for e in events if e["type"] == "metrics"]
    assert len(steps) == 6 and steps[0]["data"]["step"] == 6 and steps[0]["data"]["total_steps"] == 6
    for e in steps:
        known = "train_loss train_mean_token_accuracy valid_loss valid_mean_token_accuracy full_valid_loss " \
                "full_valid_mean_token_accuracy"
        assert {"step", "train_loss"} <= set(e["data"]) and all(isinstance(e["data"].get(k, 0), (int, float))
                                                               for k in known.split())
    csv = api.call("GET", f"/files/{done['result_files'][0]}/content").body.decode().splitlines()
    assert csv[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy" or \
        csv[0].startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,")
    assert len(csv) == 7
    assert api.call("GET", "/files/" + done["result_files"][0]).json["purpose"] == "fine-tune-results"
    model(api, done)
    stream = api.raw("GET", f"/fine_tuning/jobs/{j['id']}/events?stream=true")
    *told, end, _ = stream.body.decode().split("\n\n")
    assert end == "data: [DONE]"
    for e in told:
        api.spec.check("events?stream=true", "FineTuningJobEvent", json.loads(e.removeprefix("data: ")))
    assert [json.loads(e[6:])["id"] for e in told] == [e["id"] for e in events[::-1]]


def model(api, done):
    """what becomes of a job's model and its checkpoints"""
    name = done["fine_tuned_model"]
    points = listed(api, f"/fine_tuning/jobs/{done['id']}/checkpoints")["data"]
    assert [p["step_number"] for p in points] == [6, 3]  # the newest first
    for p in points:
        assert p["fine_tuned_model_checkpoint"] == f"{name}:ckpt-step-{p['step_number']}"
        chat(api, model=p["fine_tuned_model_checkpoint"])
    at = f"/fine_tuning/checkpoints/{points[0]['fine_tuned_model_checkpoint']}/permissions"
    made = api.call("POST", at, {"project_ids": ["proj_a", "proj_b", "proj_c"]}).json
    assert {p["project_id"] for p in made["data"]} == {"proj_a", "proj_b", "proj_c"}
    listed(api, at)
    up = api.call("GET", at + "?order=ascending").json
    assert up["data"] == api.call("GET", at + "?order=descending").json["data"][::-1]
    assert len(api.call("GET", at + "?project_id=proj_b").json["data"]) == 1
    assert api.call("DELETE", f"{at}/{made['data'][0]['id']}").json["object"] == "checkpoint.permission"
    api.call("DELETE", f"{at}/{made['data'][0]['id']}", status=404)
    got = {m["id"]: m for m in api.call("GET", "/models").json["data"]}
    assert got[name]["object"] == "model" and got[MODEL]["owned_by"] == "system"
    for spelt in (name, name.replace(":", "%3A")):
        assert api.call("GET", "/models/" + spelt).json["id"] == name
    assert chat(api, model=name).json["model"] == name
    api.call("DELETE", "/models/" + MODEL, status=403)
    assert api.call("DELETE", "/models/" + name).json == {"id": name, "object": "model", "deleted": True}
    api.call("GET", "/models/" + name, status=404)
    chat(api, model=name, status=404)


def test_pause_resume_cancel(api, examples):
    f = api.upload(examples)
    j = job(api, f, hyperparameters={"n_epochs": 50, "batch_size": 4})
    at = "/fine_tuning/jobs/" + j["id"]
    api.until(at, ("running",))
    assert api.call("POST", at + "/pause").json["status"] == "paused"
    assert api.call("POST", at + "/resume").json["status"] in ("queued", "running")
    assert api.call("POST", at + "/cancel").json["status"] == "cancelled"
    for verb in ("pause", "resume", "cancel"):
        api.call("POST", f"{at}/{verb}", status=400)
        api.call("POST", f"/fine_tuning/jobs/ftjob-none/{verb}", status=404)
    for rest in ("", "/events", "/checkpoints"):
        api.call("GET", "/fine_tuning/jobs/ftjob-none" + rest, status=404)


def test_failed_job(api, examples):
    j = job(api, api.upload(examples[:7]))
    done = api.until("/fine_tuning/jobs/" + j["id"], OVER)
    assert (done["error"]["code"], done["error"]["param"]) == ("invalid_n_examples", "training_file")


def test_preference_job(api, examples):
    rows = []
    for x in map(json.loads, examples[:10]):
        *asked, said = [m for m in x["messages"]]
        rows.append(json.dumps({"input": {"messages": asked}, "preferred_output": [said],
                                "non_preferred_output": [{"role": "assistant", "content": "no"}]}).encode())
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 1, "batch_size": 5}}}
    j = job(api, api.upload(rows), method=method, hyperparameters=None)
    done = api.until("/fine_tuning/jobs/" + j["id"], OVER)
    assert done["status"] == "succeeded", done["error"]
    assert done["method"]["dpo"]["hyperparameters"]["beta"] == 0.1 and done["hyperparameters"]["n_epochs"] == 1
    listed(api, f"/fine_tuning/jobs/{j['id']}/events")


# --- batches ---

def batch(api, lines, **more):
    f = api.upload([json.dumps(x).encode() for x in lines], "batch", "batch.jsonl")
    body = {"input_file_id": f["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return api.call("POST", "/batches", body).json


def line(custom_id, **more):
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 4, "temperature": 0, **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_batches(api):
    over = ("completed", "failed", "cancelled", "expired")
    b = batch(api, [line("a"), line("bad", temperature=9)], metadata={"run": "conformance"},
              output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert b["status"] in ("validating", "in_progress") and re.fullmatch(r"batch_[0-9A-Za-z]+", b["id"])
    done = api.until("/batches/" + b["id"], over)
    assert done["status"] == "completed" and done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    for key, code in (("output_file_id", 200), ("error_file_id", 400)):
        f = api.call("GET", "/files/" + done[key]).json
        assert f["purpose"] == "batch_output" and f["expires_at"] > 0
        for text in api.call("GET", f"/files/{f['id']}/content").body.splitlines():
            row = json.loads(text)
            api.spec.check("a batch's line", "BatchRequestOutput", row)
            assert row["response"]["status_code"] == code and row["id"].startswith("batch_req_")
            form = "CreateChatCompletionResponse" if code == 200 else "ErrorResponse"
            api.spec.check("a batch's answer", form, row["response"]["body"])
    failed = api.until("/batches/" + batch(api, [line("a"), line("a")])["id"], over)
    assert failed["status"] == "failed" and failed["errors"]["data"][0]["line"] == 2
    long = batch(api, [line(str(i), max_tokens=200, logit_bias={"2": -100}) for i in range(100)])
    api.call("POST", f"/batches/{long['id']}/cancel")
    assert api.until("/batches/" + long["id"], over)["status"] == "cancelled"
    api.call("POST", f"/batches/{long['id']}/cancel", status=400)
    api.call("POST", "/batches/batch_none/cancel", status=404)
    listed(api, "/batches")


# --- evals and graders ---

CHECK = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.want}}",
         "operation": "eq"}
NEAR = {"type": "text_similarity", "name": "near", "input": "{{sample.output_text}}", "reference": "{{item.want}}",
        "evaluation_metric": "rouge_l", "pass_threshold": 0}
LABEL = {"type": "label_model", "name": "label", "model": MODEL, "labels": ["good", "bad"], "passing_labels": ["good"],
         "input": [{"role": "user", "content": "{{sample.output_text}}"}]}
SCORE = {"type": "score_model", "name": "score", "model": MODEL, "range": [0, 4], "pass_threshold": 2,
         "sampling_params": {"max_completions_tokens": 200},
         "input": [{"role": "user", "content": {"type": "input_text", "text": "{{sample.output_text}}"}}]}
CUSTOM = {"type": "custom", "item_schema": {"type": "object", "properties": {"want": {"type": "string"}}},
          "include_sample_schema": True}
ROWS = [{"item": {"want": "a"}, "sample": {"output_text": "a"}}, {"item": {"want": "a"}, "sample": {"output_text": "b"}},
        {"item": {"want": "a"}}]
ASKED = {"type": "completions", "model": MODEL, "sampling_params": {"max_completion_tokens": 8, "temperature": 0},
         "input_messages": {"type": "template", "template": [{"role": "user", "content": "Say {{item.want}}."}]}}


def eval_of(api, config, *criteria):
    return api.call("POST", "/evals", {"name": "e", "data_source_config": config, "testing_criteria": list(criteria),
                                       "metadata": {"by": "conformance"}}, status=201).json


def run_of(api, e, source):
    r = api.call("POST", f"/evals/{e['id']}/runs", {"name": "r", "data_source": source}, status=201).json
    assert r["status"] in ("queued", "in_progress") and re.fullmatch(r"evalrun_[0-9A-Za-z]+", r["id"])
    return api.until(f"/evals/{e['id']}/runs/{r['id']}", ("completed", "failed", "canceled"))


def test_evals(api):
    e = eval_of(api, CUSTOM, CHECK, NEAR)
    assert all(c["id"].startswith(c["name"] + "-") for c in e["testing_criteria"])
    eval_of(api, {"type": "logs", "metadata": {"a": "b"}}, LABEL, SCORE)
    eval_of(api, {"type": "stored_completions"}, CHECK)
    assert api.call("GET", "/evals/" + e["id"]).json == e
    assert api.call("POST", "/evals/" + e["id"], {"name": "new"}).json["name"] == "new"
    for path in ("/evals", "/evals?order_by=updated_at&order=desc"):
        listed(api, path)
    api.call("POST", "/evals", {"data_source_config": CUSTOM, "testing_criteria": [CHECK], "nme": ""}, status=400)
    assert api.call("DELETE", "/evals/" + e["id"]).json["eval_id"] == e["id"]
    for method in ("GET", "DELETE"):
        api.call(method, "/evals/" + e["id"], status=404)


def test_eval_runs(api):
    e = eval_of(api, CUSTOM, CHECK, NEAR)
    at = f"/evals/{e['id']}/runs"
    r = run_of(api, e, {"type": "jsonl", "source": {"type": "file_content", "content": ROWS}})
    assert r["result_counts"] == {"total": 3, "errored": 1, "failed": 1, "passed": 1}
    items = listed(api, f"{at}/{r['id']}/output_items")["data"]
    assert [i["status"] for i in items] == ["pass", "fail", "error"]
    assert [i["datasource_item_id"] for i in items] == [0, 1, 2]
    for status, count in (("pass", 1), ("fail", 1)):
        assert len(api.call("GET", f"{at}/{r['id']}/output_items?status={status}").json["data"]) == count
    assert api.call("GET", f"{at}/{r['id']}/output_items/{items[0]['id']}").json == items[0]
    assert r["id"] in [x["id"] for x in listed(api, at + "?status=completed")["data"]]
    assert api.raw("GET", r["report_url"].split("/v1", 1)[1]).headers["content-type"].startswith("text/html")
    api.call("POST", f"{at}/{r['id']}", status=400)
    api.call("POST", at, {"data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "file-no"}}}, status=400)
    assert api.call("DELETE", f"{at}/{r['id']}").json["run_id"] == r["id"]
    api.call("GET", f"{at}/{r['id']}", status=404)


def test_eval_runs_that_ask(api):
    e = eval_of(api, CUSTOM, NEAR, LABEL, SCORE)
    f = api.upload([json.dumps(x).encode() for x in ROWS] + [b"{}"], "evals", "rows.jsonl")
    r = run_of(api, e, {**ASKED, "source": {"type": "file_id", "id": f["id"]}})
    assert r["result_counts"]["total"] == 4 and r["result_counts"]["errored"] == 1 and r["model"] == MODEL
    assert r["per_model_usage"][0]["invocation_count"] == 9
    assert {x["testing_criteria"] for x in r["per_testing_criteria_results"]} == {c["id"] for c in e["testing_criteria"]}
    items = listed(api, f"/evals/{e['id']}/runs/{r['id']}/output_items")["data"]
    assert items[0]["sample"]["input"] == [{"role": "user", "content": "Say a."}]
    long = {**ASKED, "sampling_params": {"max_completion_tokens": 200},
            "source": {"type": "file_content", "content": ROWS[:1] * 200}}
    r = api.call("POST", f"/evals/{e['id']}/runs", {"data_source": long}, status=201).json
    assert api.call("POST", f"/evals/{e['id']}/runs/{r['id']}").json["status"] == "canceled"
    assert run_of(api, e, {**ASKED, "source": {"type": "file_content", "content": ROWS}})["status"] == "completed"


@pytest.mark.parametrize("kind", ["completions", "responses"])
def test_evals_of_logs(api, kind):
    chat(api, store=True, metadata={"evals": kind})
    chat(api, store=True, metadata={"evals": kind})
    e = eval_of(api, {"type": "logs"}, {**CHECK, "reference": "{{item.input[0].content}}"})
    source = {"type": "stored_completions" if kind == "completions" else kind, "metadata": {"evals": kind}, "limit": 1}
    r = run_of(api, e, {"type": kind, "source": source})
    assert r["result_counts"] == {"total": 1, "errored": 0, "failed": 1, "passed": 0} and r["model"] is None
    again = {"type": kind, "source": source, "model": MODEL,
             "input_messages": {"type": "item_reference", "item_reference": "item.input"},
             "sampling_params": {"max_completion_tokens": 4}}
    r = run_of(api, e, again)
    assert r["result_counts"]["errored"] == 0 and r["per_model_usage"][0]["invocation_count"] == 1
    empty = run_of(api, e, {"type": kind, "source": {"type": source["type"], "metadata": {"evals": "none"}}})
    assert empty["status"] == "failed" and empty["error"]["message"]


def test_graders(api):
    at = "/fine_tuning/alpha/graders/"
    multi = {"type": "multi", "name": "m", "graders": {"a": CHECK, "b": NEAR}, "calculate_output": "(a + b) / 2"}
    for grader in (CHECK, NEAR, SCORE, multi):
        assert api.call("POST", at + "validate", {"grader": grader}).json == {"grader": grader}
        got = api.call("POST", at + "run", {"grader": grader, "item": {"want": "x"}, "model_sample": "x"}).json
        assert got["metadata"]["name"] == grader["name"] and not got["metadata"]["errors"]["other_error"]
    assert got["reward"] == 1 and got["sub_rewards"] == {"a": 1, "b": 1}
    for wrong in ({"type": "python", "name": "p", "source": "def grade(s, i): return 1"}, {**NEAR, "evaluation_metric": "cosine"},
                  {**CHECK, "operation": "is"}):
        api.call("POST", at + "validate", {"grader": wrong}, status=400)


# --- what was called ---

def test_every_operation_was_called(api):
    missing = {name for name, (method, path) in api.spec.operations.items()
               if path.startswith(RESOURCES) and name not in api.seen}
    assert not missing


def test_the_check_can_fail(api):
    f = api.upload([b"{}"])
    for wrong in ({**f, "bytes": "2"}, {**f, "purpose": "fun"}, {k: v for k, v in f.items() if k != "status"}):
        with pytest.raises(AssertionError):
            api.spec.check("a file", "OpenAIFile", wrong)
