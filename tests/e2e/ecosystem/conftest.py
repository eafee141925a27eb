"""Programs that speak OpenAI's API through other libraries; only the address and the model change."""
import os

import pytest

BASE_URL = os.environ["ATTUNE_E2E_URL"]
MODEL = "starter"
QUESTION = "Tell me about a cat."
# keys that libraries look for, and what they would tell the net: neither is wanted here
os.environ.update(OPENAI_API_KEY="unused", OPENAI_BASE_URL=BASE_URL, LITELLM_LOCAL_MODEL_COST_MAP="True",
                  LANGCHAIN_TRACING_V2="false")


@pytest.fixture(scope="session")
def plain():
    """what the server answers to a plain request"""
    import openai
    client = openai.OpenAI(base_url=BASE_URL, api_key="unused")
    r = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0,
                                       max_tokens=20)
    return r.choices[0].message.content
