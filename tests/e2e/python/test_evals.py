import json
import time

import openai
import pytest
from conftest import MODEL

CHECK = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.want}}",
         "operation": "eq"}
CUSTOM = {"type": "custom", "item_schema": {"type": "object", "properties": {"want": {"type": "string"}}},
          "include_sample_schema": True}


@pytest.fixture
def evals(client):
    if not hasattr(client, "evals"):
        pytest.skip("this SDK has no evals")
    return client.evals


def finish(evals, run):
    deadline = time.time() + 120
    while time.time() < deadline:
        run = evals.runs.retrieve(run.id, eval_id=run.eval_id)
        if run.status not in ("queued", "in_progress"):
            return run
        time.sleep(0.1)
    raise AssertionError("the run does not end")


def test_answers_are_made_and_graded(client, evals):
    e = evals.create(name="python", data_source_config=CUSTOM, testing_criteria=[CHECK, {
        "type": "label_model", "name": "any", "model": MODEL, "labels": ["good", "bad"], "passing_labels": ["good", "bad"],
        "input": [{"role": "user", "content": "{{sample.output_text}}"}]}])
    rows = "".join(json.dumps({"item": {"want": w}}) + "\n" for w in ("a", "b", "c"))
    f = client.files.create(file=("rows.jsonl", rows.encode()), purpose="evals")
    run = evals.runs.create(e.id, name="first", data_source={
        "type": "completions", "model": MODEL, "source": {"type": "file_id", "id": f.id},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "Say {{item.want}}."}]},
        "sampling_params": {"temperature": 0, "max_completion_tokens": 8}})
    done = finish(evals, run)
    assert done.status == "completed" and done.result_counts.total == 3 and done.result_counts.errored == 0
    assert done.per_model_usage[0].invocation_count == 6
    items = list(evals.runs.output_items.list(run.id, eval_id=e.id, limit=1))
    assert [i.datasource_item_id for i in items] == [0, 1, 2]
    assert evals.runs.output_items.retrieve(items[1].id, eval_id=e.id, run_id=run.id).id == items[1].id
    assert items[0].sample.output[0].content
    assert e.id in [x.id for x in evals.list(limit=2)]
    assert evals.runs.delete(run.id, eval_id=e.id).deleted and evals.delete(e.id).deleted
    with pytest.raises(openai.NotFoundError):
        evals.retrieve(e.id)


def test_a_run_is_canceled(evals):
    e = evals.create(data_source_config=CUSTOM, testing_criteria=[CHECK])
    run = evals.runs.create(e.id, data_source={
        "type": "completions", "model": MODEL,
        "source": {"type": "file_content", "content": [{"item": {"want": "x"}}] * 200},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "Say {{item.want}}."}]}})
    assert evals.runs.cancel(run.id, eval_id=e.id).status == "canceled"
    assert finish(evals, run).status == "canceled"


def test_graders_are_tried(client):
    alpha = getattr(client.fine_tuning, "alpha", None)
    if alpha is None:
        pytest.skip("this SDK has no graders")
    assert alpha.graders.run(grader=CHECK, item={"want": "x"}, model_sample="x").reward == 1
    assert alpha.graders.validate(grader=CHECK).grader.name == "same"
    with pytest.raises(openai.BadRequestError, match="switched off"):
        alpha.graders.validate(grader={"type": "python", "name": "p", "source": "x"})
