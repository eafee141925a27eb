#!/usr/bin/env python3
"""Turns three public data sets into chat rows for tuning and scoring.

    prepare.py DATA OUT        DATA holds snips/, wikisql/, banking77/ in their published form

snips      utterance -> JSON of intent and slots   600 rows, test: 100 of the validate files
wikisql    question over a table -> SQL            1,000 rows, test: test.jsonl
banking77  customer question -> label              1,000 rows, test: 200 of test.csv
Seeded; rows of train and test never share a user text.
"""
import csv, json, random, sys
from pathlib import Path

INTENTS = ["AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook",
           "SearchCreativeWork", "SearchScreeningEvent"]


def chat(system, user, answer):
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user},
                         {"role": "assistant", "content": answer}]}


def load_mixed(path):
    raw = path.read_bytes()
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return json.loads(raw.decode("latin-1"))


def snips_row(intent, item):
    text = "".join(part["text"] for part in item["data"]).strip()
    slots = {}
    for part in item["data"]:
        if "entity" in part:
            slots.setdefault(part["entity"], part["text"].strip())
    answer = json.dumps({"intent": intent, "slots": slots}, ensure_ascii=False)
    return chat("Turn the request into JSON with intent and slots.", text, answer)


def snips(root, kind):
    name = "train_%s_full.json" if kind == "train" else "validate_%s.json"
    return [snips_row(i, item) for i in INTENTS for item in load_mixed(root / "snips" / i / (name % i))[i]]


def wikisql(root, kind):
    rows = []
    for line in (root / "wikisql" / f"{kind}.jsonl").read_text().splitlines():
        question, sql = json.loads(line)["text"].rsplit("\nA: ", 1)
        rows.append(chat("Write the SQL query that answers the question.", question, sql))
    return rows


def banking(root, kind):
    with open(root / "banking77" / f"{kind}.csv", newline="") as f:
        return [chat("Classify the customer's question. Answer with the label only.", r["text"].strip(), r["category"])
                for r in csv.DictReader(f)]


def main():
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for name, load, train_count, test_count in (("snips", snips, 600, 100), ("wikisql", wikisql, 1000, 100),
                                                ("banking77", banking, 1000, 200)):
        rng = random.Random(7)
        train, test = load(root, "train"), load(root, "test")
        rng.shuffle(train)
        rng.shuffle(test)
        test = test[:test_count]
        seen = {r["messages"][1]["content"].lower() for r in test}
        train = [r for r in train if r["messages"][1]["content"].lower() not in seen][:train_count]
        for kind, rows in (("train", train), ("test", test)):
            path = out / f"{name}.{kind}.jsonl"
            path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
            print(path, len(rows))


main()
