"""Writes tests/fixtures/weights: small GGUF files and what gguf-py's reference makes of them.

    python tests/parity/make_gguf.py tests/fixtures/weights
"""
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save_file

out = Path(sys.argv[1])
rng = np.random.default_rng(7)

TYPES = [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_NL]
# byte offsets of the half-precision scales within a block
HALVES = {Q.Q8_0: [0], Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q4_K: [0, 2],
          Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.IQ4_NL: [0]}


def random_rows(qtype, rows, columns):
    """Every bit pattern of the quants; scales finite, of both signs, subnormal ones among them."""
    if qtype in (Q.F32, Q.F16):
        kind = np.float32 if qtype == Q.F32 else np.float16
        x = (rng.standard_normal((rows, columns)) * 0.1).astype(kind)
        x.flat[:6] = [0.0, -0.0, 1.0, -2.5, 6e-8 if qtype == Q.F16 else 1e-40, 65504.0]
        return x.view(np.uint8).reshape(rows, -1)
    if qtype == Q.BF16:
        x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)).bfloat16()
        return x.view(torch.int16).numpy().view(np.uint8).reshape(rows, -1)
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    b = rng.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    for at in HALVES[qtype]:
        scale = (rng.standard_normal(len(b)) * 0.01).astype(np.float16)
        scale[0] = np.float16(3e-7)
        b[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return b.reshape(rows, -1)


def write_types():
    w = gguf.GGUFWriter(out / "types.gguf", "qwen2")
    want = {}
    for i, qtype in enumerate(TYPES):
        raw = random_rows(qtype, 3, 512)
        w.add_tensor(f"blk.{i}.ffn_up.weight", raw, raw_dtype=qtype)
        if qtype in (Q.F32, Q.F16):
            x = raw.view(np.float32 if qtype == Q.F32 else np.float16).astype(np.float32)
        else:
            x = gguf.quants.dequantize(raw, qtype)
        x = torch.from_numpy(x.reshape(3, 512).astype(np.float32))
        want[f"model.layers.{i}.mlp.up_proj.weight"] = x.contiguous()
        want[f"bf16.{i}"] = x.bfloat16().contiguous()
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save_file(want, out / "types.safetensors")


def permute(x, heads):
    """As llama.cpp's convert_hf_to_gguf does for q and k of the llama architecture."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def llama3_factors(dim, theta, factor, original):
    freqs = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    result = []
    for f in freqs:
        wave = 2 * math.pi / f
        if wave < original / 4:
            result.append(1)
        elif wave > original:
            result.append(factor)
        else:
            smooth = (original / wave - 1) / 3
            result.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(result, dtype=np.float32)


def write_llama():
    dim, heads, kv, head_dim, ff, vocab, layers = 32, 4, 2, 8, 48, 40, 2
    shapes = {"attn_norm": ("input_layernorm", (dim,)), "ffn_norm": ("post_attention_layernorm", (dim,)),
              "attn_q": ("self_attn.q_proj", (heads * head_dim, dim)),
              "attn_k": ("self_attn.k_proj", (kv * head_dim, dim)),
              "attn_v": ("self_attn.v_proj", (kv * head_dim, dim)),
              "attn_output": ("self_attn.o_proj", (dim, heads * head_dim)),
              "ffn_gate": ("mlp.gate_proj", (ff, dim)), "ffn_up": ("mlp.up_proj", (ff, dim)),
              "ffn_down": ("mlp.down_proj", (dim, ff))}
    w = gguf.GGUFWriter(out / "llama.gguf", "llama")
    w.add_block_count(layers)
    w.add_embedding_length(dim)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_context_length(131072)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(500000.0)
    w.add_rope_dimension_count(head_dim)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_eot_token_id(7)
    w.add_token_list([f"t{i}" for i in range(vocab)])
    w.add_token_scores([-i / 2 for i in range(vocab)])
    want = {}

    def add(name, hf, shape, heads_of=0):
        x = rng.standard_normal(shape).astype(np.float32)
        want[hf] = torch.from_numpy(x)
        w.add_tensor(name, np.ascontiguousarray(permute(x, heads_of) if heads_of else x))

    add("token_embd.weight", "model.embed_tokens.weight", (vocab, dim))
    add("output_norm.weight", "model.norm.weight", (dim,))
    add("output.weight", "lm_head.weight", (vocab, dim))
    for i in range(layers):
        for name, (hf, shape) in shapes.items():
            heads_of = {"attn_q": heads, "attn_k": kv}.get(name, 0)
            add(f"blk.{i}.{name}.weight", f"model.layers.{i}.{hf}.weight", shape, heads_of)
    w.add_tensor("rope_freqs.weight", llama3_factors(head_dim, 500000.0, 8.0, 8192))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save_file(want, out / "llama.safetensors")


out.mkdir(parents=True, exist_ok=True)
write_types()
write_llama()
