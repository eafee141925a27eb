#!/usr/bin/env python3
"""Hold `attune generate` and `attune score` against transformers on one model.

    python3 tests/parity/compare_model.py build/release/attune MODEL [--prompt TEXT] [--tokens N]
                                          [--text FILE] [--adapter DIR]

MODEL is a directory or a GGUF file, which transformers dequantises. Both sides read the ids of
attune's tokenizer: a GGUF's vocabulary is read as llama.cpp reads it, not as transformers does.
Prints the largest difference of log-probabilities over the text and whether the greedy ids agree.
"""
import argparse
import json
import os
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "Once upon a time, there was a little girl named"
TEXT = """Tom and Lily went to the park. They saw a big dog, and the dog had a red ball in its mouth.
"Can we play with you?" asked Tom. The dog ran around them three times and put the ball on the grass.
Lily threw it as far as she could. They played until the sun went down, then they all walked home together.
"""


def load(path, adapter):
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    where = path
    if path.endswith(".gguf"):
        where, options["gguf_file"] = os.path.split(path)
    model = AutoModelForCausalLM.from_pretrained(where, **options).eval()
    if adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(where, **({"gguf_file": options["gguf_file"]}
                                                        if path.endswith(".gguf") else {}))
    return model, tokenizer


def attune(args, stdin=""):
    run = subprocess.run(args, input=stdin.encode(), capture_output=True)
    if run.returncode:
        sys.exit(f"{' '.join(args)}: {run.stderr.decode()}")
    return run.stdout.decode()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attune")
    p.add_argument("model")
    p.add_argument("--prompt", default=PROMPT)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--text")
    p.add_argument("--adapter")
    o = p.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    more = ["--dtype", "f32"] + (["--adapter", o.adapter] if o.adapter else [])
    model, tokenizer = load(o.model, o.adapter)
    text = open(o.text, encoding="utf-8").read() if o.text else TEXT

    lines = [json.loads(line) for line in
             attune([o.attune, "score", "--model", o.model] + more, text).splitlines()]
    ids = [line["id"] for line in lines]
    want_ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
        want = torch.log_softmax(logits, -1)
    worst = max(abs(line["logprob"] - float(want[i, line["id"]]))
                for i, line in enumerate(lines[1:]))
    print(f"score: {len(ids)} tokens, ids {'equal' if ids == want_ids else 'DIFFER'}, largest difference of "
          f"log-probabilities {worst:.2e} (largest logit {float(logits.abs().max()):.2f})")

    got = json.loads(attune([o.attune, "generate", "--model", o.model, "--prompt", o.prompt, "--temperature",
                             "0", "--max-tokens", str(o.tokens), "--json"] + more))
    prompt = json.loads(attune([o.attune, "tokenize", "--model", o.model], o.prompt))
    with torch.no_grad():
        out = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=o.tokens, do_sample=False,
                             attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                             pad_token_id=0)[0].tolist()[len(prompt):]
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    if out and out[-1] in stops:
        out = out[:-1]
    same = next((i for i, (a, b) in enumerate(zip(got["ids"], out)) if a != b), min(len(out), len(got["ids"])))
    whole, before = (tokenizer.decode(x, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                     for x in (prompt + out, prompt))
    equal = got["ids"] == out
    print(f"greedy: {same} of {len(out)} ids {'equal' if equal else 'DIFFER'}, "
          f"text {'equal' if got['text'] == whole[len(before):] else 'DIFFERS'}, finish {got['finish_reason']}")
    print(json.dumps(got["text"]))
    if not equal or worst > 1e-3:
        sys.exit(1)


if __name__ == "__main__":
    main()
