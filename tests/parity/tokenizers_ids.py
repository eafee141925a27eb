#!/usr/bin/env python3
"""Ids and decoded text of attune's tokenizers against the `tokenizers` package (qwen2.5: as transformers
opens it), over mixed real text and random strings; then the speed of both.

    make parity-tokenizers PYTHON=/path/to/python
"""
import argparse, glob, os, random, struct, subprocess, sys, sysconfig, tarfile, time
from tokenizers import Tokenizer

BLOCKS = [(0, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x77F),
          (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
          (0x2070, 0x2BFF), (0x2E80, 0x31FF), (0x3200, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF),
          (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFFFF), (0x10000, 0x107FF), (0x10800, 0x11FFF),
          (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0x0, 0x10FFFF)]


class Driver:
    def __init__(self, program, path):
        self.p = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, op, data):
        self.p.stdin.write(op + struct.pack("<I", len(data)) + data)
        self.p.stdin.flush()
        (n,) = struct.unpack("<I", self.p.stdout.read(4))
        if n == 0xFFFFFFFF:
            (n,) = struct.unpack("<I", self.p.stdout.read(4))
            sys.exit("tokenize_batch: " + self.p.stdout.read(n).decode())
        return n

    def encode(self, text, op=b"e"):
        n = self.ask(op, text.encode())
        return list(struct.unpack(f"<{n}i", self.p.stdout.read(4 * n)))

    def decode(self, ids, op=b"d"):
        return self.p.stdout.read(self.ask(op, struct.pack(f"<{len(ids)}i", *ids)))


def read(path):
    with open(path, "rb") as f:
        return f.read().decode("utf-8", "ignore")


def real_texts(data, wanted):
    """about `wanted` bytes of documents, code, data sets and message catalogs, in pieces"""
    pieces = []
    with tarfile.open(f"{data}/docs/tldr-pages.tar.gz") as tar:
        pieces += [tar.extractfile(m).read().decode("utf-8", "ignore") for m in tar if m.isfile()]
    for pattern in ("finetune/*/*.jsonl", "finetune/*/*.csv", "finetune/*/*.json", "retrieval/*/*.jsonl", "chat-templates/*"):
        for path in sorted(glob.glob(f"{data}/{pattern}")):
            text = read(path)[:2_000_000]
            pieces += [text[i:i + 40_000] for i in range(0, len(text), 40_000)]
    lib = sysconfig.get_paths()["stdlib"]
    for path in sorted(glob.glob(f"{lib}/*.py") + glob.glob(f"{lib}/encodings/*.py") + glob.glob(f"{lib}/test/*.py")):
        pieces.append(read(path))
    for path in sorted(glob.glob("/usr/share/i18n/locales/*") + glob.glob("/usr/share/perl/*/unicore/*.txt")):
        pieces.append(read(path))
    random.Random(1).shuffle(pieces)
    size = 0
    for piece in pieces:
        if size > wanted:
            return
        size += len(piece.encode())
        yield piece


def random_words(rng):
    """pseudo-text in one script: words of its letters, spaces, digits, punctuation, marks, emoji"""
    script = rng.choice([(0x4E00, 0x9FFF), (0x627, 0x64A), (0x905, 0x939), (0x3041, 0x30FF), (0xAC00, 0xD7A3), (0x410, 0x44F), (0xE01, 0xE2E), (0x61, 0x7A)])
    parts = []
    for _ in range(rng.randrange(50, 400)):
        word = "".join(chr(rng.randint(*script)) for _ in range(rng.randint(1, 9)))
        if rng.random() < 0.2:
            word += chr(rng.randint(0x300, 0x36F) if script[0] < 0x600 else rng.randint(0x93A, 0x94D) if script[0] == 0x905 else rng.randint(0x64B, 0x65F))
        if rng.random() < 0.1:
            word = str(rng.randrange(10 ** rng.randint(1, 20)))
        if rng.random() < 0.1:
            word += rng.choice(["👩‍👩‍👧", "👍🏽", "🇩🇪", "😀", "❤️"])
        parts.append(word + rng.choice([" ", " ", " ", "  ", "\n", "。", "، ", "! ", "\r\n\r\n", "\t", "\u00a0", "\u3000"]))
    return "".join(parts)


def runs(rng):
    """long runs of spaces, digits, newlines, letters, controls"""
    return "".join(rng.choice([" ", "\n", "\t", "7", "a", "-", "=", "\u3000", "\x00", "é", "ﷺ", "\r\n", "🙂"]) * rng.choice([1, 2, 3, 17, 64, 255, 1000, 5000]) for _ in range(rng.randrange(2, 12)))


