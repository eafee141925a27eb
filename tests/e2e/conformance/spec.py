"""OpenAI's description of its API: the schema of what an operation answers."""
import re

import jsonschema
import yaml

# Fields whose answer differs on purpose from the schema would stand here, each with its reason:
# {(operation, path of the error): reason}. There are none: the description's own contradictions
# (null before the end of a stream, "paused", null cursors of empty pages, ...) are mended in it.
DEVIATIONS = {}


class Spec:
    def __init__(self, path):
        with open(path) as f:
            self.root = yaml.load(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.operations = {}
        self.paths = []
        self.validators = {}
        for path, item in self.root["paths"].items():
            # a model's name may hold slashes
            inside = re.sub(r"\\\{model\\\}$", ".+", re.escape(path))
            self.paths.append((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", inside) + "$"), item))
            for method, op in item.items():
                if method in ("get", "post", "delete"):
                    self.operations[op["operationId"]] = (method, path)
        # the longest first: /chat/completions/{id}/messages before /chat/completions/{id}
        self.paths.sort(key=lambda p: -len(p[0].pattern))

    def operation(self, method, path):
        for pattern, item in self.paths:
            if pattern.match(path) and method.lower() in item:
                return item[method.lower()]
        return None

    def validator(self, schema):
        """for a schema's name, or a schema"""
        if isinstance(schema, str):
            schema = {"$ref": "#/components/schemas/" + schema}
        key = repr(schema)
        if key not in self.validators:
            whole = {**schema, "components": self.root["components"]}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        return self.validators[key]

    def check(self, what, schema, value):
        faults = []
        for e in self.validator(schema).iter_errors(value):
            if (what, e.json_path) not in DEVIATIONS:
                faults.append(f"{what}: {e.json_path}: {jsonschema.exceptions.best_match([e]).message[:300]}")
        assert not faults, "\n".join(faults) + "\n" + repr(value)[:2000]

    def answer(self, operation, status, content_type):
        """the schema of an answer, or None where the operation has none of this kind"""
        r = operation["responses"].get(str(status))
        if r and "$ref" in r:
            r = self.root["components"]["responses"][r["$ref"].rsplit("/", 1)[1]]
        return (r or {}).get("content", {}).get(content_type, {}).get("schema")
