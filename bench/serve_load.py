#!/usr/bin/env python3
"""Load on servers that speak OpenAI's API, and what they make of it. Python's standard library alone. Prints CSV.

    serve_load.py streams --server attune=URL,MODEL --server llama=URL,MODEL [--streams 1,4,16] [--rounds 3]
                          [--words 60] [--max-tokens 64] [--ban ID,ID]
        N streams at a time: generated tokens per second of all together, time to the first piece of text. The servers
        take turns round by round, with the same prompts. --ban: ids of the end of an answer, kept away by logit_bias,
        so that every answer has max-tokens; one that has not is an error. MODEL may be several, A+B+C: adapters in
        flight, dealt out to the streams.
    serve_load.py http --server attune=URL --pid PID [--path /v1/models] [--connections 8] [--seconds 5] [--core 0]
        requests per second on connections that are kept, the server on one core and this program on the others, and
        per second of the server's own CPU time, which a busy neighbour changes less. The latency of one connection
        beside that of a bare program that answers the same bytes: the difference is the HTTP layer.
    serve_load.py tuning --server attune=URL,MODEL --data ROWS.jsonl [--epochs 1] [--batch 4] [--count 50]
        (attune) time to the first text of a short chat, idle and while a fine-tuning job runs; the job's rate with
        and without those chats. Rates are of steps between the first and the last.

URL is http://HOST:PORT. All figures are of this machine in this minute: compare within one run only.
"""
import argparse, asyncio, json, os, selectors, socket, statistics, sys, time, urllib.request
from urllib.parse import urlsplit

WORDS = ("river stone market window garden letter winter morning silver engine bridge forest candle orange paper "
         "castle summer doctor planet violin harbor copper meadow ticket basket island mirror pencil thunder "
         "velvet").split()


def address(url):
    u = urlsplit(url)
    return u.hostname, u.port


def prompt(number, words):
    """the same for every server, unlike any other from the first word on"""
    state, out = number * 2654435761 + 12345, ["%d" % number]
    for _ in range(words):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(WORDS[(state >> 33) % len(WORDS)])
    return "Continue this list: " + " ".join(out)


def body_of(model, number, a):
    v = {"model": model, "messages": [{"role": "user", "content": prompt(number, a.words)}], "temperature": 0,
         "max_tokens": a.max_tokens, "stream": True, "stream_options": {"include_usage": True}}
    if a.ban:
        v["logit_bias"] = {i: -100 for i in a.ban.split(",")}
    return json.dumps(v).encode()


async def one_stream(url, body):
    """seconds to the first text and to the end, tokens of prompt and answer"""
    host, port = address(url)
    begun, first, usage = time.perf_counter(), None, None
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit("%s: %s%s" % (url, head.decode(), (await reader.read()).decode()))
    rest, chunked = b"", b"chunked" in head.lower()
    while True:
        if chunked:
            n = int((await reader.readline()).split(b";")[0], 16)
            piece = (await reader.readexactly(n + 2))[:-2]
        else:
            piece = await reader.read(65536)
        if not piece:
            break
        *events, rest = (rest + piece).split(b"\n\n")
        for e in events:
            if not e.startswith(b"data: {"):
                continue
            v = json.loads(e[6:])
            usage = v.get("usage") or usage
            if first is None and any(c["delta"].get("content") for c in v.get("choices", ())):
                first = time.perf_counter() - begun
    writer.close()
    if not usage:
        raise SystemExit("%s: a stream ended without usage: %r" % (url, rest))
    end = time.perf_counter() - begun
    return first if first is not None else end, end, usage["prompt_tokens"], usage["completion_tokens"]


async def many_streams(url, bodies):
    return await asyncio.gather(*(one_stream(url, b) for b in bodies))


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def named_servers(a):
    out = []
    for s in a.server:
        name, where = s.split("=", 1)
        url, _, model = where.partition(",")
        out.append((name, url.rstrip("/"), model.split("+")))
    return out