def random_string(rng, specials):
    kind = rng.random()
    n = rng.randrange(0, 80)
    if kind < 0.35:
        return "".join(rng.choice("abcdeSTLl'’ſ  \n\r\t.,!?-_<>|/#0123456789éñ中文\u0301\u200d") for _ in range(n))
    if kind < 0.45:
        return "".join(rng.choice(specials + [" ", "\n", "x", "<", "|", "▁", "Ġ"]) for _ in range(n // 4))
    if kind < 0.7:
        lo, hi = rng.choice(BLOCKS)
        pick = lambda: rng.randint(lo, hi)
    else:
        pick = lambda: rng.randint(*rng.choice(BLOCKS))
    return "".join(chr(c) for c in (pick() for _ in range(n)) if not 0xD800 <= c < 0xE000)


def corpus(args):
    rng = random.Random(args.seed)
    texts = list(real_texts(args.data, args.bytes))
    texts += [random_words(rng) for _ in range(args.words)]
    texts += [runs(rng) for _ in range(args.runs)]
    return texts


def reference(name, path):
    if os.path.exists(f"{path}/tokenizer.json"):
        ref = Tokenizer.from_file(f"{path}/tokenizer.json")
    else:
        from transformers import AutoTokenizer
        ref = AutoTokenizer.from_pretrained(path)._tokenizer
    ref.no_truncation()
    ref.no_padding()
    return ref


def compare(name, driver, ref, texts, specials, args):
    rng = random.Random(args.seed + 1)
    strings = [random_string(rng, specials) for _ in range(args.strings)]
    size = tokens = wrong = 0
    start = time.time()
    for i, text in enumerate(texts + strings):
        whole = i % 2 == 0
        ours = driver.encode(text, b"E" if whole else b"e")
        theirs = ref.encode(text, add_special_tokens=whole).ids
        size += len(text.encode())
        tokens += len(ours)
        if ours != theirs:
            wrong += 1
            at = next((k for k, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            if wrong <= 5:
                print(f"  {name}: ids differ at {at}: {ours[at:at + 4]} {theirs[at:at + 4]} near {ref.decode(theirs[max(0, at - 8):at + 8])!r}")
        elif i % 5 == 0 and driver.decode(theirs) != ref.decode(theirs, skip_special_tokens=False).encode():
            wrong += 1
            print(f"  {name}: decoded text differs for {text[:60]!r}")
    garbage = [[rng.randrange(ref.get_vocab_size()) for _ in range(rng.randrange(20))] for _ in range(5000)]
    for ids in garbage:
        if driver.decode(ids) != ref.decode(ids, skip_special_tokens=False).encode():
            wrong += 1
            if wrong <= 5:
                print(f"  {name}: decoding {ids} differs: {driver.decode(ids)!r}")
    print(f"{name}: {len(texts)} texts and {len(strings)} strings, {size / 1e6:.1f} MB, {tokens} tokens, {wrong} differ ({time.time() - start:.0f} s)", flush=True)
    return wrong


def speed(name, driver, ref, text):
    """the text's pieces of 100 kB, one after another, best of three"""
    pieces = [text[i:i + 100_000] for i in range(0, len(text), 100_000)]
    mb = sum(len(p.encode()) for p in pieces) / 1e6
    ours = theirs = 1e9
    for _ in range(3):
        ours = min(ours, sum(driver.encode(p, b"t")[0] for p in pieces) / 1e6)
        start = time.time()
        for p in pieces:
            ref.encode(p, add_special_tokens=False)
        theirs = min(theirs, time.time() - start)
    print(f"{name}: {mb / ours:.1f} MB/s, tokenizers {mb / theirs:.1f} MB/s: {theirs / ours:.1f} times", flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--driver", required=True)
    a.add_argument("--data", default="../shared/data")
    a.add_argument("--bytes", type=int, default=20_000_000)
    a.add_argument("--words", type=int, default=1500)
    a.add_argument("--runs", type=int, default=100)
    a.add_argument("--strings", type=int, default=100_000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--only", default="")
    args = a.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = corpus(args)
    english = "".join(t for t in texts if t.isascii())[:4_000_000]
    wrong = 0
    for name in ("tokenizers/gpt2", "tokenizers/smollm2", "tokenizers/qwen2.5", "tokenizers/llama-spm-32k", "models/tinystories-656k"):
        if args.only and args.only not in name:
            continue
        path = f"{args.data}/{name}"
        driver, ref = Driver(args.driver, path), reference(name, path)
        specials = [t.content for t in ref.get_added_tokens_decoder().values()][:20]
        wrong += compare(name, driver, ref, texts, specials, args)
        speed(name, driver, ref, english)
    sys.exit(1 if wrong else 0)


main()
