#!/usr/bin/env python3
"""The peer: the same recipe with transformers + PEFT, padded batches as its trainer makes them.

    peft_tune.py MODEL DATA.jsonl OUT [--steps N] [--epochs E] [--dtype float32|bfloat16] [--threads 2]
                 [--rank 16 --alpha 32 --lr 5e-4 --batch 8] [--test TEST.jsonl --grader exact|json]
                 [--in-order] [--times]

MODEL is a directory (e.g. attune export of a GGUF). Rows are chat, prompt/completion or text; answers and
completions are trained, of text everything. Prints one JSON line: rows/s, trained tokens/s, seconds, peak memory,
final loss, and with --test the exact-match score. --in-order takes the rows as the file has them; --times adds the
seconds of every step.
"""
import argparse, json, math, os, random, resource, time

p = argparse.ArgumentParser()
p.add_argument("model"), p.add_argument("data"), p.add_argument("out")
p.add_argument("--steps", type=int, default=0), p.add_argument("--epochs", type=int, default=3)
p.add_argument("--dtype", default="float32"), p.add_argument("--threads", type=int, default=2)
p.add_argument("--rank", type=int, default=16), p.add_argument("--alpha", type=int, default=32)
p.add_argument("--lr", type=float, default=5e-4), p.add_argument("--batch", type=int, default=8)
p.add_argument("--test"), p.add_argument("--grader", default="exact"), p.add_argument("--limit", type=int, default=0)
p.add_argument("--max-length", type=int, default=1 << 30)
p.add_argument("--in-order", action="store_true"), p.add_argument("--times", action="store_true")
a = p.parse_args()
os.environ["OMP_NUM_THREADS"] = str(a.threads)

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(a.threads)
torch.manual_seed(42)
random.seed(42)
tok = AutoTokenizer.from_pretrained(a.model)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.dtype))
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=a.rank, lora_alpha=a.alpha, lora_dropout=0.0, target_modules=targets,
                                         task_type="CAUSAL_LM"))


def render(row):
    """token ids and how many of them are context"""
    if "text" in row:
        return tok(row["text"], add_special_tokens=False)["input_ids"] + [tok.eos_token_id], 0
    if "prompt" in row:
        prompt = tok(row["prompt"], add_special_tokens=False)["input_ids"]
        return prompt + tok(row["completion"], add_special_tokens=False)["input_ids"] + [tok.eos_token_id], len(prompt)
    m = row["messages"]
    prompt = tok.apply_chat_template(m[:-1], tokenize=False, add_generation_prompt=True)
    full = tok.apply_chat_template(m, tokenize=False)
    n = len(tok(prompt, add_special_tokens=False)["input_ids"])
    ids = tok(full.rstrip("\n"), add_special_tokens=False)["input_ids"]
    return ids, n


rows = []
for line in open(a.data):
    ids, n = render(json.loads(line))
    rows.append((ids[:a.max_length], n))


def batches():
    for _ in range(a.epochs):
        order = list(range(len(rows)))
        if not a.in_order:
            random.shuffle(order)
        for i in range(0, len(order), a.batch):
            yield [rows[k] for k in order[i:i + a.batch]]


total = a.steps or a.epochs * math.ceil(len(rows) / a.batch)
params = [q for q in model.parameters() if q.requires_grad]
opt = torch.optim.AdamW(params, lr=a.lr, weight_decay=0.01)
warm = max(1, round(total * 0.05))
pad = tok.pad_token_id if tok.pad_token_id is not None else 0
model.train()
seconds, counted, trained, tokens, times = 0.0, 0, 0, 0, []
for step, batch in enumerate(batches(), 1):
    if step > total:
        break
    start = time.time()
    longest = max(len(ids) for ids, _ in batch)
    x = torch.full((len(batch), longest), pad)
    y = torch.full((len(batch), longest), -100)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for i, (ids, n) in enumerate(batch):
        x[i, :len(ids)] = torch.tensor(ids)
        y[i, n:len(ids)] = torch.tensor(ids[n:])
        mask[i, :len(ids)] = 1
    lr = a.lr * step / warm if step <= warm else a.lr * (
        0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))))
    for g in opt.param_groups:
        g["lr"] = lr
    loss = model(input_ids=x, attention_mask=mask, labels=y).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    opt.zero_grad()
    times.append(time.time() - start)
    if step > 1:  # the first step pays for one-time set-up
        seconds += times[-1]
        counted += len(batch)
        trained += int((y != -100).sum())
        tokens += int(mask.sum())
result = {"rows_per_s": counted / seconds, "trained_tokens_per_s": trained / seconds, "tokens_per_s": tokens / seconds,
          "seconds": seconds, "loss": loss.item(), "dtype": a.dtype,
          "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
if a.times:
    result["times"] = times
model.save_pretrained(a.out)
if a.test:
    model.eval()
    right = n = 0
    for line in list(open(a.test))[:a.limit or None]:
        m = json.loads(line)["messages"]
        ids = tok.apply_chat_template(m[:-1], add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            out = model.generate(**ids, max_new_tokens=200, do_sample=False)
        text = tok.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip()
        want = m[-1]["content"].strip()
        if a.grader == "json":
            try:
                right += json.loads(text) == json.loads(want)
            except ValueError:
                pass
        else:
            right += text == want
        n += 1
    result["score"], result["n"] = right / n, n
print(json.dumps(result))
