"""What is refused: status, type, code and param of each documented error."""
import json

import pytest
from conftest import MODEL

HELLO = [{"role": "user", "content": "Hi"}]
CHAT, LEGACY, JOBS, FILES = "/chat/completions", "/completions", "/fine_tuning/jobs", "/files"
INVALID = "invalid_request_error"
ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'


def chat(**more):
    return {"model": MODEL, "messages": HELLO, "max_tokens": 2, **more}


def without(body, key):
    return {k: v for k, v in body.items() if k != key}


def schema(value, strict=True):
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "strict": strict,
                                                                        "schema": value}})


def tool(**more):
    return chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **more}}])


OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}

# name: (method, path, body, status, code, param); * is any code, ... any param that begins so
TABLE = {
    # URLs
    "no such URL": ("POST", "/foo", {}, 404, "*", None),
    "no such method": ("PUT", "/models", {}, 405, "*", None),
    "removed": ("POST", "/fine-tunes", {}, 400, "endpoint_removed", None),
    "left out": ("POST", "/moderations", {}, 404, "*", None),
    # bodies
    "no JSON": ("POST", CHAT, b'{"model": ', 400, "invalid_json", None),
    "no object": ("POST", CHAT, b"[1]", 400, "*", None),
    "no body": ("POST", CHAT, b"", 400, "*", None),
    "twice": ("POST", CHAT, b'{"model": "a", "model": "b"}', 400, "*", None),
    # chat
    "messages missing": ("POST", CHAT, without(chat(), "messages"), 400, "missing_required_parameter", "messages"),
    "model missing": ("POST", CHAT, without(chat(), "model"), 400, "missing_required_parameter", "model"),
    "messages null": ("POST", CHAT, chat(messages=None), 400, "missing_required_parameter", "messages"),
    "messages empty": ("POST", CHAT, chat(messages=[]), 400, "empty_array", "messages"),
    "messages no list": ("POST", CHAT, chat(messages="hi"), 400, "invalid_type", "messages"),
    "message no object": ("POST", CHAT, chat(messages=["hi"]), 400, "invalid_type", "messages[0]"),
    "role missing": ("POST", CHAT, chat(messages=[{"content": "x"}]), 400, "missing_required_parameter",
                     "messages[0].role"),
    "role unknown": ("POST", CHAT, chat(messages=[{"role": "wizard", "content": "x"}]), 400, "invalid_value",
                     "messages[0].role"),
    "content a number": ("POST", CHAT, chat(messages=[*HELLO, {"role": "user", "content": 1}]), 400, "invalid_type",
                         "messages[1].content"),
    "content missing": ("POST", CHAT, chat(messages=[{"role": "user"}]), 400, "*", "messages[0].content"),
    "an image": ("POST", CHAT, chat(messages=[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:,"}}]}]), 400, "*", "messages[0].content..."),
    "tool of no call": ("POST", CHAT, chat(messages=[{"role": "tool", "tool_call_id": "call_1", "content": "x"}]), 400,
                        "*", "messages[0]..."),
    "model unknown": ("POST", CHAT, chat(model="gpt-99"), 404, "model_not_found", "model"),
    "model no string": ("POST", CHAT, chat(model=4), 400, "invalid_type", "model"),
    "temperature high": ("POST", CHAT, chat(temperature=2.1), 400, "decimal_above_max_value", "temperature"),
    "temperature low": ("POST", CHAT, chat(temperature=-1), 400, "decimal_below_min_value", "temperature"),
    "temperature text": ("POST", CHAT, chat(temperature="hot"), 400, "invalid_type", "temperature"),
    "top_p": ("POST", CHAT, chat(top_p=1.1), 400, "decimal_above_max_value", "top_p"),
    "n zero": ("POST", CHAT, chat(n=0), 400, "integer_below_min_value", "n"),
    "n high": ("POST", CHAT, chat(n=129), 400, "integer_above_max_value", "n"),
    "n a fraction": ("POST", CHAT, chat(n=1.5), 400, "invalid_type", "n"),
    "stop": ("POST", CHAT, chat(stop=list("abcde")), 400, "array_above_max_length", "stop"),
    "top_logprobs alone": ("POST", CHAT, chat(top_logprobs=1), 400, "*", "top_logprobs"),
    "top_logprobs high": ("POST", CHAT, chat(logprobs=True, top_logprobs=21), 400, "integer_above_max_value",
                          "top_logprobs"),
    "penalty": ("POST", CHAT, chat(presence_penalty=3), 400, "decimal_above_max_value", "presence_penalty"),
    "logit_bias": ("POST", CHAT, chat(logit_bias={"5": 101}), 400, "*", "logit_bias..."),
    "logit_bias no token": ("POST", CHAT, chat(logit_bias={"x": 1}), 400, "*", "logit_bias..."),
    "logit_bias of another model": ("POST", CHAT, chat(logit_bias={"99999999": 1}), 400, "*", "logit_bias"),
    "max_tokens negative": ("POST", CHAT, chat(max_tokens=-1), 400, "integer_below_min_value", "max_tokens"),
    "stream_options alone": ("POST", CHAT, chat(stream_options={"include_usage": True}), 400, "*", "stream_options"),
    "stream no boolean": ("POST", CHAT, chat(stream="yes"), 400, "invalid_type", "stream"),
    "web search": ("POST", CHAT, chat(web_search_options={}), 400, "unsupported_parameter", "web_search_options"),
    "audio": ("POST", CHAT, chat(modalities=["text", "audio"], audio={"voice": "x", "format": "mp3"}), 400,
              "*", "modalities..."),
    "too long": ("POST", CHAT, chat(messages=[{"role": "user", "content": "a cat " * 3000}]), 400,
                 "context_length_exceeded", "messages"),
    "metadata": ("POST", CHAT, chat(store=True, metadata={"a": 1}), 400, "invalid_type", "metadata.a"),
    "metadata's key": ("POST", CHAT, chat(store=True, metadata={"k" * 65: ""}), 400, "*", "metadata..."),
    "metadata's value": ("POST", CHAT, chat(store=True, metadata={"k": "v" * 513}), 400, "string_above_max_length",
                         "metadata.k"),
    "metadata's pairs": ("POST", CHAT, chat(store=True, metadata={str(i): "" for i in range(17)}), 400, "*",
                         "metadata"),
    # formats and tools
    "format": ("POST", CHAT, chat(response_format={"type": "yaml"}), 400, "invalid_value", "response_format.type"),
    "format's type": ("POST", CHAT, chat(response_format={}), 400, "missing_required_parameter",
                      "response_format.type"),
    "JSON not asked for": ("POST", CHAT, chat(response_format={"type": "json_object"}), 400, "*", "messages"),
    "schema's name": ("POST", CHAT, chat(response_format={"type": "json_schema", "json_schema": {
        "name": "a b", "schema": OBJECT}}), 400, "*", "response_format.json_schema.name"),
    "schema open": ("POST", CHAT, schema(without(OBJECT, "additionalProperties")), 400, "*", "response_format..."),
    "schema not required": ("POST", CHAT, schema({**OBJECT, "required": []}), 400, "*", "response_format..."),
    "schema's keyword": ("POST", CHAT, schema({**OBJECT, "not": {}}, False), 400, "*", "response_format..."),
    "schema no object": ("POST", CHAT, schema({"type": "string"}), 400, "*", "response_format..."),
    "tool's name": ("POST", CHAT, tool(name="a b"), 400, "*", "tools[0].function.name"),
    "tool's schema": ("POST", CHAT, tool(parameters={"type": "object", "not": {}}), 400, "*", "tools[0]..."),
    "tool's type": ("POST", CHAT, chat(tools=[{"type": "web_search"}]), 400, "*", "tools[0].type"),
    "choice without tools": ("POST", CHAT, chat(tool_choice="required"), 400, "*", "tool_choice"),
    "choice of no tool": ("POST", CHAT, {**tool(), "tool_choice": {"type": "function", "function": {"name": "g"}}},
                          400, "*", "tool_choice..."),
    # legacy
    "prompt unknown token": ("POST", LEGACY, {"model": MODEL, "prompt": [9999999]}, 400, "*", "prompt..."),
    "legacy model": ("POST", LEGACY, {"model": "none", "prompt": "a"}, 404, "model_not_found", "model"),
    "legacy logprobs": ("POST", LEGACY, {"model": MODEL, "prompt": "a", "logprobs": 6}, 400,
                        "integer_above_max_value", "logprobs"),
    "best_of below n": ("POST", LEGACY, {"model": MODEL, "prompt": "a", "n": 2, "best_of": 1}, 400, "*", "best_of"),
    "suffix": ("POST", LEGACY, {"model": MODEL, "prompt": "a", "suffix": "b"}, 400, "unsupported_parameter", "suffix"),
    # models, lists
    "no such model": ("GET", "/models/none", None, 404, "model_not_found", "model"),
    "base model": ("DELETE", "/models/" + MODEL, None, 403, "*", "model"),
    "no such file": ("GET", "/files/file-none", None, 404, None, "id"),
    "no such content": ("GET", "/files/file-none/content", None, 404, None, "id"),
    "no such job": ("GET", JOBS + "/ftjob-none", None, 404, "fine_tune_not_found", "fine_tune_id"),
    "no such completion": ("GET", CHAT + "/chatcmpl-none", None, 404, "*", "..."),
    "no such batch": ("GET", "/batches/batch_none", None, 404, None, "id"),
    "limit": ("GET", FILES + "?limit=10001", None, 400, "integer_above_max_value", "limit"),
    "limit low": ("GET", "/batches?limit=-1", None, 400, "integer_below_min_value", "limit"),
    "limit text": ("GET", JOBS + "?limit=x", None, 400, "*", "limit"),
    "order": ("GET", FILES + "?order=up", None, 400, "invalid_value", "order"),
    "after": ("GET", JOBS + "?after=ftjob-none", None, 404, None, "after"),
    # jobs
    "job's model": ("POST", JOBS, {"model": "none", "training_file": "{fine}"}, 400, "model_not_available", "model"),
    "job's model missing": ("POST", JOBS, {"training_file": "{fine}"}, 400, "missing_required_parameter", "model"),
    "job's file missing": ("POST", JOBS, {"model": MODEL}, 400, "missing_required_parameter", "training_file"),
    "job's file": ("POST", JOBS, {"model": MODEL, "training_file": "file-none"}, 400, "*", "training_file"),
    "job's validation": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "validation_file": "file-none"},
                         400, "*", "validation_file"),
    "job's purpose": ("POST", JOBS, {"model": MODEL, "training_file": "{batch}"}, 400, "*", "training_file"),
    "misspelt": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "n_epoch": 3}, 400, "unknown_parameter",
                 "n_epoch"),
    "misspelt inside": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "hyperparameters": {"epochs": 3}},
                        400, "unknown_parameter", "hyperparameters.epochs"),
    "misspelt method": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "method": {
        "type": "dpo", "dpo": {"hyperparameters": {"betas": 1}}}}, 400, "unknown_parameter",
        "method.dpo.hyperparameters.betas"),
    "epochs": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "hyperparameters": {"n_epochs": 0}}, 400,
               "integer_below_min_value", "hyperparameters.n_epochs"),
    "epochs many": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "hyperparameters": {"n_epochs": 51}},
                    400, "integer_above_max_value", "hyperparameters.n_epochs"),
    "epochs text": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "hyperparameters": {"n_epochs": "3"}},
                    400, "*", "hyperparameters.n_epochs"),
    "batch size": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "hyperparameters": {"batch_size": 257}},
                   400, "integer_above_max_value", "hyperparameters.batch_size"),
    "multiplier": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}",
                                  "hyperparameters": {"learning_rate_multiplier": 0}}, 400, "*",
                   "hyperparameters.learning_rate_multiplier"),
    "beta": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "method": {
        "type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}}, 400, "decimal_above_max_value",
        "method.dpo.hyperparameters.beta"),
    "suffix long": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "suffix": "x" * 65}, 400,
                    "string_above_max_length", "suffix"),
    "suffix empty": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "suffix": ""}, 400, "*", "suffix"),
    "seed": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "seed": 2147483648}, 400,
             "integer_above_max_value", "seed"),
    "method": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "method": {"type": "magic"}}, 400,
               "invalid_value", "method.type"),
    "method's type": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "method": {}}, 400,
                      "missing_required_parameter", "method.type"),
    "reinforcement": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "method": {
        "type": "reinforcement", "reinforcement": {}}}, 400, "unsupported_value", "method.type"),
    "job's metadata": ("POST", JOBS, {"model": MODEL, "training_file": "{fine}", "metadata": {"a": "b" * 513}}, 400,
                       "string_above_max_length", "metadata.a"),
    "permissions": ("POST", "/fine_tuning/checkpoints/none/permissions", {"project_ids": ["p"]}, 404, "*", "..."),
    # uploads
    "upload's bytes": ("POST", "/uploads", {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "x"}, 400,
                       "missing_required_parameter", "bytes"),
    "upload's size": ("POST", "/uploads", {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "x",
                                           "bytes": 0}, 400, "integer_below_min_value", "bytes"),
    "upload's purpose": ("POST", "/uploads", {"filename": "a.jsonl", "purpose": "fun", "mime_type": "x", "bytes": 5},
                         400, "invalid_value", "purpose"),
    "no such upload": ("POST", "/uploads/upload_none/cancel", None, 404, None, "id"),
    # batches
    "batch's file": ("POST", "/batches", {"input_file_id": "file-none", "endpoint": "/v1/chat/completions",
                                          "completion_window": "24h"}, 400, "*", "input_file_id"),
    "batch's endpoint": ("POST", "/batches", {"input_file_id": "{batch}", "endpoint": "/v1/images",
                                              "completion_window": "24h"}, 400, "invalid_value", "endpoint"),
    "batch's window": ("POST", "/batches", {"input_file_id": "{batch}", "endpoint": "/v1/chat/completions",
                                            "completion_window": "1h"}, 400, "invalid_value", "completion_window"),
    "batch misspelt": ("POST", "/batches", {"input": "{batch}"}, 400, "unknown_parameter", "input"),
}

