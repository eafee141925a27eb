import pytest
from conftest import BASE_URL, MODEL, QUESTION
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Booking(BaseModel):
    """A table that is booked."""
    day: str
    people: int


def book_table(day: str, people: int) -> str:
    """Books a table."""
    return f"{people} on {day}"


def like(**more):
    return OpenAILike(**{"model": MODEL, "api_base": BASE_URL, "api_key": "unused", "is_chat_model": True,
                         "is_function_calling_model": True, "temperature": 0, "max_tokens": 20,
                         "context_window": 1024, **more})


def ours(**more):
    """the class for OpenAI itself asks for a model name it knows: the server's default model answers"""
    return OpenAI(**{"model": "gpt-4o-mini", "api_base": BASE_URL, "api_key": "unused", "temperature": 0,
                     "max_tokens": 20, "max_retries": 0, **more})


def test_chat_and_complete(plain):
    assert like().chat([ChatMessage(role="user", content=QUESTION)]).message.content == plain
    assert like().complete(QUESTION).text == plain
    assert like(is_chat_model=False).complete("The cat").text


def test_stream(plain):
    pieces = [c.delta for c in like().stream_chat([ChatMessage(role="user", content=QUESTION)])]
    assert "".join(p or "" for p in pieces) == plain
    assert list(like(is_chat_model=False).stream_complete("The cat"))[-1].text


def test_tools():
    tool = FunctionTool.from_defaults(book_table)
    r = like(max_tokens=300).chat_with_tools([tool], user_msg=QUESTION, tool_required=True)
    calls = like().get_tool_calls_from_response(r)
    assert calls[0].tool_name == "book_table" and isinstance(calls[0].tool_kwargs["people"], int)


def test_structured():
    r = like(max_tokens=300, should_use_structured_outputs=True).as_structured_llm(Booking).complete(QUESTION)
    assert isinstance(r.raw, Booking)


def test_openai_class():
    with pytest.raises(Exception, match="gpt-4o-mini.*does not exist"):
        ours().complete(QUESTION)


async def collected(stream):
    return "".join([c.delta or "" async for c in await stream])


def test_async(plain):
    import asyncio
    assert asyncio.run(collected(like().astream_chat([ChatMessage(role="user", content=QUESTION)]))) == plain
