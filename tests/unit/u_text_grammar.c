/* Grammars: what they accept as texts, against the JSON Schema Test Suite and by hand; what they
 * refuse to compile. Masks and tokens: u_text_grammar_tokens.c. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "text/grammar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE "../shared/data/json-schema-test-suite/draft2020-12"

static json_t *parse(const char *text) {
    struct err err;
    json_t *v;
    if (json_read(str_of(text), "test", &v, &err)) fail_msg("%s", err.msg);
    return v;
}

static struct grammar *compile(const char *schema) {
    struct err err;
    struct grammar *g = NULL;
    json_t *v = parse(schema);
    int rc = grammar_compile(v, NULL, &g, NULL, &err);
    json_decref(v);
    if (rc) fail_msg("%s: %s", schema, err.msg);
    return g;
}

/* --- by hand -------------------------------------------------------------------------------------
 */

static const struct {
    const char *schema, *text;
    bool ok;
} texts[] = {
    {"{}", "{\"a\": [1, 2.5e3, -0.25, null], \"b\":\"\\u00e9\\n\\ud83d\\ude00\"}", true},
    {"{}", "{\"a\":  1}", false},
    {"{}", " 1", false},
    {"{}", "1 ", false},
    {"{}", "[1,\n2]", false},
    {"{}", "\"\\ud83d\"", false},
    {"{}", "\"\\u0000\"", false},
    {"{}", "\"\xC3\x28\"", false},
    {"{}", "01", false},
    {"{}", "-", false},
    {"{}", "1.", false},
    {"{}", "", false},
    {"{\"type\":\"integer\"}", "-12", true},
    {"{\"type\":\"integer\"}", "-0", false},
    {"{\"type\":\"integer\"}", "1.0", false},
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", "-5", true},
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", "-6", false},
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", "120", true},
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", "121", false},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":1.25}", "0.5", false},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":1.25}", "0.50", false},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":1.25}", "0.501", true},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":1.25}", "1.250", true},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":1.25}", "1.2501", false},
    {"{\"type\":\"number\",\"multipleOf\":0.25}", "17.75", true},
    {"{\"type\":\"number\",\"multipleOf\":0.25}", "17.7", false},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":100,\"maximum\":106}", "105", true},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":100,\"maximum\":106}", "104", false},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"\xC3\xA9\xF0\x9F\x98\x80\"", true},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"\\ud83d\\ude00\"", false},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"abcd\"", false},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z]+-\\\\d{2,}$\"}", "\"ab-123\"", true},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z]+-\\\\d{2,}$\"}", "\"ab-1\"", false},
    {"{\"type\":\"string\",\"pattern\":\"b|^a$\"}", "\"a\"", true},
    {"{\"type\":\"string\",\"pattern\":\"b|^a$\"}", "\"ac\"", false},
    {"{\"type\":\"string\",\"pattern\":\"b|^a$\"}", "\"\\ncb\\\"\"", true},
    {"{\"enum\":[\"a\",1,null,{\"x\":[1,2]}]}", "{\"x\": [1,2]}", true},
    {"{\"enum\":[\"a\",1,null,{\"x\":[1,2]}]}", "{\"x\": [1,3]}", false},
    {"{\"enum\":[\"a\",1,null],\"type\":\"integer\"}", "\"a\"", false},
    {"{\"enum\":[1,12,123],\"maximum\":50}", "12", true},
    {"{\"enum\":[1,12,123],\"maximum\":50}", "123", false},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     "{\"b\":null}", true},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     "{\"b\":null,\"a\":1}", false},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}",
     "{\"x\":1,\"ab\":2,\"\":3}", true},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}", "{\"x\":1,\"a\":\"s\"}",
     false},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}",
     "{\"x\":1,\"\\u0061\":\"s\"}", false},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":2}", "[]",
     false},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":2}",
     "[true, false]", true},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":2}",
     "[true,false,true]", false},
    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":"
     "{"
     "\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}},\"required\":[\"v\",\"next\"],"
     "\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
     "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}", true},
    {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":["
     "\"k\"]},"
     "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"k\"]}]}",
     "{\"k\":\"b\"}", true},
    {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"string\"}]}", "\"x\"", true},
    {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"string\"}]}", "1", false},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"minimum\":2}}},{\"properties\":{\"a\":{\"type\":"
     "\"integer\"}},\"additionalProperties\":false}],\"type\":\"object\"}",
     "{\"a\":2}", true},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"minimum\":2}}},{\"properties\":{\"a\":{\"type\":"
     "\"integer\"}},\"additionalProperties\":false}],\"type\":\"object\"}",
     "{\"a\":1}", false},
    {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]+$\"},\"additionalProperties\":{"
     "\"type\":\"integer\"}}",
     "{\"abc\":1,\"d\":2}", false},
    {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]+$\"},\"additionalProperties\":{"
     "\"type\":\"integer\"}}",
     "{\"abc\":1,\"a\":2}", true},
};

