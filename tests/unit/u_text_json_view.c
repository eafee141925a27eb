#include "unit.h"

#include "../json_same.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct reading {
    struct arena arena;
    struct json_views views;
    struct err err;
    enum json_view_fault fault;
    int rc;
};

static void setup(struct reading *r, struct str text) {
    *r = (struct reading){0};
    arena_init(&r->arena, (size_t)64 << 20);
    r->rc = json_view_read(text, &r->arena, &r->views, &r->fault, &r->err);
}

static void teardown(struct reading *r) {
    json_views_release(&r->views);
    arena_release(&r->arena);
}

static void refuses_with_a_reason(void **state) {
    static const struct {
        struct str text;
        const char *want;
    } cases[] = {
#define S(s) {s, sizeof(s) - 1}
        {S(""), "it ends where a value should come (byte 1)"},
        {S("{\"a\":1,\"a\":2}"), "the key \"a\" comes twice"},
        {S("{\"a\":1,\"\\u0061\":2}"), "the key \"a\" comes twice"},
        {S("\"\\ud800x\""), "lone surrogate \\ud800"},
        {S("\"\\ud800\\u0041\""), "lone surrogate \\ud800"},
        {S("\"\\udc00\""), "lone surrogate \\udc00"},
        {S("1e999"), "number out of range"},
        {S("-1e400"), "number out of range"},
        {S("\"a\0b\""), "a NUL byte in a string"},
        {S("{\"a\":\0}"), "a NUL byte where a value should come"},
        {S("\"a\nb\""), "control character 0x0a"},
        {S("\"\xE9\""), "byte 0xe9 is not UTF-8 (byte 2)"},
        {S("\"\xED\xA0\x80\""), "not UTF-8"},
        {S("[1,]"), "']' where a value should come"},
        {S("[1 2]"), "'2' where ',' or ']' should come"},
        {S("{\"a\" 1}"), "'1' where ':' should come"},
        {S("{a:1}"), "'a' where a key in quotes should come"},
        {S("{\"a\":1} x"), "'x' where the end should come"},
        {S("01"), "a number that JSON does not have"},
        {S("1."), "a number that ends in a point"},
        {S("1e+"), "without digits in its exponent"},
        {S("\"\\x\""), "an escape that JSON does not have"},
        {S("\"\\u12\""), "four hexadecimal digits"},
        {S("\"abc"), "a string is not closed"},
        {S("tru"), "'t' where a value should come"},
        {S("{\"\\u0000\":1}"), "a key with \\u0000"},
#undef S
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct reading r;
        setup(&r, cases[i].text);
        if (r.rc != ERR_INVALID || !strstr(r.err.msg, cases[i].want))
            fail_msg("%s: want \"%s\", got %d \"%s\"", cases[i].text.p, cases[i].want, r.rc,
                     r.err.msg);
        assert_int_equal(r.fault == JSON_VIEW_NOT_UTF8, strstr(r.err.msg, "not UTF-8") != NULL);
        teardown(&r);
    }
}

static void limits_hold(void **state) {
    struct reading r;
    struct buf b;
    (void)state;
    buf_init(&b, (size_t)64 << 20);
    for (int depth = JSON_VIEW_DEPTH; depth <= JSON_VIEW_DEPTH + 1; depth++) {
        buf_clear(&b);
        for (int i = 0; i < depth; i++) buf_byte(&b, '[');
        for (int i = 0; i < depth; i++) buf_byte(&b, ']');
        setup(&r, buf_view(&b));
        assert_int_equal(r.rc != 0, depth > JSON_VIEW_DEPTH);
        teardown(&r);
    }
    buf_clear(&b);
    buf_byte(&b, '[');
    for (size_t i = 0; i < JSON_VIEW_VALUES_MAX; i++) buf_z(&b, i ? ",1" : "1");
    buf_byte(&b, ']');
    setup(&r, buf_view(&b));
    assert_int_equal(r.fault, JSON_VIEW_LIMIT);
    teardown(&r);
    buf_release(&b);
}

static void views_say_what_is_there(void **state) {
    struct reading r;
    (void)state;
    setup(&r, STR_LIT(" {\"a\": [1, {\"b\": \"x\\ny\\u00e9\"}, true], \"c\": -2.5e1, \"d\": {}} "));
    assert_int_equal(r.rc, 0);
    const struct json_view *a = json_view_get(r.views.list, "a");
    assert_int_equal(a->count, 3);
    assert_true(str_is(a->text, "[1, {\"b\": \"x\\ny\\u00e9\"}, true]"));
    const struct json_view *second = json_view_next(json_view_first(a));
    assert_true(str_is(json_view_get(second, "b")->text, "x\ny\xC3\xA9"));
    assert_true(json_view_number(json_view_get(r.views.list, "c")) == -25);
    assert_null(json_view_get(r.views.list, "b"));
    assert_null(json_view_get(a, "b"));
    assert_string_equal(json_view_type_name(json_view_get(r.views.list, "e")), "absent");
    struct buf b;
    buf_init(&b, 1 << 16);
    json_view_write(&b, r.views.list);
    assert_string_equal(b.p, "{\"a\":[1,{\"b\":\"x\\ny\\u00e9\"},true],\"c\":-2.5e1,\"d\":{}}");
    buf_clear(&b);
    json_view_quote(&b, (struct str){"a\"\\\n\x01\0\xC3\xA9\x7F", 9});
    assert_string_equal(b.p, "\"a\\\"\\\\\\n\\u0001\\u0000\xC3\xA9\x7F\"");
    buf_release(&b);
    teardown(&r);
}

/* every committed JSON input, and each of its lines */
static void agrees_with_jansson(void **state) {
    static const char *const dirs[] = {"tests/fuzz/corpus/json", "tests/fuzz/corpus/json_view",
                                       "tests/fuzz/corpus/rows", "tests/fuzz/corpus/jsonl",
                                       "tests/fuzz/corpus/chat_request"};
    size_t compared = 0;
    (void)state;
    for (size_t d = 0; d < COUNT(dirs); d++) {
        char **names = NULL;
        size_t count = 0;
        struct err err;
        assert_int_equal(dir_list(dirs[d], &names, &count, &err), 0);
        for (size_t i = 0; i < count; i++) {
            struct buf b;
            char *path = path_join(dirs[d], names[i]);
            buf_init(&b, (size_t)16 << 20);
            assert_int_equal(file_read(path, &b, &err), 0);
            struct str rest = buf_view(&b);
            const char *difference = json_difference(rest);
            while (rest.n && !difference) {
                const char *nl = memchr(rest.p, '\n', rest.n);
                struct str line = {rest.p, nl ? (size_t)(nl - rest.p) : rest.n};
                rest = str_from(rest, line.n + 1);
                difference = json_difference(line);
                compared++;
            }
            if (difference) fail_msg("%s: %s", path, difference);
            buf_release(&b);
            mem_free(path);
        }
        dir_list_free(names, count);
    }
    assert_true(compared > 50);
}

UNIT_TESTS(text_json_view, cmocka_unit_test(refuses_with_a_reason), cmocka_unit_test(limits_hold),
           cmocka_unit_test(views_say_what_is_there), cmocka_unit_test(agrees_with_jansson))
