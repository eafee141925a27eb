#!/usr/bin/env python3
"""attune and PEFT on the same rows in the same steps, in turn: which share of the other's time each step takes.

    beside.py --attune PROGRAM --base BASE --peer MODEL_DIR --data DATA.jsonl [--steps 9] [--rounds 3] [--batch 8]
              [--max-length L] [--dtype f32] [--peer-dtype float32] [--peer-python PYTHON] [--peer-batch B]

Machines are shared: another's load on the same core can halve the speed of a second. Each step is therefore timed once
a round, and its best time counts; the mean is printed too. The first step is left out on both sides. --peer-batch
gives the peer its own batch where a smaller one serves it better; rates are then of the whole. Prints CSV.
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

p = argparse.ArgumentParser()
for name in ("attune", "base", "peer", "data"):
    p.add_argument("--" + name, required=True)
p.add_argument("--steps", type=int, default=9), p.add_argument("--rounds", type=int, default=3)
p.add_argument("--batch", type=int, default=8), p.add_argument("--peer-batch", type=int)
p.add_argument("--max-length", type=int), p.add_argument("--dtype", default="f32")
p.add_argument("--peer-dtype", default="float32"), p.add_argument("--peer-python", default=sys.executable)
a = p.parse_args()
jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
length = ["--max-length", str(a.max_length)] if a.max_length else []
peer_batch = a.peer_batch or a.batch
peer_steps = a.steps * a.batch // peer_batch


def attune(out):
    """seconds of each step after the first, peak MiB"""
    command = [a.attune, "tune", "--base", a.base, "--data", a.data, "--out", out + "/a", "--steps", str(a.steps),
               "--batch-size", str(a.batch), "--shuffle", "0", "--rank", "16", "--alpha", "32", "--lr", "5e-4",
               "--threads", "2", "--dtype", a.dtype] + length
    at, peak = [], 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as run:
        for line in run.stdout:
            if line.startswith("step "):
                at.append(time.time())
            if "peak memory" in line:
                number, unit = line.split("peak memory")[1].replace(":", " ").replace(",", " ").split()[:2]
                peak = float(number) * (1024 if unit == "GiB" else 1)
    assert len(at) == a.steps, "attune printed %d steps" % len(at)
    return [y - x for x, y in zip(at, at[1:])], peak


def peer(out):
    command = [a.peer_python, str(Path(__file__).with_name("peft_tune.py")), a.peer, a.data, out + "/p",
               "--steps", str(peer_steps), "--batch", str(peer_batch), "--dtype", a.peer_dtype, "--in-order",
               "--times"] + length
    env = dict(os.environ, **({"LD_PRELOAD": jemalloc} if os.path.exists(jemalloc) else {}))
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    return result["times"][1:], result["peak_gib"] * 1024


def summary(rounds, batch):
    """rows per second by the mean and by the best time of each step"""
    rows = batch * len(rounds[0][0])
    best = sum(min(times) for times in zip(*(times for times, _ in rounds)))
    mean = sum(sum(times) for times, _ in rounds) / len(rounds)
    return rows / mean, rows / best, max(peak for _, peak in rounds)


ours, theirs = [], []
for _ in range(a.rounds):
    with tempfile.TemporaryDirectory() as out:
        ours.append(attune(out))
        theirs.append(peer(out))
mean, best, peak = summary(ours, a.batch)
peer_mean, peer_best, peer_peak = summary(theirs, peer_batch)
print("data,rounds,steps,batch,peer_batch,attune_rows_s_mean,peft_rows_s_mean,ratio_mean,attune_rows_s_best,"
      "peft_rows_s_best,ratio_best,attune_mib,peft_mib,memory_ratio")
print("%s,%d,%d,%d,%d,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.0f,%.0f,%.2f" % (
    Path(a.data).name, a.rounds, a.steps, a.batch, peer_batch, mean, peer_mean, mean / peer_mean, best, peer_best,
    best / peer_best, peak, peer_peak, peak / peer_peak))