static void texts_are_accepted_or_not(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct grammar *g = compile(texts[i].schema);
        struct str text = str_of(texts[i].text);
        bool ok = grammar_accepts_text(g, text, true);
        if (ok != texts[i].ok)
            fail_msg("%s %s %s", texts[i].schema, ok ? "accepts" : "refuses", texts[i].text);
        for (size_t n = 0; ok && n <= text.n; n++)
            if (!grammar_accepts_text(g, (struct str){text.p, n}, false))
                fail_msg("%s refuses the first %zu bytes of %s", texts[i].schema, n, text.p);
        grammar_free(g);
    }
}

static const struct {
    const char *schema, *path, *message; /* part of it */
    int code;
} refused[] = {
    {"{\"properties\":{\"a\":{\"not\":{}}}}", "schema.properties.a.not", "\"not\"",
     ERR_UNSUPPORTED},
    {"{\"patternProperties\":{}}", "schema.patternProperties", "patternProperties",
     ERR_UNSUPPORTED},
    {"{\"uniqueItems\":true}", "schema.uniqueItems", "uniqueItems", ERR_UNSUPPORTED},
    {"{\"anyOf\":[{},{\"if\":{}}]}", "schema.anyOf[1].if", "\"if\"", ERR_UNSUPPORTED},
    {"{\"minLenght\":1}", "schema.minLenght", "minLenght", ERR_UNSUPPORTED},
    {"{\"$ref\":\"http://example.com/x\"}", "schema.$ref", "example.com", ERR_UNSUPPORTED},
    {"{\"$ref\":\"#/$defs/x\"}", "schema.$ref", "leads to no schema", ERR_INVALID},
    {"{\"type\":\"strin\"}", "schema.type", "must be one of", ERR_INVALID},
    {"{\"minLength\":-1}", "schema.minLength", "whole number", ERR_INVALID},
    {"{\"pattern\":\"(?=a)b\"}", "schema.pattern", "look-ahead", ERR_UNSUPPORTED},
    {"{\"pattern\":\"(a\"}", "schema.pattern", "group without", ERR_INVALID},
    {"{\"format\":\"uri\"}", "schema.format", "uri", ERR_UNSUPPORTED},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", "schema.oneOf", "in common",
     ERR_UNSUPPORTED},
    {"{\"$ref\":\"#\"}", "schema", "no value", ERR_INVALID},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^a{5}$\","
     "\"maxLength\":4}},\"required\":[\"a\"]}",
     "schema.properties.a", "no value", ERR_INVALID},
    {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "schema", "no value", ERR_INVALID},
    {"{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}},\"required\":[\"n\"]}",
     "schema.properties.n", "no value", ERR_INVALID},
    {"{\"type\":\"array\",\"maxItems\":1000000}", "schema", "at most", ERR_LIMIT},
    {"{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){20}\"}", "schema.pattern", "too many",
     ERR_LIMIT},
    {"{\"pattern\":\"^(\\\\p{L}?){3000}$\"}", "schema.pattern", "too m", ERR_LIMIT},
    {"{\"pattern\":\"((x{1000}){1000}){1000}\"}", "schema.pattern", "too many", ERR_LIMIT},
    {"{\"allOf\":[{\"anyOf\":[{},{},{},{},{},{}]},{\"anyOf\":[{},{},{},{},{},{}]},{\"anyOf\":[{},{}"
     ",{"
     "},{},{},{}]},{\"anyOf\":[{},{},{},{},{},{}]},{\"anyOf\":[{},{},{},{},{},{}]}]}",
     "schema", "combinations", ERR_LIMIT},
    {"{\"type\":\"integer\",\"multipleOf\":0}", "schema.multipleOf", "greater than 0", ERR_INVALID},
    {"{\"type\":\"object\",\"minProperties\":2}", "schema", "minProperties", ERR_UNSUPPORTED},
    {"[]", "schema", "an object or a boolean", ERR_INVALID},
};

static void refusals_name_the_keyword_and_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct err err = {0};
        struct grammar *g = NULL;
        char path[GRAMMAR_PATH_MAX];
        json_t *v = parse(refused[i].schema);
        int rc = grammar_compile(v, NULL, &g, path, &err);
        json_decref(v);
        bool ok = rc == refused[i].code && err.code == rc && !strcmp(path, refused[i].path) &&
                  strstr(err.msg, refused[i].message);
        if (!ok) fail_msg("%s: %d, at \"%s\": %s", refused[i].schema, rc, path, err.msg);
    }
}

