#!/usr/bin/env python3
"""Render chat templates with jinja2, set up as transformers sets it up, and with attune; compare.

    python tests/parity/templates.py [DIR of *.jinja, default ../shared/data/chat-templates] [--show N]

Needs jinja2 and a C compiler. Prints how many of the renderings agree; exit 1 when any does not.
"""
import datetime, glob, json, os, re, subprocess, sys, tempfile

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EPOCH = 1767225600  # fixed clock: strftime_now


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    now = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc)
    env.globals["strftime_now"] = lambda f: now.strftime(f)
    return env


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather \"now\" <there> & 'here'.",
     "parameters": {"type": "object", "properties": {
         "city": {"type": "string", "description": "The city"},
         "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
         "days": {"type": ["integer", "null"], "minimum": 1}}, "required": ["city"]},
     "return": {"type": "object", "description": "it"}}},
    {"type": "function", "function": {"name": "nothing", "description": "Takes nothing.\nTwo lines.",
     "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "deep", "description": "Nested", "parameters": {
        "type": "object", "properties": {
            "items": {"type": "array", "items": {"type": "object", "properties": {
                "a": {"type": "number"}, "b": {"type": "boolean", "default": True}}, "required": ["a"]}},
            "any": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "f": {"type": "number", "default": 1e3}},
        "required": ["items"]}}},
]


def call(args, id="call_12345", name="get_weather", **more):
    return {"role": "assistant", "content": None, "tool_calls": [
        {"id": id, "type": "function", "function": {"name": name, "arguments": args}}], **more}


U = {"role": "user", "content": "What is the weather in Köln? 🌦️ <|im_end|>"}
A = {"role": "assistant", "content": "  It is sunny.\n"}
S = {"role": "system", "content": "You are terse.\n\nVery."}
R = {"role": "tool", "tool_call_id": "call_12345", "name": "get_weather", "content": "{\"t\": 21.5}"}


def conversations():
    both = call({"city": "Köln", "days": 3, "f": 0.1, "on": True, "none": None, "l": [1, "a"]})
    two = call({"city": "A"}, "abcdefghi")
    two["tool_calls"].append({"id": "abcdefghj", "type": "function", "function": {"name": "nothing", "arguments": {}}})
    R9 = dict(R, tool_call_id="abcdefghi")
    yield "user", [U]
    yield "chat", [S, U, A]
    yield "turns", [S, U, A, {"role": "user", "content": "And tomorrow?"}, {"role": "assistant", "content": "Rain."},
                    {"role": "user", "content": "Thanks"}]
    yield "no system", [U, A, U]
    yield "empty content", [S, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    yield "call dict", [S, U, both, R, A]
    yield "call open", [U, both]
    yield "call string", [S, U, call("{\"city\": \"Köln\"}"), R, A, U]
    yield "two calls", [U, two, R9, dict(R9, tool_call_id="abcdefghj", name="nothing"), A]
    yield "call nine", [U, call({"city": "B"}, "abcdefghi"), R9, A, U, call({"city": "C"}, "abcdefghj"), dict(R9, tool_call_id="abcdefghj")]
    yield "call and text", [U, dict(both, content="Let me look."), R, A]
    yield "call empty text", [U, dict(both, content=""), R]
    yield "result dict", [U, both, dict(R, content={"t": [1, 2.0, None]}), A]
    yield "thinking", [S, U, {"role": "assistant", "content": "4", "reasoning_content": "2+2", "thinking": "2+2"}, U]
    yield "think tags", [U, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nFour."}, U,
                         {"role": "assistant", "content": "<think>b</think>Five."}]
    yield "think call", [U, dict(both, reasoning_content="I must look"), R, dict(A, reasoning_content="done")]
    yield "parts", [{"role": "system", "content": [{"type": "text", "text": "Sys"}]},
                    {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]}, A]
    yield "image", [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    yield "developer", [{"role": "developer", "content": "Dev."}, U, A]
    yield "two systems", [S, S, U]
    yield "system late", [U, S, A]
    yield "assistant first", [A, U]
    yield "two users", [U, U, A]
    yield "unknown role", [S, {"role": "wizard", "content": "x"}]
    yield "ends with assistant", [U, {"role": "assistant", "content": "Part"}]
    yield "nothing", []


def cases():
    for name, messages in conversations():
        for tools in (None, TOOLS):
            for prompt in (False, True):
                v = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt,
                     "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
                yield f"{name}{'+tools' if tools else ''}{'+prompt' if prompt else ''}", v
    base = {"messages": [S, U, A, U], "tools": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    yield "thinking on", dict(base, documents=None, enable_thinking=True, thinking=True)
    yield "thinking off", dict(base, documents=None, enable_thinking=False, thinking=False)
    yield "documents", dict(base, documents=[{"title": "T", "text": "Body", "doc_id": 1}])
    yield "kwargs", dict(base, documents=None, reasoning_effort="high", date_string="1 Jan 2026", builtin_tools=["web"],
                         xml_tools=["a"], tools_in_user_message=False, custom_tools=TOOLS, model_identity="I am I.")


def build():
    exe = os.path.join(tempfile.gettempdir(), f"attune-template-driver-{os.getpid()}")
    sources = glob.glob(ROOT + "/src/base/*.c") + glob.glob(ROOT + "/src/text/template*.c")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "jansson", "libutf8proc", "libcrypto"],
                           capture_output=True, text=True, check=True).stdout.split()
    extra = os.environ.get("CFLAGS", "-O1").split()
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-I" + ROOT + "/src", *extra,
                    ROOT + "/tests/parity/template_driver.c", *sources, "-o", exe, *flags, "-lm", "-pthread"], check=True)
    return exe


