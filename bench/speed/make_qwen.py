#!/usr/bin/env python3
"""Random weights in Qwen2.5-0.5B's shape with the real tokenizer, and the rows both sides are timed on.

    make_qwen.py TOKENIZER_DIR DATA OUT     TOKENIZER_DIR: Qwen2.5's vocab.json and merges.txt; DATA: gsm8k/, banking77/
"""
import csv, json, random, shutil, sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

tokenizer_dir, data, out = (Path(p) for p in sys.argv[1:4])
torch.manual_seed(1)
config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                     num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                     rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True, torch_dtype="bfloat16")
model = out / "qwen2.5-0.5b-random"
Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(model)
for f in tokenizer_dir.iterdir():
    shutil.copy(f, model)

rng = random.Random(3)
gsm = [json.loads(line) for line in open(data / "gsm8k/train.jsonl")]
bank = list(csv.DictReader(open(data / "banking77/train.csv", newline="")))
rng.shuffle(gsm), rng.shuffle(bank)


def write(name, rows):
    (out / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


words = " ".join(g["question"] + " " + g["answer"] for g in gsm[:2000]).split()
write("full512.jsonl", [{"text": " ".join(words[i * 520:i * 520 + 520])} for i in range(64)])
write("mixed.jsonl", [r for g, b in zip(gsm[:200], bank[:200]) for r in (
    {"prompt": "Question: " + g["question"] + "\nAnswer:", "completion": " " + g["answer"]},
    {"prompt": "Customer: " + b["text"].strip() + "\nLabel:", "completion": " " + b["category"]})])