static const struct {
    const char *schema, *message, *path;
} strict[] = {
    {"{\"type\":\"object\",\"properties\":{}}",
     "Invalid schema for response_format 'n': In context=(), 'additionalProperties' is required to "
     "be supplied and to be false.",
     "schema"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{"
     "\"type\":\"string\"}},\"additionalProperties\":false}},\"required\":[\"a\"],"
     "\"additionalProperties\":false}",
     "Invalid schema for response_format 'n': In context=('properties', 'a'), 'required' is "
     "required to be supplied and to be an array including every key in properties. Missing 'b'.",
     "schema.properties.a"},
    {"{\"type\":\"array\"}",
     "Invalid schema for response_format 'n': schema must be a JSON Schema of 'type: \"object\"', "
     "got 'type: \"array\"'.",
     "schema"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"allOf\":[]}]}},"
     "\"required\":[\"a\"],\"additionalProperties\":false}",
     "Invalid schema for response_format 'n': In context=('properties', 'a', 'anyOf', '1'), "
     "'allOf' is not permitted.",
     "schema.properties.a.anyOf[1]"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}},\"required\":[\"a\"],"
     "\"additionalProperties\":false}",
     "Invalid schema for response_format 'n': In context=('properties', 'a'), array schema missing "
     "items.",
     "schema.properties.a"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"description\":\"x\"}},\"required\":[\"a\"],"
     "\"additionalProperties\":false}",
     "Invalid schema for response_format 'n': In context=('properties', 'a'), schema must have a "
     "'type' key.",
     "schema.properties.a"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]},\"n\":{\"anyOf\":"
     "[{"
     "\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"a\",\"n\"],"
     "\"additionalProperties\":false}",
     NULL, NULL},
};

static void strict_rules_have_openais_messages(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof strict / sizeof *strict; i++) {
        struct err err = {0};
        char path[GRAMMAR_PATH_MAX] = "";
        json_t *v = parse(strict[i].schema);
        int rc = grammar_check_strict(v, "response_format", STR_LIT("n"), NULL, path, &err);
        json_decref(v);
        if (!strict[i].message) {
            if (rc) fail_msg("%s: %s", strict[i].schema, err.msg);
            continue;
        }
        assert_int_equal(rc, ERR_INVALID);
        assert_string_equal(err.msg, strict[i].message);
        assert_string_equal(path, strict[i].path);
    }
}

/* --- the test suite ------------------------------------------------------------------------------
 */

static void put_number(const json_t *v, struct buf *b) {
    double x = json_number_value(v);
    char text[400] = "";
    if (json_is_integer(v)) {
        json_write(v, b);
        return;
    }
    for (int digits = 1; digits < 18 && (!*text || strtod(text, NULL) != x); digits++)
        snprintf(text, sizeof text, "%.*g", digits, x);
    if (x == floor(x)) snprintf(text, sizeof text, "%.0f", x);
    buf_z(b, text);
}

/* One of the orders that the members of all objects inside may have: *choice selects, and is
 * divided down. */
static void put_ordered(const json_t *v, uint64_t *choice, struct buf *b) {
    if (json_is_array(v)) {
        buf_byte(b, '[');
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i) buf_byte(b, ',');
            put_ordered(json_array_get(v, i), choice, b);
        }
        buf_byte(b, ']');
        return;
    }
    if (!json_is_object(v)) {
        if (json_is_number(v))
            put_number(v, b);
        else
            json_write(v, b);
        return;
    }
    const char *names[32];
    size_t n = 0;
    void *at = json_object_iter((json_t *)v);
    for (; at && n < 32; at = json_object_iter_next((json_t *)v, at))
        names[n++] = json_object_iter_key(at);
    buf_byte(b, '{');
    for (; n; n--) {
        size_t pick = *choice % n;
        *choice /= n;
        const char *name = names[pick];
        json_write_str(b, str_of(name));
        buf_byte(b, ':');
        put_ordered(json_object_get(v, name), choice, b);
        memmove(names + pick, names + pick + 1, (n - pick - 1) * sizeof *names);
        if (n > 1) buf_byte(b, ',');
    }
    buf_byte(b, '}');
}

static uint64_t orders(const json_t *v) {
    uint64_t n = 1, k = 1;
    for (size_t i = 0; i < json_array_size(v); i++) n *= orders(json_array_get(v, i));
    const char *name;
    json_t *e;
    json_object_foreach((json_t *)v, name, e) n *= orders(e) * k++;
    return n;
}

