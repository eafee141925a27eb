import json

import litellm
import pytest
from conftest import BASE_URL, MODEL, QUESTION
from pydantic import BaseModel

litellm.telemetry = False


class Booking(BaseModel):
    day: str
    people: int


TOOL = {"type": "function", "function": {"name": "book_table", "parameters": {
    "type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"],
    "additionalProperties": False}}}


def ask(**more):
    return litellm.completion(**{"model": "openai/" + MODEL, "api_base": BASE_URL, "api_key": "unused",
                                 "messages": [{"role": "user", "content": QUESTION}], "temperature": 0,
                                 "max_tokens": 20, **more})


def test_completion(plain):
    r = ask()
    assert r.choices[0].message.content == plain and r.usage.completion_tokens <= 20


def test_stream(plain):
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == plain
    built = litellm.stream_chunk_builder(chunks)
    assert built.choices[0].message.content == plain


def test_schema():
    r = ask(response_format=Booking, max_tokens=300)
    assert isinstance(Booking.model_validate_json(r.choices[0].message.content), Booking)


def test_tools():
    r = ask(tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    call = r.choices[0].message.tool_calls[0]
    assert call.function.name == "book_table" and isinstance(json.loads(call.function.arguments)["people"], int)


def test_errors():
    with pytest.raises(litellm.NotFoundError):
        ask(model="openai/nothing")
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(messages=[{"role": "user", "content": "a cat " * 3000}])
    with pytest.raises(litellm.BadRequestError):
        ask(temperature=9)


def test_legacy():
    r = litellm.text_completion(model="text-completion-openai/" + MODEL, api_base=BASE_URL, api_key="unused",
                                prompt="The cat", max_tokens=5)
    assert r.choices[0].text
