"""What the SDK offers around the calls."""
import hashlib
import io
import time

import openai
import pytest
from conftest import BASE_URL, MODEL

HELLO = [{"role": "user", "content": "Tell me about a cat."}]
PLAIN = {"model": MODEL, "messages": HELLO, "max_tokens": 24, "temperature": 0}
TOOL = {"type": "function", "function": {"name": "book_table", "strict": True, "parameters": {
    "type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"],
    "additionalProperties": False}}}


def helpers(client):
    return client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions


def test_stream_helper(client):
    whole = client.chat.completions.create(**PLAIN).choices[0].message.content
    with helpers(client).stream(**PLAIN) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole and kinds.count("content.done") == 1
    assert "content.delta" in kinds


def test_stream_helper_with_several(client):
    with helpers(client).stream(**{**PLAIN, "n": 3, "temperature": 1, "seed": 1, "max_tokens": 500},
                                stream_options={"include_usage": True}) as stream:
        final = stream.until_done().get_final_completion()
    assert [c.index for c in final.choices] == [0, 1, 2] and final.usage.completion_tokens > 3


def test_stream_helper_with_tools(client):
    with helpers(client).stream(**{**PLAIN, "max_tokens": 200}, tools=[TOOL], tool_choice="required",
                                parallel_tool_calls=False) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    assert isinstance(call.function.parsed_arguments["people"], int) and call.function.name == "book_table"
    assert "tool_calls.function.arguments.done" in kinds


def test_stream_helper_with_a_model(client):
    pydantic = pytest.importorskip("pydantic")

    class Booking(pydantic.BaseModel):
        people: int

    with helpers(client).stream(**{**PLAIN, "max_tokens": 200}, response_format=Booking) as stream:
        final = stream.until_done().get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Booking)


def test_stream_helper_cut_short(client):
    pydantic = pytest.importorskip("pydantic")

    class Booking(pydantic.BaseModel):
        people: int

    with pytest.raises(openai.LengthFinishReasonError):
        with helpers(client).stream(**{**PLAIN, "max_tokens": 2}, response_format=Booking) as stream:
            stream.until_done()


def test_raw_responses(client):
    raw = client.chat.completions.with_raw_response.create(**PLAIN)
    assert raw.status_code == 200 and raw.headers["content-type"] == "application/json"
    assert raw.request_id == raw.headers["x-request-id"] and int(raw.headers["openai-processing-ms"]) >= 0
    parsed = raw.parse()
    assert parsed.choices[0].message.content and parsed._request_id == raw.request_id
    with client.chat.completions.with_streaming_response.create(**PLAIN, stream=True) as r:
        lines = [x for x in r.iter_lines() if x]
    assert lines[-1] == "data: [DONE]" and all(x.startswith("data: ") for x in lines)
    with pytest.raises(openai.NotFoundError) as e:
        client.files.with_raw_response.retrieve("file-none")
    assert e.value.request_id.startswith("req_")


def test_async():
    import asyncio

    async def ask():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key="unused") as client:
            texts = []
            async for c in await client.chat.completions.create(**PLAIN, stream=True):
                texts.append(c.choices[0].delta.content or "")
            both = await asyncio.gather(*(client.chat.completions.create(**PLAIN) for _ in range(4)))
            return "".join(texts), {r.choices[0].message.content for r in both}

    streamed, whole = asyncio.run(ask())
    assert whole == {streamed}


def test_files_in_all_forms(client, examples, tmp_path):
    body = b"\n".join(examples[:10]) + b"\n"
    path = tmp_path / "rows.jsonl"
    path.write_bytes(body)
    with open(path, "rb") as opened:
        for form in (path, opened, io.BytesIO(body), body, ("rows.jsonl", body), ("rows.jsonl", io.BytesIO(body))):
            f = client.files.create(file=form, purpose="fine-tune")
            assert client.files.wait_for_processing(f.id).status == "processed" and f.bytes == len(body)
            client.files.delete(f.id)


def test_upload_file_chunked(client, examples, tmp_path):
    if not hasattr(client, "uploads"):
        pytest.skip("this SDK has no uploads")
    body = b"\n".join(examples[:30]) + b"\n"
    path = tmp_path / "big.jsonl"
    path.write_bytes(body)
    done = client.uploads.upload_file_chunked(file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=1000,
                                              md5=hashlib.md5(body).hexdigest())
    assert done.status == "completed" and client.files.content(done.file.id).read() == body
    done = client.uploads.upload_file_chunked(file=body, filename="big.jsonl", bytes=len(body), part_size=3000,
                                              mime_type="text/jsonl", purpose="fine-tune")
    assert done.file.filename == "big.jsonl" and client.files.content(done.file.id).read() == body


def test_pages_of_events_while_the_job_runs(client, examples):
    f = client.files.create(file=("train.jsonl", b"\n".join(examples) + b"\n"), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(training_file=f.id, model=MODEL,
                                         hyperparameters={"n_epochs": 50, "batch_size": 2})
    deadline = time.time() + 120
    events = []
    while len(events) < 12 and time.time() < deadline:
        events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    known = [e.id for e in events]
    page = client.fine_tuning.jobs.list_events(job.id, limit=4, after=known[0])
    seen = [e.id for e in page.data]
    for _ in range(2):  # new events come meanwhile; what was asked for stays in its place
        newest = known[0]
        while newest == known[0] and time.time() < deadline:
            newest = client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].id
        assert newest != known[0] and page.has_next_page()
        page = page.get_next_page()
        seen += [e.id for e in page.data]
    assert seen[:len(known) - 1] == known[1:][:len(seen)] and len(set(seen)) == len(seen) and len(seen) >= 11
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