def compiled(env, source):
    try:
        return env.from_string(source)
    except jinja2.exceptions.TemplateSyntaxError as e:
        return e


def expected(template, variables):
    if isinstance(template, Exception):
        return "error", str(template.message)
    try:
        return "text", template.render(**variables)
    except Exception as e:
        return "error", str(e)


def normal(text):  # where attune says "template: line 3: ", jinja2 has the line apart
    return re.sub(r"^template: line \d+: ", "", text)


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    show = int(sys.argv[sys.argv.index("--show") + 1]) if "--show" in sys.argv else 5
    if "--show" in sys.argv:
        args = [a for a in args if a != str(show)]
    where = args[0] if args else os.path.join(ROOT, "..", "shared", "data", "chat-templates")
    exe, env, total, good, files, clean = build(), environment(), 0, 0, 0, 0
    texts = errors_same = errors_other = 0
    os.environ["SOURCE_DATE_EPOCH"] = str(EPOCH)
    for path in sorted(glob.glob(where + "/*.jinja")):
        template = compiled(env, open(path, newline="").read())
        names, inputs = zip(*cases())
        out = subprocess.run([exe, path], input="".join(json.dumps(v) + "\n" for v in inputs), capture_output=True,
                             text=True, encoding="utf-8")
        if out.returncode:
            print(path, "driver failed", out.stderr[-2000:])
        ours, bad = [json.loads(l) for l in out.stdout.splitlines()], 0
        for name, variables, got in zip(names, inputs, ours):
            kind, want = expected(template, variables)
            same = got.get(kind) is not None and (got[kind] == want if kind == "text" else normal(got[kind]) == want[:479])
            texts += kind == "text" and same
            errors_same += kind == "error" and same
            soft = not same and kind == "error" and "error" in got
            errors_other += soft
            total, good, bad = total + 1, good + (same or soft), bad + (not same and not soft)
            if (not same and not soft and bad <= show) or (soft and "--errors" in sys.argv):
                print(f"{os.path.basename(path)} [{name}]\n  want {kind} {want[-1500:]!r}\n  got  {json.dumps(got, ensure_ascii=False)[-1500:]}")
        files, clean = files + 1, clean + (bad == 0 and len(ours) == len(names))
        good -= max(0, len(names) - len(ours))
    os.unlink(exe)
    print(f"{clean} of {files} templates agree in all; {good} of {total} renderings agree "
          f"({texts} texts, {errors_same} errors with the same message, {errors_other} with another message)")
    return good != total


if __name__ == "__main__":
    sys.exit(main())
