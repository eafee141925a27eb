#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizers/cases.jsonl with the `tokenizers` package: small tokenizers, each with
texts and the ids and decodings it gives; and the seeds of tests/fuzz/corpus/tokenizer."""
import json, os, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = ["the quick brown fox jumps over the lazy dog 12345 times, isn't it? We'll see! " * 3,
        "naïve café déjà vu; ﬁne Ångström ½ ² x² Ⅷ\n\n  indented\ttabs  ", "你好，世界。今天 天气 不错", "مرحبا بالعالم", "नमस्ते दुनिया", "Straße ŒUVRE İstanbul ſ"]
TRY = ["", " ", "the quick fox", "  The  QUICK\n\nfox 12 345 x²½", "isn't we'LL 'ſ I'd", "naïve cafe\u0301 ﬁ Å", "你好 世界", "नमस्ते", "مرحبا", "a<s>b </s> c<pad>", "<mask>x <mask> word<w>word <w> ", "tab\t\r\n  end  ",
       "👩‍👩‍👧 \u0000\u0001\u200b", "뒤\u11a7\u11a8 \u1112\u1161\u11ab \u0c2b\u0c3c\u0c4d \u0344", "!!?? -- __a_b__", "ÀÉ\u0301İ", "xyzxyzxyzxyz 0000000000"]


def trained(model, trainer, **parts):
    t = Tokenizer(model)
    for key, value in parts.items():
        setattr(t, key, value)
    t.train_from_iterator(TEXT, trainer)
    return t


def byte_level(pre, **parts):
    tr = trainers.BpeTrainer(vocab_size=parts.pop("size", 330), special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    return trained(models.BPE(), tr, pre_tokenizer=pre, decoder=decoders.ByteLevel(), **parts)


def characters(model_args, **parts):
    tr = trainers.BpeTrainer(vocab_size=160, special_tokens=["<unk>", "<s>"], show_progress=False, **parts.pop("trainer", {}))
    return trained(models.BPE(unk_token="<unk>", **model_args), tr, **parts)


def with_bytes(t):
    """the same with all 256 fallback tokens"""
    d = json.loads(t.to_str())
    for i in range(256):
        d["model"]["vocab"][f"<0x{i:02X}>"] = len(d["model"]["vocab"])
    d["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(d))


def cases():
    P, N, D = pre_tokenizers, normalizers, decoders
    llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    yield "gpt2", byte_level(P.ByteLevel(add_prefix_space=False))
    yield "gpt2 with a space in front", byte_level(P.ByteLevel(add_prefix_space=True))
    yield "digits", byte_level(P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)]))
    yield "llama3", byte_level(P.Sequence([P.Split(Regex(llama3), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]))
    yield "qwen2", byte_level(P.Sequence([P.Split(Regex(llama3.replace("{1,3}", "")), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]), normalizer=N.NFC())
    yield "cl100k by regex", byte_level(P.Sequence([P.Split(Regex(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]))
    for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"split {behavior} {invert}", byte_level(P.Sequence([P.Split(Regex(r"\s|[xz]"), behavior, invert=invert), P.ByteLevel(add_prefix_space=False, use_regex=False)]), size=300)
    yield "split by a string", byte_level(P.Sequence([P.Split("i", "merged_with_previous"), P.ByteLevel(add_prefix_space=False, use_regex=False)]), size=300)
    yield "bytes, then digits", byte_level(P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(individual_digits=False)]), size=300)
    for scheme in ("first", "always", "never"):
        for split in (True, False):
            yield f"metaspace {scheme} {split}", with_bytes(characters({"fuse_unk": True}, pre_tokenizer=P.Metaspace(prepend_scheme=scheme, split=split), decoder=D.Sequence([D.ByteFallback(), D.Metaspace(prepend_scheme=scheme, split=split)])))
    llama = characters({"fuse_unk": True}, normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]))
    yield "llama without bytes", llama
    llama = with_bytes(llama)
    llama.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", llama.token_to_id("<s>"))])
    yield "llama", llama
    yield "unknown not fused", characters({"fuse_unk": False}, pre_tokenizer=P.Whitespace())
    yield "words", characters({"fuse_unk": True}, pre_tokenizer=P.Whitespace(), decoder=D.BPEDecoder())
    yield "end of word", characters({"end_of_word_suffix": "</w>"}, trainer={"end_of_word_suffix": "</w>"}, normalizer=N.Lowercase(), pre_tokenizer=P.WhitespaceSplit(), decoder=D.BPEDecoder())
    yield "subword prefix", characters({"continuing_subword_prefix": "##"}, trainer={"continuing_subword_prefix": "##"}, pre_tokenizer=P.Sequence([P.WhitespaceSplit(), P.Punctuation()]))
    yield "bert", characters({}, normalizer=N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase(), N.Strip()]), pre_tokenizer=P.BertPreTokenizer())
    yield "nfkc", characters({}, normalizer=N.Sequence([N.NFKC(), N.Replace(Regex(r"\s+"), " "), N.Strip(left=True, right=False)]), pre_tokenizer=P.CharDelimiterSplit(" "))
    yield "nfkd", characters({}, normalizer=N.NFKD(), pre_tokenizer=P.Punctuation("removed"))
    roberta = byte_level(P.ByteLevel(add_prefix_space=False))
    roberta.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    yield "roberta", roberta
    added = byte_level(P.ByteLevel(add_prefix_space=False), normalizer=N.Lowercase())
    added.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True), AddedToken("<pad>", rstrip=True, special=True)])
    added.add_tokens([AddedToken("<w>", single_word=True), AddedToken("QUICK", normalized=True), AddedToken("fox 12", normalized=False), AddedToken("fox", normalized=False)])
    added.post_processor = processors.Sequence([processors.ByteLevel(), processors.BertProcessing(("</s>", 1), ("<s>", 0))])
    yield "added tokens", added


def main():
    out = "tests/fixtures/tokenizers"
    corpus = "tests/fuzz/corpus/tokenizer"
    os.makedirs(out, exist_ok=True)
    os.makedirs(corpus, exist_ok=True)
    with open(f"{out}/cases.jsonl", "w") as f:
        for name, t in cases():
            tries = []
            for text in TRY:
                with_, plain = t.encode(text).ids, t.encode(text, add_special_tokens=False).ids
                tries.append([text, plain, with_, t.decode(with_, skip_special_tokens=False), t.decode(with_)])
            f.write(json.dumps({"name": name, "tokenizer": json.loads(t.to_str()), "tries": tries}, ensure_ascii=False, separators=(",", ":")) + "\n")
            d = json.loads(t.to_str())
            if len(t.to_str()) < 14_000:
                d["model"]["merges"] = d["model"]["merges"][:8]
                keep = set("abcdeh tisno▁") | {x for m in d["model"]["merges"] for x in (m[0], m[1], m[0] + m[1], m[0] + m[1][2:])}
                d["model"]["vocab"] = {k: v for k, v in d["model"]["vocab"].items() if k in keep or len(k) > 2 and k[0] == "<"}
            with open(f"{corpus}/{name.replace(' ', '-').replace(',', '')}", "wb") as g:
                d["model"]["vocab"] = dict(list(d["model"]["vocab"].items())[:60]) if len(json.dumps(d)) > 4000 else d["model"]["vocab"]
                d["model"]["merges"] = [m for m in d["model"]["merges"] if all(x in d["model"]["vocab"] for x in (*m, "".join(m)))][:10]
                g.write(json.dumps(d, separators=(",", ":")).encode() + b"\0" + "the <s> fox 12 isn't\n\n  é你好".encode())


main()
