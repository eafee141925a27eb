import json

import openai
import pytest
from conftest import MODEL

HELLO = [{"role": "user", "content": "Tell me about a cat."}]


def ask(client, **more):
    options = {"model": MODEL, "messages": HELLO, "max_tokens": 24, "temperature": 0, **more}
    return client.chat.completions.create(**options)


def test_answer_has_the_documented_form(client):
    r = ask(client)
    assert r.id.startswith("chatcmpl-") and r.object == "chat.completion"
    choice = r.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    assert r.usage.completion_tokens <= 24


def test_same_seed_same_text(client):
    texts = {ask(client, temperature=1, seed=7).choices[0].message.content for _ in range(3)}
    assert len(texts) == 1
    assert ask(client, temperature=1, seed=8).choices[0].message.content not in texts


def test_stream_is_the_answer_in_pieces(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1


def test_several_choices_in_one_stream(client):
    first_of, texts = [], {}
    for c in ask(client, n=3, temperature=1, seed=1, stream=True):
        for choice in c.choices:
            if choice.index not in texts:
                first_of.append(choice.index)
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert first_of == [0, 1, 2]
    whole = ask(client, n=3, temperature=1, seed=1)
    assert [c.message.content for c in whole.choices] == [texts[i] for i in range(3)]


def test_stop_sequence_is_not_in_the_text(client):
    text = ask(client, max_tokens=60).choices[0].message.content
    word = text.split()[2]
    r = ask(client, max_tokens=60, stop=[word])
    assert r.choices[0].finish_reason == "stop"
    assert r.choices[0].message.content == text[:text.index(word)]


def test_logprobs(client):
    r = ask(client, logprobs=True, top_logprobs=3)
    content = r.choices[0].logprobs.content
    assert b"".join(bytes(t.bytes) for t in content).decode() == r.choices[0].message.content
    for t in content:
        assert len(t.top_logprobs) == 3
        assert t.logprob <= 0 and abs(t.top_logprobs[0].logprob - t.logprob) < 1e-6  # greedy


def test_logit_bias_beats_everything(client):
    first = ask(client, logprobs=True, top_logprobs=5, max_tokens=1).choices[0].logprobs.content[0]
    texts = set()
    for i in range(2):
        r = ask(client, max_tokens=3, logit_bias={str(300 + i): 100})
        assert r.usage.completion_tokens == 3
        texts.add(r.choices[0].message.content)
    assert len(texts) == 2 and first.token not in texts


SCHEMA = {
    "type": "object",
    "properties": {
        "request": {"type": "string", "enum": ["book", "change", "cancel"]},
        "people": {"type": "integer", "minimum": 1, "maximum": 12},
        "note": {"anyOf": [{"type": "string", "maxLength": 12}, {"type": "null"}]},
    },
    "required": ["request", "people", "note"],
    "additionalProperties": False,
}


def test_strict_schema(client):
    for seed in range(5):
        r = ask(client, temperature=1.5, seed=seed, max_tokens=200,
                response_format={"type": "json_schema",
                                 "json_schema": {"name": "booking", "strict": True, "schema": SCHEMA}})
        assert r.choices[0].finish_reason == "stop"
        value = json.loads(r.choices[0].message.content)
        assert list(value) == ["request", "people", "note"]
        assert value["request"] in ("book", "change", "cancel") and 1 <= value["people"] <= 12


def test_parse_helper(client):
    pydantic = pytest.importorskip("pydantic")

    class Booking(pydantic.BaseModel):
        day: str
        people: int

    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    r = parse(model=MODEL, messages=HELLO, response_format=Booking, temperature=0, max_tokens=1000,
              logit_bias={})
    if r.choices[0].message.parsed is not None:
        assert isinstance(r.choices[0].message.parsed.people, int)


def test_unsupported_keyword_is_named(client):
    schema = {**SCHEMA, "not": {"required": ["people"]}}
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert "not" in e.value.message and e.value.param.startswith("response_format")


TOOL = {
    "type": "function",
    "function": {
        "name": "book_table",
        "parameters": {
            "type": "object",
            "properties": {"day": {"type": "string", "enum": ["Monday", "Friday"]}, "people": {"type": "integer"}},
            "required": ["day", "people"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "book_table"}}])
def test_forced_tool_call(client, choice):
    r = ask(client, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False, max_tokens=200)
    call = r.choices[0].message.tool_calls[0]
    assert call.id.startswith("call_") and call.function.name == "book_table"
    arguments = json.loads(call.function.arguments)
    assert arguments["day"] in ("Monday", "Friday") and isinstance(arguments["people"], int)


def test_tool_call_stream_adds_up(client):
    calls = {}
    for c in ask(client, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200,
                 stream=True):
        for d in (c.choices[0].delta.tool_calls or []) if c.choices else []:
            at = calls.setdefault(d.index, {"id": "", "name": "", "arguments": ""})
            at["id"] += d.id or ""
            at["name"] += d.function.name or ""
            at["arguments"] += d.function.arguments or ""
    assert calls[0]["name"] == "book_table" and calls[0]["id"].count("call_") == 1
    json.loads(calls[0]["arguments"])


def test_tool_answer_goes_back(client):
    r = ask(client, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    call = r.choices[0].message.tool_calls[0]
    again = ask(client, messages=[*HELLO, r.choices[0].message,
                                  {"role": "tool", "tool_call_id": call.id, "content": "done"}])
    assert again.choices[0].message.content is not None


@pytest.mark.parametrize("options,param", [
    ({"temperature": 3}, "temperature"),
    ({"n": 0}, "n"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
    ({"logit_bias": {"5": 101}}, "logit_bias"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, "messages[0].role"),
])
def test_bad_values_are_named(client, options, param):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, **options)
    assert e.value.param.startswith(param) and e.value.type == "invalid_request_error"


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as e:
        ask(client, model="no-such-model")
    assert e.value.code == "model_not_found"


def test_too_long(client):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, messages=[{"role": "user", "content": "a cat " * 3000}])
    assert e.value.code == "context_length_exceeded"


def test_stored_completions(client):
    if not hasattr(client.chat.completions, "list"):
        pytest.skip("this SDK has no stored completions")
    ids = [ask(client, store=True, metadata={"run": "e2e"}).id for _ in range(3)]
    got = [c.id for c in client.chat.completions.list(metadata={"run": "e2e"}, limit=2)]
    assert [i for i in got if i in ids] == ids
    messages = list(client.chat.completions.messages.list(ids[0]))
    assert messages[0].content == HELLO[0]["content"]
    client.chat.completions.update(ids[0], metadata={"run": "other"})
    assert client.chat.completions.retrieve(ids[0]).metadata == {"run": "other"}
    for i in ids:
        assert client.chat.completions.delete(i).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(ids[0])


def test_legacy_completions(client):
    r = client.completions.create(model=MODEL, prompt=["The cat", "A dog"], max_tokens=5, temperature=0)
    assert [c.index for c in r.choices] == [0, 1] and r.object == "text_completion"
    scored = client.completions.create(model=MODEL, prompt="The cat sat.", max_tokens=0, echo=True, logprobs=1)
    got = scored.choices[0]
    assert got.text == "The cat sat." and "".join(got.logprobs.tokens) == got.text
    assert got.logprobs.token_logprobs[0] is None and all(p <= 0 for p in got.logprobs.token_logprobs[1:])
