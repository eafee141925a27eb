#!/usr/bin/env python3
"""Writes tests/fixtures/eval/similarity.jsonl: pairs of short texts with the values of the Python
packages, which the unit tests are held against. Needs rapidfuzz, sacrebleu, nltk, rouge-score and
scikit-learn; nltk's WordNet is replaced by one without synonyms, as attune has none.

    python tests/parity/make_similarity.py > tests/fixtures/eval/similarity.jsonl"""
import json
import random
import string
from collections import Counter

import rapidfuzz.fuzz
import sacrebleu
from nltk.translate.gleu_score import sentence_gleu
from nltk.translate.meteor_score import meteor_score
from rouge_score import rouge_scorer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

WORDS = """the a an of to and it is was running runs ran happily happy nationally relational
conditional hopeful hopefulness formality flies flying dying skies proceed exceedingly electrical
adjustable adoption replacement agreed feed plastered hopping falling filing controlling rates
ceases probate news innings obeying enjoyed tried spies radically usefully analogy psychologies
3.14 1,000 2-3 10% $5.00 e.g. U.S. don't can't x-ray well-known (see) [1] "quoted" semi;colon
Über naïve café ÉCOLE straße 東京 Москва İstanbul Kelvin & &amp; &lt;b&gt; - ... ?! e-mail
MILITARY Obeys commands Party party which ensures always heed forever""".split()


class NoSynonyms:
    def synsets(self, word):
        return []


def change(rng, words):
    out = list(words)
    for _ in range(rng.randrange(0, 5)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0 or not out:
            out.insert(at, rng.choice(WORDS))
        elif kind == 1:
            del out[at % len(out)]
        elif kind == 2:
            out[at % len(out)] = rng.choice(WORDS)
        elif kind == 3:
            i, j = rng.randrange(len(out)), rng.randrange(len(out))
            out[i], out[j] = out[j], out[i]
        else:
            w = out[at % len(out)]
            out[at % len(out)] = rng.choice([w + "s", w + "ed", w + "ing", w.upper(), w[:-1] or w])
    return out


def text(rng, words):
    return "".join(w + rng.choice([" ", " ", " ", " ", ", ", ". ", "  ", "\n", "-\n"])
                   for w in words)[: -1 if rng.random() < 0.5 else None]


def f1_squad(a, b):
    def tokens(s):
        s = "".join(c for c in s.lower() if c not in set(string.punctuation))
        return [w for w in s.split() if w not in ("a", "an", "the")]
    x, y = tokens(a), tokens(b)
    if not x or not y:
        return float(len(x) == len(y))
    both = sum((Counter(x) & Counter(y)).values())
    return 2 * both / (len(x) + len(y)) if both else 0.0


def cosine(a, b):
    try:
        m = CountVectorizer().fit_transform([a, b])
    except ValueError:
        return 0.0
    return float(cosine_similarity(m[0], m[1])[0, 0])


def values(scorer, a, b):
    rouge = scorer.score(b, a)
    out = [rapidfuzz.fuzz.ratio(a, b) / 100, sacrebleu.sentence_bleu(a, [b]).score / 100,
           sentence_gleu([b.split()], a.split()),
           meteor_score([b.split()], a.split(), wordnet=NoSynonyms())]
    out += [rouge[f"rouge{k}"].fmeasure for k in "12345L"]
    return out + [f1_squad(a, b), cosine(a, b)]


def main():
    rng = random.Random(7)
    scorer = rouge_scorer.RougeScorer([f"rouge{k}" for k in "12345L"], use_stemmer=False)
    pairs = [("", ""), ("", "x"), ("x", ""), (" ", "\u3000"), ("the", "a"), ("same", "same")]
    while len(pairs) < 1000:
        words = [rng.choice(WORDS) for _ in range(rng.randrange(1, 9))]
        pairs.append((text(rng, change(rng, words)), text(rng, words)))
    for a, b in pairs:
        print(json.dumps([a, b] + [round(v, 8) for v in values(scorer, a, b)], ensure_ascii=False,
                         separators=(",", ":")))


if __name__ == "__main__":
    main()