/* accepted with some order of the members */
static bool accepts(const struct grammar *g, const json_t *v) {
    uint64_t count = orders(v);
    bool ok = false;
    for (uint64_t i = 0; !ok && i < count && i < 5000; i++) {
        struct buf b;
        uint64_t choice = i;
        buf_init(&b, 1 << 20);
        put_ordered(v, &choice, &b);
        ok = grammar_accepts_text(g, buf_view(&b), true);
        buf_release(&b);
    }
    return ok;
}

/* What the grammars leave out on purpose; docs/constrained-decoding.md has the reasons. */
static const struct {
    const char *file, *group, *test; /* group, test: NULL for all, else how they begin */
} left_out[] = {
    /* a format is a promise here, not an annotation; a dialect cannot turn keywords off */
    {"format.json", NULL, "invalid "},
    {"vocabulary.json", "schema that uses custom metaschema", "no validation: invalid"},
    /* whole numbers of more than 64 digits, durations of more than 9 */
    {"optional/float-overflow.json", NULL, NULL},
    {"optional/format/duration.json", NULL, "a component with many digits"},
    {"optional/format/hostname.json", "validation of A-label", NULL}, /* xn--... */
    /* leap seconds */
    {"optional/format/date-time.json", NULL, "a valid date-time with a leap second"},
    {"optional/format/time.json", NULL, "a valid time string with leap second"},
    {"optional/format/time.json", NULL, "valid leap second"},
};

static bool is_left_out(const char *file, const char *group, const char *test) {
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (!strcmp(left_out[i].file, file) &&
            (!left_out[i].group || str_starts(str_of(group), str_of(left_out[i].group))) &&
            (!left_out[i].test || str_starts(str_of(test), str_of(left_out[i].test))))
            return true;
    return false;
}

struct tally {
    int compiled, refused, cases, wrong, left_out;
};

static void run_group(const char *file, const json_t *group, struct tally *t) {
    struct err err = {0};
    struct grammar *g = NULL;
    const json_t *tests = json_object_get(group, "tests");
    const char *about = json_string_value(json_object_get(group, "description"));
    int rc = grammar_compile(json_object_get(group, "schema"), NULL, &g, NULL, &err);
    if (rc) {
        t->refused++;
        if (getenv("SUITE_V")) print_message("%s: %s: %s\n", file, about, err.msg);
        return;
    }
    t->compiled++;
    for (size_t i = 0; i < json_array_size(tests); i++) {
        const json_t *test = json_array_get(tests, i);
        const char *what = json_string_value(json_object_get(test, "description"));
        bool want = json_is_true(json_object_get(test, "valid"));
        bool ok = accepts(g, json_object_get(test, "data")) == want;
        t->cases++;
        if (ok) continue;
        if (is_left_out(file, about, what)) {
            t->left_out++;
            continue;
        }
        t->wrong++;
        print_message("%s: %s: %s: %s\n", file, about, what, want ? "refused" : "accepted");
    }
    grammar_free(g);
}

static void run_file(const char *dir, const char *file, struct tally *t) {
    struct err err;
    char *path = path_join(dir, file);
    json_t *groups;
    if (json_read_file(path, 1 << 24, &groups, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < json_array_size(groups); i++)
        run_group(file, json_array_get(groups, i), t);
    json_decref(groups);
    mem_free(path);
}

static void suite_holds(void **state) {
    (void)state;
    static const char *const dirs[] = {"", "optional/", "optional/format/"};
    struct tally t = {0};
    if (!dir_exists(SUITE)) {
        print_message("skipped: no %s\n", SUITE);
        return;
    }
    for (size_t d = 0; d < 3; d++) {
        struct err err;
        char **names, *dir = path_join(SUITE, dirs[d]);
        size_t n;
        if (dir_list(dir, &names, &n, &err)) fail_msg("%s", err.msg);
        for (size_t i = 0; i < n; i++) {
            if (!str_ends(str_of(names[i]), STR_LIT(".json"))) continue;
            char *file = d ? path_join(dirs[d], names[i]) : mem_strdup(names[i]);
            run_file(SUITE, file, &t);
            mem_free(file);
        }
        dir_list_free(names, n);
        mem_free(dir);
    }
    print_message("suite: %d schemas compiled, %d refused; %d instances, %d left out, %d wrong\n",
                  t.compiled, t.refused, t.cases, t.left_out, t.wrong);
    assert_int_equal(t.wrong, 0);
}

UNIT_TESTS(text_grammar, cmocka_unit_test(texts_are_accepted_or_not),
           cmocka_unit_test(refusals_name_the_keyword_and_its_place),
           cmocka_unit_test(strict_rules_have_openais_messages), cmocka_unit_test(suite_holds))
