"""What is sent when a job or a batch ends, as the SDK's unwrap() reads it."""
import http.server
import json
import queue
import subprocess
import threading

import openai
import pytest
from conftest import MODEL, PROGRAM, Server


@pytest.fixture
def received():
    got = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.put((self.rfile.read(int(self.headers["content-length"])), dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield got, f"http://127.0.0.1:{listener.server_port}/hook"
    listener.shutdown()
    listener.server_close()


def test_messages(client, received, tmp_path, examples):
    if not hasattr(client, "webhooks"):
        pytest.skip("this SDK has no webhooks")
    got, url = received
    server = Server(tmp_path)
    try:
        added = subprocess.run([PROGRAM, "webhook", "add", url], env=server.env, check=True, capture_output=True,
                               text=True).stdout
        secret = next(w for w in added.split() if w.startswith("whsec_"))
        client = server.client(webhook_secret=secret)
        f = client.files.create(file=("train.jsonl", b"\n".join(examples[:3])), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model=MODEL, training_file=f.id)
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}}
        f = client.files.create(file=("batch.jsonl", json.dumps(line).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=f.id, endpoint="/v1/chat/completions", completion_window="24h")
        events = {}
        for _ in range(2):
            body, headers = got.get(timeout=60)
            e = client.webhooks.unwrap(body, headers)
            assert e.object == "event" and e.id.startswith("evt_") and headers["webhook-id"]
            events[e.type] = e.data.id
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.unwrap(body + b" ", headers)
        assert events == {"fine_tuning.job.failed": job.id, "batch.completed": batch.id}
    finally:
        server.stop()
