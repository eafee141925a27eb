"""One server for all tests: tests/e2e/run starts it and passes its address."""
import os

import openai
import pytest

BASE_URL = os.environ["ATTUNE_E2E_URL"]
MODEL = "starter"


@pytest.fixture
def client():
    return openai.OpenAI(base_url=BASE_URL, api_key="unused", max_retries=0)


@pytest.fixture
def examples():
    """the demo's training rows"""
    with open(os.path.join(os.environ["ATTUNE_E2E_ROOT"], "examples", "bookings.train.jsonl"), "rb") as f:
        return f.read().splitlines()
