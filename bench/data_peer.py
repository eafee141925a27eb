"""attune data check against a plain Python pipeline over the same rows, in one run.

    pip install datasketch tokenizers presidio-analyzer spacy
    python3 bench/data_peer.py build/release/attune ROWS.jsonl models/starter

The pipeline: json and the cookbook's checks, presidio's pattern recognisers (over a blank spaCy model: names and places, which
need a large one, are not sought on either side), MinHash-LSH of datasketch (128 permutations, word 3-grams), tokens. One core each.
"""
import json
import re
import resource
import subprocess
import sys
import time


def cpu(who):
    u = resource.getrusage(who)
    return u.ru_utime + u.ru_stime


def timed(name, f, *args):
    start = cpu(resource.RUSAGE_SELF)
    ret = f(*args)
    print(f"  {name:12} {cpu(resource.RUSAGE_SELF) - start:8.2f} CPU s", flush=True)
    return ret


def texts(row):
    return [m["content"] for m in row["messages"]]


def read(path):
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    for row in rows:
        assert any(m["role"] == "assistant" for m in row["messages"])
        for m in row["messages"]:
            assert m["role"] in ("system", "user", "assistant", "tool") and isinstance(m.get("content"), str)
    return rows


def personal(rows):
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
    import spacy
    import tldextract.tldextract as domains
    domains.TLD_EXTRACTOR = domains.TLDExtract(suffix_list_urls=())  # the list it brings along: no network

    class Blank(SpacyNlpEngine):
        def __init__(self):
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("SpacyRecognizer")
    engine = AnalyzerEngine(registry=registry, nlp_engine=Blank())
    return sum(len(engine.analyze(text=t, language="en")) for row in rows for t in texts(row))


def duplicates(rows):
    from datasketch import MinHash, MinHashLSH
    lsh, found = MinHashLSH(threshold=0.8, num_perm=128), 0
    for i, row in enumerate(rows):
        words = re.findall(r"\w+", " ".join(texts(row)).lower())
        m = MinHash(num_perm=128)
        m.update_batch([" ".join(words[k:k + 3]).encode() for k in range(max(1, len(words) - 2))])
        found += bool(lsh.query(m))
        lsh.insert(str(i), m)
    return found


def tokens(rows, model):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(model + "/tokenizer.json")
    return sum(len(t.encode(x).ids) for row in rows for x in texts(row))


def main():
    attune, path, model = sys.argv[1:4]
    start, wall = cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    out = subprocess.run([attune, "data", "check", path, "--model", model, "--threads", "1", "--json"],
                         capture_output=True, text=True)
    ours, ours_wall = cpu(resource.RUSAGE_CHILDREN) - start, time.monotonic() - wall
    assert out.returncode in (0, 3), out.stderr
    report = json.loads(out.stdout)
    print(f"attune: {report['rows']} rows, {ours:.2f} CPU s, {ours_wall:.1f} s; {report['counts']}", flush=True)
    print("plain Python:")
    start = cpu(resource.RUSAGE_SELF)
    rows = timed("read", read, path)
    count = {"personal": timed("personal", personal, rows), "duplicates": timed("duplicates", duplicates, rows),
             "tokens": timed("tokens", tokens, rows, model)}
    peer = cpu(resource.RUSAGE_SELF) - start
    print(f"  {'all':12} {peer:8.2f} CPU s; {count}\n{peer / ours:.0f} times attune's CPU time")


main()
