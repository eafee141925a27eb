#!/usr/bin/env python3
"""Holds the program's fixed command forms against transformers and PEFT, from outside.

    against_transformers.py ATTUNE TOKENIZER_DIR [EXTRA_MODEL_DIR ...]

Random models of every family, odd sizes, with TOKENIZER_DIR's tokenizer: score (log-probabilities), generate (greedy
64), an adapter from PEFT (score), tune (20 losses and gradient norms against PEFT; the adapter loads in PEFT with equal
logits), tune --method full (10 losses against AdamW on all weights). Prints the largest difference of each; exits 1 on a
miss.
"""
import json, math, shutil, subprocess, sys, tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (AutoModelForCausalLM, AutoTokenizer, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)

torch.set_num_threads(1)
attune, tokenizer_dir, extra = sys.argv[1], Path(sys.argv[2]), [Path(p) for p in sys.argv[3:]]
tmp = Path(tempfile.mkdtemp(prefix="attune-parity-"))
tok = AutoTokenizer.from_pretrained(tokenizer_dir)
failures = 0
TEXT = ("Once upon a time, there was a little dog named Max. He liked to run in the park and play with his red ball. "
        "One day it rained, and Max stayed home with his friend Lily; they read a big book together until night. ") * 3


def families():
    common = dict(vocab_size=len(tok), bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id)
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 64, "rope_theta": 500000.0}
    yield "llama", LlamaConfig(hidden_size=60, intermediate_size=92, num_hidden_layers=3, num_attention_heads=6,
                               num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, **common)
    yield "llama-3.1", LlamaConfig(hidden_size=64, intermediate_size=100, num_hidden_layers=3, num_attention_heads=4,
                                   num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
                                   rope_parameters=llama3, **common)
    yield "mistral", MistralConfig(hidden_size=48, intermediate_size=70, num_hidden_layers=3, num_attention_heads=6,
                                   num_key_value_heads=3, max_position_embeddings=512, sliding_window=7, **common)
    yield "qwen2", Qwen2Config(hidden_size=56, intermediate_size=90, num_hidden_layers=3, num_attention_heads=4,
                               num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True, **common)
    yield "qwen3", Qwen3Config(hidden_size=40, intermediate_size=66, num_hidden_layers=3, num_attention_heads=4,
                               num_key_value_heads=2, head_dim=18, max_position_embeddings=512, **common)


def report(name, what, value, limit):
    global failures
    bad = not value <= limit
    failures += bad
    print(f"{'MISS' if bad else 'ok  '} {name:12} {what:44} {value:.3g} (limit {limit:g})", flush=True)


def run(*args, text=None):
    r = subprocess.run([attune, *map(str, args)], input=text, capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"attune {args[0]} failed: {r.stderr}")
    return r.stdout


def logprobs(model, text):
    ids = torch.tensor([tok(text)["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits[0].float()
    return ids[0].tolist(), torch.log_softmax(logits[:-1], -1)[range(ids.shape[1] - 1), ids[0, 1:]], logits.abs().max()


def check_score(name, what, directory, model, *options):
    want_ids, want, top = logprobs(model, TEXT)
    lines = [json.loads(x) for x in run("score", "--model", directory, "--dtype", "f32", *options, text=TEXT).splitlines()]
    assert [x["id"] for x in lines] == want_ids, f"{name}: ids differ"
    assert lines[0]["logprob"] is None
    got = torch.tensor([x["logprob"] for x in lines[1:]])
    report(name, what, float((got - want).abs().max() / top), 1e-4)


def check_generate(name, directory, model):
    for prompt in ("Once upon a time", "The dog", "Lily and Tom"):
        ids = tok(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)[0, ids.shape[1]:].tolist()
        if out and out[-1] == model.generation_config.eos_token_id:
            out.pop()
        got = json.loads(run("generate", "--model", directory, "--dtype", "f32", "--prompt", prompt, "--temperature", "0",
                             "--max-tokens", "64", "--json"))
        report(name, f"greedy ids that differ, {prompt!r}", sum(a != b for a, b in zip(out, got["ids"])) + abs(len(out) - len(got["ids"])), 0)


def rows():
    words = TEXT.split()
    out = []
    for i in range(24):
        n = 4 + (i * 7) % 19
        out.append({"prompt": " ".join(words[i:i + n]), "completion": " " + " ".join(words[i + n:i + n + 3 + i % 5])})
    return out


def encoded(row):
    """ids, and how many are context: where prompt and completion share a token, it is trained"""
    full = tok(row["prompt"] + row["completion"], add_special_tokens=True)["input_ids"] + [tok.eos_token_id]
    prompt = tok(row["prompt"])["input_ids"]
    n = 0
    while n < len(prompt) and prompt[n] == full[n]:
        n += 1
    return full, n


def reference_losses(model, data, steps, batch, lr, decay, warmup, clip=1.0):
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    losses, norms = [], []
    for step in range(1, steps + 1):
        chosen = [data[((step - 1) * batch + i) % len(data)] for i in range(batch)]
        total = sum(len(full) - max(n, 1) for full, n in map(encoded, chosen))
        loss = 0
        for row in chosen:
            full, n = encoded(row)
            x = torch.tensor([full])
            nll = torch.nn.functional.cross_entropy(model(x).logits[0, :-1].float(), x[0, 1:], reduction="none")
            loss = loss + nll[max(n, 1) - 1:].sum() / total
        for g in opt.param_groups:
            g["lr"] = lr * step / warmup if step <= warmup else lr * (
                0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))
        opt.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, clip)))
        opt.step()
        losses.append(float(loss))
    return losses, norms


