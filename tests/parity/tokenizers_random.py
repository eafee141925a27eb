#!/usr/bin/env python3
"""Small random BPE models, ids against the `tokenizers` package: unknown characters, incomplete fallback
bytes, affixes, added tokens whose ids are taken.  tokenizers_random.py DRIVER [MODELS] [SEED]"""
import json, os, random, struct, subprocess, sys, tempfile
from tokenizers import Tokenizer

LETTERS = "abé中"


def flip(rng):
    return rng.random() < 0.5


def model(rng):
    known = [c for c in LETTERS if rng.random() < 0.8]
    prefix = rng.choice([None] * 6 + ["##"])
    suffix = rng.choice([None] * 6 + ["</w>"])
    parts = known + [(prefix or "") + c for c in known] + [c + (suffix or "") for c in known]
    bytes_ = [f"<0x{b:02X}>" for b in set("".join(LETTERS + "#</w>").encode()) if rng.random() < 0.8]
    unk = rng.choice([None, "<unk>", "a" if "a" in known else None])
    vocab, merges = list(dict.fromkeys(parts + bytes_ + ["<unk>"] + [""] * (rng.random() < 0.1))), []
    for _ in range(rng.randrange(8)):
        left, right = rng.choice(vocab), rng.choice(vocab)
        if " " in left + right or prefix and not right.startswith(prefix):
            continue
        joined = left + right[len(prefix or ""):]
        if joined not in vocab:
            vocab.append(joined)
        merges.append([left, right])
    contents = [c for c in ("<s>", "b", "ab", "é<") if rng.random() < 0.3]
    added = [dict(id=rng.randrange(len(vocab) + 3), content=c, single_word=False, lstrip=False, rstrip=False,
                  normalized=False, special=flip(rng)) for c in contents]
    pre = rng.choice([None, None, {"type": "WhitespaceSplit"}])
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": pre, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": prefix,
                      "end_of_word_suffix": suffix, "fuse_unk": flip(rng), "byte_fallback": flip(rng),
                      "ignore_merges": rng.random() < 0.1, "vocab": {t: i for i, t in enumerate(vocab)},
                      "merges": merges}}


def requests(texts):
    return b"".join(b"e" + struct.pack("<I", len(t.encode())) + t.encode() for t in texts)


def ours(driver, folder, texts):
    p = subprocess.run([driver, folder], input=requests(texts), capture_output=True, check=True)
    at, ids = 0, []
    for _ in texts:
        (n,) = struct.unpack_from("<I", p.stdout, at)
        ids.append(list(struct.unpack_from(f"<{n}i", p.stdout, at + 4)))
        at += 4 + 4 * n
    return ids


def main():
    driver, models, seed = sys.argv[1], *(int(x) for x in (sys.argv[2:] + ["500", "1"][len(sys.argv) - 2:]))
    rng, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(models):
            spec = model(rng)
            texts = ["".join(rng.choice(LETTERS + "ab ñ" + "<") for _ in range(rng.randrange(60))) for _ in range(50)]
            texts += [t + "<s>" for t in texts]
            with open(os.path.join(folder, "tokenizer.json"), "w") as f:
                json.dump(spec, f)
            reference = Tokenizer.from_str(json.dumps(spec))
            want = [reference.encode(t, add_special_tokens=False).ids for t in texts]
            for text, a, b in zip(texts, ours(driver, folder, texts), want):
                if a != b:
                    wrong += 1
                    print(f"model {i}: {text!r}: {a}, tokenizers {b}\n  {json.dumps(spec['model'], ensure_ascii=False)}\n  {spec['added_tokens']}")
                    break
    print(f"{models} models, {wrong} differ")
    sys.exit(wrong > 0)


main()