def streams(a):
    servers, rates = named_servers(a), {}
    for name, url, models in servers:  # loads what is to be loaded
        for m in models:
            asyncio.run(one_stream(url, body_of(m, 1, a)))
    print("server,round,streams,models,prompt_tokens,max_tokens,seconds,tokens_s,first_p50_s,first_p95_s")
    for n in map(int, a.streams.split(",")):
        for r in range(a.rounds):
            turn = servers if r % 2 == 0 else servers[::-1]
            for name, url, models in turn:
                bodies = [body_of(models[i % len(models)], 1000 * n + 100 * r + i, a) for i in range(n)]
                begun = time.perf_counter()
                got = asyncio.run(many_streams(url, bodies))
                seconds = time.perf_counter() - begun
                if any(g[3] != a.max_tokens for g in got):
                    raise SystemExit("%s: an answer of %d tokens" % (name, min(g[3] for g in got)))
                rate = n * a.max_tokens / seconds
                rates.setdefault((n, name), []).append(rate)
                first = [g[0] for g in got]
                print("%s,%d,%d,%d,%d,%d,%.2f,%.2f,%.3f,%.3f" % (
                    name, r, n, len(models), statistics.mean(g[2] for g in got), a.max_tokens, seconds, rate,
                    quantile(first, 0.5), quantile(first, 0.95)), flush=True)
    if len(servers) < 2:
        return
    print("streams,of,beside,ratio_median_of_rounds,ratio_of_best")
    (us, *_), (them, *_) = servers[0], servers[1]
    for n in map(int, a.streams.split(",")):
        x, y = rates[n, us], rates[n, them]
        print("%d,%s,%s,%.2f,%.2f" % (n, us, them, statistics.median(p / q for p, q in zip(x, y)), max(x) / max(y)))


# --- HTTP alone ---


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


def pin(pid, cores):
    for task in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(task), cores)


def ask_once(c, request):
    c.sendall(request)
    got = c.recv(65536)
    while b"\r\n\r\n" not in got:
        got += c.recv(65536)
    head, _, rest = got.partition(b"\r\n\r\n")
    length = int(next(x for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")).split(b":")[1])
    while len(rest) < length:
        rest += c.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode())
    return head + b"\r\n\r\n" + rest


def latency(where, request, count):
    """median of a round trip on one connection"""
    with socket.create_connection(where) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            ask_once(c, request)
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def bare_server(answer, cores):
    """a process that answers anything with these bytes; its address"""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, cores)
        while True:
            c, _ = listener.accept()
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while c.recv(65536):
                c.sendall(answer)
    return pid, listener.getsockname()


def flood(where, request, size, connections, seconds):
    """answers in all; every answer has the same size"""
    poll, got, total = selectors.DefaultSelector(), {}, 0
    for _ in range(connections):
        c = socket.create_connection(where)
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(c, selectors.EVENT_READ)
        got[c] = 0
        c.sendall(request)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, _ in poll.select(1):
            c = key.fileobj
            got[c] += len(c.recv(65536))
            if got[c] >= size:
                got[c] = 0
                total += 1
                c.sendall(request)
    for c in got:
        c.close()
    return total


def http(a):
    cores = os.sched_getaffinity(0)
    mine, others = {a.core}, cores - {a.core} or cores
    print("server,path,connections,requests_s,requests_per_cpu_second,latency_p50_us,bare_p50_us,added_p50_us")
    for name, url, _ in named_servers(a):
        where = address(url)
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % a.path.encode()
        pin(a.pid, mine)
        os.sched_setaffinity(0, others)
        try:
            with socket.create_connection(where) as c:
                answer = ask_once(c, request)
            bare, bare_where = bare_server(answer, mine)
            added, ours, theirs = [], [], []
            for _ in range(5):  # in turn: the machine is shared
                ours.append(latency(where, request, 300))
                theirs.append(latency(bare_where, request, 300))
                added.append(ours[-1] - theirs[-1])
            os.kill(bare, 9)
            os.waitpid(bare, 0)
            cpu, begun = cpu_seconds(a.pid), time.perf_counter()
            total = flood(where, request, len(answer), a.connections, a.seconds)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(a.pid) - cpu
        finally:
            pin(a.pid, cores)
        print("%s,%s,%d,%.0f,%.0f,%.1f,%.1f,%.1f" % (
            name, a.path, a.connections, total / seconds, total / max(cpu, 0.01), statistics.median(ours) * 1e6,
            statistics.median(theirs) * 1e6, statistics.median(added) * 1e6))


