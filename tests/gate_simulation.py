#!/usr/bin/env python3
"""How often the gate promotes, by simulation through the command itself:

    tests/gate_simulation.py build/release/attune [RUNS] [SEED]

Each row: RUNS comparisons (10,000) whose truth is known, given to `attune eval --pairs`, and the
share of each verdict with the 95 % interval of the promoted share. Cases differ (one model right,
the other wrong) in 20 % of cases. Clustered: 10 cases a cluster that share a part of their luck.
Exits 1 when a bar is missed."""
import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter

DISCORDANT = 0.2
CLUSTER = 10


def draw(rng, gain, loss):
    """1: only B right, -1: only A right, 0: the same"""
    x = rng.random()
    return 1 if x < gain else -1 if x < gain + loss else 0


def differences(rng, n, delta, share):
    gain, loss = (DISCORDANT + delta) / 2, (DISCORDANT - delta) / 2
    if not share:
        return [draw(rng, gain, loss) for _ in range(n)]
    out = []
    while len(out) < n:  # each case takes the cluster's outcome with probability sqrt(share)
        common, p = draw(rng, gain, loss), math.sqrt(share)
        out += [common if rng.random() < p else draw(rng, gain, loss) for _ in range(CLUSTER)]
    return out[:n]


def write(f, rng, runs, n, delta, share, graded):
    cluster = ',"cluster":' + json.dumps([i // CLUSTER for i in range(n)]) if share else ""
    for run in range(runs):
        a, b = [], []
        for d in differences(rng, n, delta, share):
            same = 1 if rng.random() < 0.75 else 0
            x, y = (0, 1) if d > 0 else (1, 0) if d < 0 else (same, same)
            if graded:  # the same mean difference, on a scale
                noise = rng.random() * 0.5
                x, y = round(0.25 + x * 0.5 + noise - 0.25, 3), round(y * 0.5 + noise, 3)
            a.append(x)
            b.append(y)
        f.write('{"id":%d,"a":%s,"b":%s%s}\n' % (run, a, b, cluster))


def wilson(k, n, z=1.96):
    p, d = k / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    return (p + z * z / (2 * n)) / d - half, (p + z * z / (2 * n)) / d + half


def simulate(attune, runs, seed, n, delta, share, graded):
    rng = random.Random(f"{seed} {n} {delta} {share} {graded}")
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        write(f, rng, runs, n, delta, share, graded)
        f.flush()
        out = subprocess.run([attune, "eval", "--pairs", f.name, "--json"], check=True,
                             capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == runs and all(line["n"] == n for line in lines)
    scale = 0.5 if graded else 1
    covered = sum(line["low"] <= delta * scale <= line["high"] for line in lines)
    return Counter(line["verdict"] for line in lines), covered / runs


def main():
    attune = sys.argv[1]
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rows = [(n, -0.02, share, graded, "most", 0.05) for n in (100, 200, 500, 1000)
            for share, graded in ((0, 0), (0.3, 0), (0, 1))]
    rows += [(n, 0.0, share, 0, "shown", 0) for n in (100, 1000) for share in (0, 0.3)]
    rows += [(500, 0.05, 0, 0, "least", 0.70), (200, 0.10, 0, 0, "least", 0.85),
             (100, 0.05, 0, 0, "shown", 0)]
    failed = 0
    print("n,true_difference,cluster_share,graded,better,low,high,not_worse,worse,inconclusive,"
          "coverage,bar")
    for n, delta, share, graded, kind, bar in rows:
        count, coverage = simulate(attune, runs, seed, n, delta, share, graded)
        k = count["better"]
        low, high = wilson(k, runs)
        bad = (kind == "most" and k / runs > bar) or (kind == "least" and k / runs < bar)
        failed += bad
        text = {"most": "<= ", "least": ">= ", "shown": ""}[kind] + (str(bar) if bar else "")
        print(f"{n},{delta:+.2f},{share},{graded},{k / runs:.4f},{low:.4f},{high:.4f},"
              f"{count['not worse'] / runs:.4f},{count['worse'] / runs:.4f},"
              f"{count['inconclusive'] / runs:.4f},{coverage:.4f},{text}{' MISSED' * bad}",
              flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