# files: (fields, file's name, content, code, param, what the message has)
UPLOADS = {
    "not JSON": ({"purpose": "fine-tune"}, "a.jsonl", ROW + "\nnot json\n", "*", "file", "Line 2"),
    "no object": ({"purpose": "fine-tune"}, "a.jsonl", "[1]\n", "*", "file", "Line 1"),
    "name": ({"purpose": "fine-tune"}, "a.csv", ROW, "*", "file", ".jsonl"),
    "empty": ({"purpose": "fine-tune"}, "a.jsonl", "", "*", "file", "empty"),
    "purpose missing": ({}, "a.jsonl", ROW, "missing_required_parameter", "purpose", "purpose"),
    "purpose unknown": ({"purpose": "fun"}, "a.jsonl", ROW, "invalid_value", "purpose", "'fun'"),
    "expires soon": ({"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
                     "a.jsonl", ROW, "*", "expires_after.seconds", "3600"),
    "expires after": ({"purpose": "fine-tune", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
                      "a.jsonl", ROW, "*", "expires_after.anchor", "created_at"),
    "field unknown": ({"purpose": "fine-tune", "porpoise": "x"}, "a.jsonl", ROW, "unknown_parameter", "porpoise",
                      "porpoise"),
}


@pytest.fixture(scope="module")
def files(api, examples):
    return {"{fine}": api.upload(examples[:10])["id"], "{batch}": api.upload([b"{}"], "batch", "b.jsonl")["id"]}


def check(a, status, code, param):
    e = a.json["error"]
    assert a.status == status and e["message"], e
    assert e["type"] == INVALID, e
    assert code == "*" or e["code"] == code, e
    if param and param.endswith("..."):
        assert (e["param"] or "").startswith(param[:-3]), e
    else:
        assert e["param"] == param, e


@pytest.mark.parametrize("name", TABLE)
def test_refused(api, files, name):
    method, path, body, status, code, param = TABLE[name]
    if isinstance(body, dict):
        text = json.dumps(body)
        for mark, file_id in files.items():
            text = text.replace(mark, file_id)
        body = json.loads(text)
    headers = {"Content-Type": "application/json"} if body is not None else None
    check(api.call(method, path, body, headers, status), status, code, param)


@pytest.mark.parametrize("name", UPLOADS)
def test_refused_upload(api, name):
    fields, filename, content, code, param, says = UPLOADS[name]
    a = api.form("/files", fields, "file", filename, content.encode(), 400)
    check(a, 400, code, param)
    assert says in a.json["error"]["message"], a.json


def test_a_name_that_is_cut_inside_a_character(api):
    a = api.call("POST", JOBS, {"a" + "\u00e9" * 100: 1}, status=400)
    assert a.json["error"]["param"].startswith("a\u00e9")


def test_upload_that_does_not_add_up(api, examples):
    body = b"\n".join(examples[:10]) + b"\n"
    order = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": len(body) + 1}
    up = api.call("POST", "/uploads", order).json
    part = api.form(f"/uploads/{up['id']}/parts", {}, "data", "part", body).json["id"]
    check(api.call("POST", f"/uploads/{up['id']}/complete", {"part_ids": [part]}, status=400), 400, "*", "part_ids")
    up = api.call("POST", "/uploads", {**order, "bytes": len(body)}).json
    part = api.form(f"/uploads/{up['id']}/parts", {}, "data", "part", body).json["id"]
    a = api.call("POST", f"/uploads/{up['id']}/complete", {"part_ids": [part], "md5": "0" * 32}, status=400)
    check(a, 400, "*", "md5")


def test_unknown_fields_of_inference_are_ignored(api):
    api.call("POST", CHAT, chat(not_yet_invented=1))
    api.call("POST", LEGACY, {"model": MODEL, "prompt": "a", "max_tokens": 1, "not_yet_invented": 1})


def test_tool_messages_may_hold_what_sdks_leave_there(api):
    said = {"role": "assistant", "content": "x", "refusal": None, "annotations": [], "audio": None,
            "tool_calls": None, "function_call": None, "parsed": None}
    api.call("POST", CHAT, chat(messages=[*HELLO, said, *HELLO]))


def test_a_base_without_a_slash(api):
    api.connection.request("GET", "/v1models")
    assert json.loads(api.connection.getresponse().read())["object"] == "list"
    api.connection.request("GET", "/models")
    r = api.connection.getresponse()
    assert r.status == 404 and b"/v1" in r.read()
