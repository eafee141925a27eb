"""Makes tests/fixtures/train: tiny models, a PEFT adapter each, and what PyTorch + PEFT compute from them.

    python tests/parity/make_train.py            (needs torch, transformers, peft, safetensors)

For llama, qwen2 and qwen3: losses and gradient norms of 20 AdamW steps and every LoRA gradient of step 1.
For llama once more with all weights trained. F32, one row at a time (no padding), dropout 0.
"""
import json
import math
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

OUT = os.path.join(os.path.dirname(__file__), "..", "fixtures", "train")
VOCAB, STEPS, BATCH, LR, WARMUP, DECAY, CLIP = 260, 20, 4, 5e-3, 3, 0.01, 1.0
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def configs():
    common = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=56, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                  rms_norm_eps=1e-5, bos_token_id=256, eos_token_id=257, initializer_range=0.1)
    yield "llama", LlamaConfig(**common, tie_word_embeddings=True)
    yield "qwen2", Qwen2Config(**common, tie_word_embeddings=False)
    yield "qwen3", Qwen3Config(**common, head_dim=12, tie_word_embeddings=True)


def make_rows():
    g = torch.Generator().manual_seed(7)
    rows = []
    for n in [9, 21, 5, 33, 14, 2, 17, 26, 40, 8, 12]:
        ids = torch.randint(0, VOCAB, (n,), generator=g).tolist()
        first = max(1, n // 3)
        weights = [0.0] * first + [1.0] * (n - first)
        if n == 33:  # a message in the middle of lower weight, another of none
            weights[15:20] = [0.5] * 5
            weights[24:28] = [0.0] * 4
        rows.append({"ids": ids, "train": weights})
    return rows


def rate(step):
    if step <= WARMUP:
        return LR * step / WARMUP
    done = (step - WARMUP) / (STEPS - WARMUP)
    return LR * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def step_loss(model, rows):
    weight = sum(sum(r["train"]) for r in rows)
    total = 0
    for r in rows:
        ids = torch.tensor([r["ids"]])
        logits = model(input_ids=ids).logits[0, :-1].float()
        nll = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        total = total + (nll * torch.tensor(r["train"][1:])).sum()
    return total / weight


def train(model, rows):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    params = [p for _, p in named]
    opt = torch.optim.AdamW(params, lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)
    losses, norms, grads = [], [], {}
    per_epoch = (len(rows) + BATCH - 1) // BATCH
    for step in range(1, STEPS + 1):
        at = (step - 1) % per_epoch * BATCH
        opt.zero_grad()
        loss = step_loss(model, rows[at:at + BATCH])
        loss.backward()
        if step == 1:
            grads = {"grad." + n.replace(".default", ""): p.grad.clone().contiguous() for n, p in named}
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, CLIP)))
        for group in opt.param_groups:
            group["lr"] = rate(step)
        opt.step()
        losses.append(float(loss))
    return {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms), **grads}


def randomise(model):
    """norms and biases too: at one and zero they would hide mistakes"""
    g = torch.Generator().manual_seed(11)
    for name, p in model.named_parameters():
        if p.dim() == 1:
            p.data = (1.0 if "norm" in name else 0.0) + 0.2 * torch.randn(p.shape, generator=g)


def write_tokenizer(path):
    """a byte-level tokenizer of 256 bytes and four specials, with a chat template"""
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars, more = {}, 0
    for b in range(256):
        if b in kept:
            chars[b] = chr(b)
        else:
            chars[b] = chr(256 + more)
            more += 1
    vocab = {chars[b]: b for b in range(256)}
    specials = ["<s>", "</s>", "<user>", "<bot>"]
    added = [{"id": 256 + i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, s in enumerate(specials)]
    tok = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
           "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
           "post_processor": None,
           "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
           "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                     "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                     "ignore_merges": False, "vocab": vocab, "merges": []}}
    with open(os.path.join(path, "tokenizer.json"), "w") as f:
        json.dump(tok, f, ensure_ascii=False)
    template = ("{% for m in messages %}{{ '<user>' if m.role == 'user' else '<bot>' }}{{ m.content }}"
                "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
                "{% if add_generation_prompt %}<bot>{% endif %}")
    with open(os.path.join(path, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
                   "chat_template": template}, f)


def main():
    rows = make_rows()
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "rows.json"), "w") as f:
        json.dump({"rows": rows, "batch": BATCH, "steps": STEPS, "lr": LR, "warmup": WARMUP,
                   "decay": DECAY, "clip": CLIP}, f)
    for name, config in configs():
        path = os.path.join(OUT, name)
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        randomise(model)
        model.save_pretrained(path)
        if name == "llama":
            write_tokenizer(path)
            full = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
            full.train()
            save_file(train(full, rows), os.path.join(path, "full.safetensors"))
        lora = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, lora_dropout=0.0, target_modules=TARGETS,
                                                bias="none", task_type="CAUSAL_LM"))
        g = torch.Generator().manual_seed(5)
        for n, p in lora.named_parameters():
            if "lora_B" in n:
                p.data = 0.1 * torch.randn(p.shape, generator=g)
        lora.save_pretrained(os.path.join(path, "adapter"))
        lora.train()
        save_file(train(lora, rows), os.path.join(path, "lora.safetensors"))
        for f in ["README.md"]:
            extra = os.path.join(path, "adapter", f)
            if os.path.exists(extra):
                os.remove(extra)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