# --- beside a fine-tuning job ---


def call(url, method, path, body=None, headers=None):
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers or {}, method=method)) as r:
        return json.load(r)


def upload(url, path):
    with open(path, "rb") as f:
        content = f.read()
    form = (b'--bnd\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--bnd\r\n'
            b'Content-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n' + content
            + b"\r\n--bnd--\r\n")
    return call(url, "POST", "/v1/files", form, {"Content-Type": "multipart/form-data; boundary=bnd"})["id"]


async def follow_job(url, job, chat):
    """until the job ends, with a chat after the other when asked to; first-text times and steps per second"""
    first, seen, number = [], [], 0
    while True:
        v = await asyncio.to_thread(call, url, "GET", "/v1/fine_tuning/jobs/" + job)
        if v["status"] in ("succeeded", "failed", "cancelled"):
            break
        rows = await asyncio.to_thread(call, url, "GET", "/v1/fine_tuning/jobs/%s/events?limit=1" % job)
        said = rows["data"][0]["message"] if rows["data"] else ""
        if said.startswith("Step "):
            step = int(said[5:].split("/")[0].split(":")[0])
            if not seen or seen[-1][0] != step:
                seen.append((step, time.perf_counter()))
        if chat and seen:
            number += 1
            first.append((await one_stream(url, chat(number)))[0])
        await asyncio.sleep(0.1)
    if v["status"] != "succeeded":
        raise SystemExit("the job %s: %s" % (v["status"], v["error"]))
    (s0, t0), (s1, t1) = seen[0], seen[-1]
    return first, (s1 - s0) / (t1 - t0) if t1 > t0 else float("nan")


def tuning(a):
    a.ban, a.words = None, 8
    print("server,first_idle_p50_s,first_tuning_p50_s,chats_idle,chats_tuning,steps_s_alone,steps_s_with_chats")
    for name, url, (model, *_) in named_servers(a):
        def chat(number):
            return body_of(model, number, a)
        asyncio.run(one_stream(url, chat(0)))
        idle = [asyncio.run(one_stream(url, chat(100 + i)))[0] for i in range(a.count)]
        file, rates, first = upload(url, a.data), [], []
        for with_chats in (False, True):
            job = call(url, "POST", "/v1/fine_tuning/jobs", {
                "model": model, "training_file": file, "seed": 1,
                "hyperparameters": {"n_epochs": a.epochs, "batch_size": a.batch}})["id"]
            times, rate = asyncio.run(follow_job(url, job, chat if with_chats else None))
            first += times
            rates.append(rate)
        if len(first) < a.count:
            print("only %d chats fitted beside the job: more epochs" % len(first), file=sys.stderr)
        print("%s,%.4f,%.4f,%d,%d,%.2f,%.2f" % (
            name, statistics.median(idle), statistics.median(first), len(idle), len(first), *rates))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for what, options in ((streams, {"streams": "1,4,16", "rounds": 3, "words": 60, "max-tokens": 64, "ban": ""}),
                          (http, {"pid": 0, "path": "/v1/models", "connections": 8, "seconds": 5.0, "core": 0}),
                          (tuning, {"data": "", "epochs": 1, "batch": 4, "count": 50, "max-tokens": 8})):
        s = sub.add_parser(what.__name__)
        s.add_argument("--server", action="append", required=True)
        for name, value in options.items():
            s.add_argument("--" + name, type=type(value), default=value)
        s.set_defaults(run=what)
    a = p.parse_args()
    a.run(a)


main()
