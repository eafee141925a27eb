#!/usr/bin/env python3
"""Tiny random models of every decoder family with what transformers and PEFT compute for them.

    python3 tests/parity/make_models.py            writes tests/fixtures/models/

Each NAME/ holds config.json, model.safetensors (BF16, F16 or F32) and expected.safetensors:
    ids     (n)        input ids
    rows    (r)        positions whose logits are kept
    logits  (r, vocab)
    greedy  (64)       what greedy decoding adds to the first 16 ids
Adapters lie in NAME/adapter/, with expected.safetensors of the adapted model beside their weights.
"""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "fixtures", "models")
VOCAB = 71

# Stored types; weights are rounded to them first, so F32 arithmetic on them is exact.
STORED = {"llama_linear": torch.float32, "llama3": torch.float16}

# name: (config, tokens)
MODELS = {
    "llama": (dict(model_type="llama", hidden_size=60, num_attention_heads=6, num_key_value_heads=2,
                   intermediate_size=46, num_hidden_layers=2, tie_word_embeddings=True), 75),
    "llama2": (dict(model_type="llama", hidden_size=30, num_attention_heads=3, num_key_value_heads=3,
                    intermediate_size=42, num_hidden_layers=2, tie_word_embeddings=False,
                    rms_norm_eps=1e-5), 75),
    "llama3": (dict(model_type="llama", hidden_size=32, num_attention_heads=2, num_key_value_heads=1,
                    intermediate_size=40, num_hidden_layers=3, tie_word_embeddings=False,
                    max_position_embeddings=512,
                    rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0,
                                         low_freq_factor=1.0, high_freq_factor=4.0,
                                         original_max_position_embeddings=32)), 150),
    "llama_linear": (dict(model_type="llama", hidden_size=24, num_attention_heads=2,
                          num_key_value_heads=2, intermediate_size=28, num_hidden_layers=2,
                          tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
                          rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
                     75),
    "mistral": (dict(model_type="mistral", hidden_size=40, num_attention_heads=4,
                     num_key_value_heads=2, intermediate_size=44, num_hidden_layers=2,
                     tie_word_embeddings=False, sliding_window=7), 75),
    "qwen2": (dict(model_type="qwen2", hidden_size=56, num_attention_heads=7, num_key_value_heads=1,
                   intermediate_size=44, num_hidden_layers=2, tie_word_embeddings=True,
                   rope_theta=1000000.0), 75),
    "qwen2_window": (dict(model_type="qwen2", hidden_size=32, num_attention_heads=4,
                          num_key_value_heads=2, intermediate_size=40, num_hidden_layers=3,
                          tie_word_embeddings=True, use_sliding_window=True, sliding_window=9,
                          max_window_layers=1), 75),
    "qwen3": (dict(model_type="qwen3", hidden_size=44, num_attention_heads=3, num_key_value_heads=1,
                   head_dim=22, intermediate_size=50, num_hidden_layers=2,
                   tie_word_embeddings=False), 75),
}
ADAPTERS = {
    # model: (directory, LoRA options)
    "llama": [("adapter", dict(r=2, lora_alpha=7, target_modules="all-linear")),
              ("adapter_qv", dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"],
                                  use_rslora=True))],
    "qwen2": [("adapter", dict(r=4, lora_alpha=4, target_modules=r".*\.(o_proj|down_proj)"))],
}
KEEP = [0, 1, 2, 6, 7, 8, 15, 31, 63, -2, -1]


def randomise(model, seed, stored):
    """Weights large enough that attention and gates matter, norms and biases away from 1 and 0."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.3 * noise)
            else:
                p.copy_(noise * (1.5 / p.shape[1]) ** 0.5)
            p.copy_(p.to(stored).float())


def expected(model, ids, path):
    rows = sorted({k % len(ids) for k in KEEP})
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        prompt = list(ids[:16])
        for _ in range(64):  # without a cache: nothing but the forward pass is trusted
            step = model(torch.tensor([prompt]), use_cache=False).logits[0, -1]
            prompt.append(int(step.argmax()))
            top = torch.topk(step, 2).values
            if top[0] - top[1] < 1e-3:
                print(f"  close call at {len(prompt)}: {float(top[0] - top[1]):.2e}")
    save_file({"ids": torch.tensor(ids, dtype=torch.float32),
               "rows": torch.tensor(rows, dtype=torch.float32),
               "logits": logits[rows].contiguous(),
               "greedy": torch.tensor(prompt[16:], dtype=torch.float32)}, path)


def make(name, options, tokens, seed):
    where = os.path.join(OUT, name)
    os.makedirs(where, exist_ok=True)
    options = dict(options)
    config = AutoConfig.for_model(options.pop("model_type"), vocab_size=VOCAB, bos_token_id=1,
                                  eos_token_id=None, pad_token_id=None,
                                  max_position_embeddings=options.pop("max_position_embeddings", 256),
                                  **options)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    stored = STORED.get(name, torch.bfloat16)
    randomise(model, seed, stored)
    ids = torch.randint(0, VOCAB, (tokens,), generator=torch.Generator().manual_seed(seed)).tolist()
    expected(model, ids, os.path.join(where, "expected.safetensors"))
    model.to(stored).save_pretrained(where)
    generation = os.path.join(where, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    for directory, options in ADAPTERS.get(name, []):
        target = os.path.join(where, directory)
        base = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32,
                                                    attn_implementation="eager")
        tuned = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
        g = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for key, p in tuned.named_parameters():
                if "lora_" in key:
                    p.copy_(0.3 * torch.randn(p.shape, generator=g))
        tuned.save_pretrained(target)
        card = os.path.join(target, "README.md")
        if os.path.exists(card):
            os.remove(card)
        path = os.path.join(target, "adapter_config.json")
        with open(path) as f:
            adapter_config = json.load(f)
        adapter_config["base_model_name_or_path"] = name
        with open(path, "w") as f:
            json.dump(adapter_config, f, indent=2, sort_keys=True)
            f.write("\n")
        expected(tuned, ids, os.path.join(target, "expected.safetensors"))


def main():
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or list(MODELS)
    if not sys.argv[1:]:
        shutil.rmtree(OUT, ignore_errors=True)
    for i, name in enumerate(MODELS):
        if name in chosen:
            print(name)
            make(name, *MODELS[name], seed=100 + i)


if __name__ == "__main__":
    main()
