import enum

import pytest
from conftest import BASE_URL, MODEL, QUESTION
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class Day(enum.Enum):
    monday = "Monday"
    friday = "Friday"


class Booking(BaseModel):
    """A table that is booked."""
    day: Day = Field(description="which day")
    people: int = Field(ge=1, le=12)


@tool
def book_table(day: Day, people: int) -> str:
    """Books a table."""
    return f"{people} on {day}"


def model(**more):
    return ChatOpenAI(**{"model": MODEL, "base_url": BASE_URL, "api_key": "unused", "temperature": 0,
                         "max_tokens": 20, **more})


def test_invoke(plain):
    r = model().invoke(QUESTION)
    assert r.content == plain
    assert r.usage_metadata["total_tokens"] == r.usage_metadata["input_tokens"] + r.usage_metadata["output_tokens"]
    assert r.response_metadata["finish_reason"] in ("stop", "length") and r.id
    assert model().invoke([SystemMessage("Be kind."), HumanMessage(QUESTION)]).content


def test_stream(plain):
    chunks = list(model(stream_usage=True).stream(QUESTION))
    assert len(chunks) > 2 and "".join(c.content for c in chunks) == plain
    whole = chunks[0]
    for c in chunks[1:]:
        whole = whole + c
    assert whole.usage_metadata["output_tokens"] > 0


def test_batch(plain):
    assert [r.content for r in model().batch([QUESTION] * 3)] == [plain] * 3


def test_logprobs():
    r = model(logprobs=True, top_logprobs=2, max_tokens=3).invoke(QUESTION)
    assert len(r.response_metadata["logprobs"]["content"]) == 3


@pytest.mark.parametrize("method,strict", [("json_schema", True), ("json_schema", None), ("function_calling", None),
                                           ("function_calling", True)])
def test_structured_output(method, strict):
    chain = model(max_tokens=200).with_structured_output(Booking, method=method, strict=strict)
    r = chain.invoke(QUESTION)
    assert isinstance(r, Booking) and 1 <= r.people <= 12


def test_structured_output_json_mode():
    r = model(max_tokens=600, temperature=1, seed=1).bind(response_format={"type": "json_object"}).invoke(
        "A cat, in JSON.")
    assert r.content.startswith("{")


def test_bound_tools():
    m = model(max_tokens=200).bind_tools([book_table], tool_choice="book_table", parallel_tool_calls=False)
    r = m.invoke(QUESTION)
    call = r.tool_calls[0]
    assert call["name"] == "book_table" and call["args"]["day"] in ("Monday", "Friday") and call["id"]
    said = book_table.invoke(call)
    assert isinstance(said, ToolMessage)
    assert model().bind_tools([book_table]).invoke([HumanMessage(QUESTION), r, said]).content is not None


def test_tool_stream():
    m = model(max_tokens=200).bind_tools([book_table], tool_choice="required", parallel_tool_calls=False)
    whole = None
    for c in m.stream(QUESTION):
        whole = c if whole is None else whole + c
    assert whole.tool_calls[0]["name"] == "book_table" and isinstance(whole.tool_calls[0]["args"]["people"], int)


def test_error():
    with pytest.raises(Exception, match="does not exist"):
        model(model="nothing", max_retries=0).invoke(QUESTION)