def check_tune(name, directory, model, data_file, init, steps, full):
    out, metrics = tmp / f"{name}-{'full' if full else 'lora'}", tmp / f"{name}.jsonl"
    options = ["--method", "full"] if full else ["--init", init]
    lr = 1e-3 if full else 5e-3
    run("tune", "--base", directory, "--data", data_file, "--out", out, "--metrics", metrics, "--steps", steps, "--batch-size", 4,
        "--shuffle", 0, "--lr", lr, "--schedule", "cosine", "--warmup-steps", 3, "--weight-decay", 0.01, "--clip", 1.0, "--dropout", 0,
        "--dtype", "f32", "--seed", 1, *options)
    lines = [x for x in map(json.loads, open(metrics)) if "loss" in x]
    losses, norms = reference_losses(model, rows(), steps, 4, lr, 0.01, 3)
    kind = "full" if full else "LoRA"
    report(name, f"{kind} losses of {steps} steps", max(abs(a["loss"] / b - 1) for a, b in zip(lines, losses)), 1e-4)
    report(name, f"{kind} gradient norms", max(abs(a["grad_norm"] / b - 1) for a, b in zip(lines, norms)), 1e-3)
    return out


def check_family(name, config):
    torch.manual_seed(11)
    directory = tmp / name
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for p in model.parameters():  # visible logits: random initial weights would give a flat distribution
        p.data.mul_(4 if p.dim() > 1 else 1)
    for key, p in model.named_parameters():
        if key.endswith("bias") or "norm" in key:
            p.data.add_(torch.randn_like(p) * 0.1)
    model.generation_config.eos_token_id = tok.eos_token_id
    model.save_pretrained(directory)
    for f in tokenizer_dir.glob("*token*"):
        shutil.copy(f, directory)
    check_score(name, "log-probabilities / largest logit", directory, model.eval())
    check_generate(name, directory, model)
    data_file = tmp / "rows.jsonl"
    data_file.write_text("".join(json.dumps(r) + "\n" for r in rows()))
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"))
    for key, p in lora.named_parameters():
        if "lora_B" in key:
            p.data.normal_(0, 0.05)
    init = tmp / f"{name}-init"
    lora.save_pretrained(init)
    check_score(name, "log-probabilities with PEFT's adapter", directory, lora.eval(), "--adapter", init)
    out = check_tune(name, directory, lora.train(), data_file, init, 20, False)
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    check_score(name, "our adapter loaded by PEFT", directory, PeftModel.from_pretrained(base, out).eval(), "--adapter", out)
    whole = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).train()
    out = check_tune(name, directory, whole, data_file, None, 10, True)
    check_score(name, "our tuned model loaded by transformers", out, AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval())


for name, config in families():
    check_family(name, config)
for directory in extra:
    tok = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    check_score(directory.name[:12], "log-probabilities / largest logit", directory, model)
    check_generate(directory.name[:12], directory, model)
shutil.rmtree(tmp)
print("all within limits" if not failures else f"{failures} misses")
sys.exit(failures > 0)
