/* Readers: what they refuse, that they agree with training's reader, encodings, sizes. */
#include "source_fixture.h"

#include "base/utf8.h"
#include "data/rows.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define S(s)                                                                                       \
    { s, sizeof(s) - 1 }
#define GOOD                                                                                       \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"    \
    "\"b\"}]}"

static const struct source_options plain;

/* --- what is refused, and by what name ------------------------------------------------------- */

static const struct {
    struct str row;
    const char *want; /* kind and message of the one finding; NULL: none */
    bool example;
} rows_of_openai[] = {
    {S(GOOD), NULL, true},
    {S("{\"prompt\":\"a\",\"completion\":\"b\"}"), NULL, true},
    {S("{\"messages\": nope}"), "invalid_format -1", false},
    {S("{\"messages\":[],\"messages\":[]}"), "invalid_format -1", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud83d\"}]}"), "invalid_format -1", false},
    {S("{\"messages\":[],\"x\":1e999}"), "invalid_format -1", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"a\0b\"}]}"), "invalid_format -1", false},
    {S("[1]"), "invalid_format -1", false},
    {S("7"), "invalid_format -1", false},
    {S("{\"messages\":\"hi\"}"), "missing_messages_list -1", false},
    {S("{\"messages\":[]}"), "missing_messages_list -1", false},
    {S("{\"foo\":1}"), "missing_messages_list -1", false},
    {S("{}"), "missing_messages_list -1", false},
    {S("{\"messages\":[5]}"), "invalid_format 0", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":5}]}"), "missing_content 0", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}"),
     "invalid_format 0", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"mood\":1},"
       "{\"role\":\"assistant\",\"content\":\"b\"}]}"),
     "message_unrecognized_key 0", true},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
       "{\"role\":\"assistant\",\"content\":\"b\",\"tool_calls\":{}}]}"),
     "invalid_format 1", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
       "{\"role\":\"assistant\",\"content\":\"b\"}],\"label\":false}"),
     "low_feedback -1", true},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"\xE9t\xE9\"},"
       "{\"role\":\"assistant\",\"content\":\"\xC3\xA9\"}]}"),
     "mended_encoding -1", true},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":\"\x81\"}]}"), "invalid_format -1", false},
    {S("{\"input\":5,\"preferred_output\":[]}"), "missing_messages_list -1", false},
    {S("{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]},"
       "\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"b\"}]}"),
     "invalid_format -1", false},
    {S("{\"text\":5}"), "invalid_format -1", false},
    {S("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"xxxxxxxxxxxxxxxxxxxxxxxxx"
       "xxxxxxxxxxxxxx\xC3\xA9\"}]}]}"),
     "invalid_format 0", false},
    {S("{\"prompt\":\"a\",\"completion\":null}"), "invalid_format -1", false},
};

static void each_defect_is_said_once(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows_of_openai); i++) {
        const char *want = rows_of_openai[i].want;
        char line[80];
        struct all a = all_of(file_of("one.jsonl", rows_of_openai[i].row), &plain, 1);
        if (a.rc) fail_msg("%s", a.err.msg);
        assert_true(utf8_valid_prefix(buf_view(&a.findings)) == a.findings.n);
        if (want) snprintf(line, sizeof line, "1 %s: ", want);
        bool fine = want ? a.findings.n && strncmp(a.findings.p, line, strlen(line)) == 0 &&
                               strchr(a.findings.p, '\n') == a.findings.p + a.findings.n - 1
                         : a.findings.n == 0;
        if (!fine || a.examples != rows_of_openai[i].example)
            fail_msg("%s\n  want %s, got %s, %lld examples", rows_of_openai[i].row.p,
                     want ? want : "nothing", a.findings.p, (long long)a.examples);
        all_release(&a);
    }
}

/* All of them in one file between good rows: the same findings at the right rows, all good rows. */
static void defects_in_a_file_are_found_where_they_are(void **state) {
    struct buf text, want;
    int64_t row = 0, examples = 0;
    (void)state;
    buf_init(&text, 1 << 22);
    buf_init(&want, 1 << 22);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < COUNT(rows_of_openai); i++) {
            if (i == 1) continue; /* another kind */
            row++;
            buf_str(&text, rows_of_openai[i].row);
            buf_z(&text, i % 3 ? "\n" : "\r\n\n");
            examples += rows_of_openai[i].example;
            if (rows_of_openai[i].want)
                buf_printf(&want, "%lld %s\n", (long long)row, rows_of_openai[i].want);
        }
    }
    const char *path = file_of("all.jsonl", buf_view(&text));
    struct all a = all_of(path, &plain, 1), b = all_of(path, &plain, 3);
    assert_int_equal(a.records, row);
    assert_int_equal(a.examples, examples);
    assert_string_equal(a.findings.p, b.findings.p);
    assert_string_equal(a.json.p, b.json.p);
    const char *got = a.findings.p, *line = want.p;
    while (*line) {
        size_t n = strcspn(line, "\n");
        if (strncmp(got, line, n) != 0) fail_msg("want %.*s, got %.60s", (int)n, line, got);
        line += n + 1;
        got += strcspn(got, "\n") + 1;
    }
    assert_int_equal(*got, 0);
    all_release(&a);
    all_release(&b);
    buf_release(&text);
    buf_release(&want);
}

static void one_file_holds_one_kind(void **state) {
    (void)state;
    struct all a = all_of(
        file_of("kinds.jsonl", STR_LIT("{bad\n" GOOD "\n{\"text\":\"a\"}\n" GOOD "\n")), &plain, 1);
    assert_int_equal(a.examples, 2);
    assert_non_null(strstr(a.findings.p, "3 invalid_format -1: this is a text row, but row 2 is"));
    all_release(&a);
}

/* --- the same as training reads --------------------------------------------------------------- */

static const char *const more_rows[] = {
    "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
    "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0}]"
    "}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"weight\":1},{\"role\":\"assistant\","
    "\"content\":\"b\"}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
    "\"b\",\"weight\":\"1\"}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":null},{\"role\":\"assistant\",\"content\":"
    "\"b\"}]}",
    "{\"messages\":[{\"role\":\"user\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
    "{\"messages\":[{\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
    "{\"messages\":[{\"role\":\"bot\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
    "\"b\"}]}",
    "{\"messages\":[{\"role\":3,\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,"
    "\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
    "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}}],\"functions\":[{\"name\":\"f\"}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":"
    "[{\"function\":{\"arguments\":\"{}\"}}]}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":"
    "[{\"name\":\"f\",\"arguments\":{\"a\":1}}]}]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
    "\"b\"}],\"tools\":{}}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
    "\"b\"}],\"tools\":[1]}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
    "\"b\"}],\"tools\":null,\"seed\":12345678901234567890123}",
    "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]},\"preferred_output\":"
    "[{\"role\":\"assistant\",\"content\":\"b\"}],\"non_preferred_output\":[{\"role\":"
    "\"assistant\",\"content\":\"c\"}]}",
    "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]},\"preferred_completion\":"
    "[{\"role\":\"assistant\",\"content\":\"b\"}],\"non_preferred_output\":[{\"role\":"
    "\"user\",\"content\":\"c\"}]}",
    "{\"input\":{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]},\"preferred_output\":"
    "[{\"role\":\"assistant\",\"content\":\"b\"}],\"non_preferred_output\":[{\"role\":"
    "\"assistant\",\"content\":\"c\"}]}",
    "{\"prompt\":\"\",\"completion\":\"b\"}",
    "{\"prompt\":\"a\",\"completion\":\"\"}",
    "{\"text\":\"\"}",
    "{\"text\":\"a\\u0000b\"}",
};

static void agree(struct str row) {
    struct rows rows = {0};
    struct err err;
    int rc = rows_from_text(row, "row", &rows, &err);
    struct all a = all_of(file_of("agree.jsonl", row), &plain, 1);
    bool note = a.findings.n && (strstr(a.findings.p, "message_unrecognized_key") ||
                                 strstr(a.findings.p, "low_feedback"));
    if (a.rc && !strstr(a.err.msg, "nothing in the file") && !strstr(err.msg, "UTF-16"))
        fail_msg("%s", a.err.msg);
    if (!rc && rows.count == 1 && a.examples != 1)
        fail_msg("training reads it, the reader says %s: %.*s", a.findings.p, STR_ARG(row));
    if (!rc && a.findings.n && !note)
        fail_msg("training reads it, but finding %s: %.*s", a.findings.p, STR_ARG(row));
    if (rc && !a.rc && a.examples && !a.findings.n && !a.suspects)
        fail_msg("training says %s, the reader nothing: %.*s", err.msg, STR_ARG(row));
    if (!rc) rows_release(&rows);
    all_release(&a);
}

static void agrees_with_training(void **state) {
    char **names = NULL;
    size_t count = 0;
    struct err err;
    (void)state;
    for (size_t i = 0; i < COUNT(rows_of_openai); i++) agree(rows_of_openai[i].row);
    for (size_t i = 0; i < COUNT(more_rows); i++) agree(str_of(more_rows[i]));
    assert_int_equal(dir_list("tests/fuzz/corpus/rows", &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join("tests/fuzz/corpus/rows", names[i]);
        struct buf b;
        buf_init(&b, 1 << 20);
        assert_int_equal(file_read(path, &b, &err), 0);
        for (struct str rest = buf_view(&b); rest.n;) {
            const char *nl = memchr(rest.p, '\n', rest.n);
            struct str line = {rest.p, nl ? (size_t)(nl - rest.p) : rest.n};
            rest = str_from(rest, line.n + 1);
            if (line.n && line.p[0] == '{') agree(line);
        }
        buf_release(&b);
        mem_free(path);
    }
    dir_list_free(names, count);
}

/* --- encodings -------------------------------------------------------------------------------- */

static void as_utf16(struct str ascii, bool big, struct buf *out) {
    buf_z(out, big ? "\xFE\xFF" : "\xFF\xFE");
    for (size_t i = 0; i < ascii.n; i++) {
        if (big) buf_byte(out, 0);
        buf_byte(out, ascii.p[i]);
        if (!big) buf_byte(out, 0);
    }
}

static void reads_other_encodings(void **state) {
    (void)state;
    struct all a = all_of(file_of("bom.jsonl", STR_LIT("\xEF\xBB\xBF" GOOD "\n" GOOD)), &plain, 1);
    assert_int_equal(a.examples, 2);
    assert_int_equal(a.findings.n, 0);
    all_release(&a);
    for (int big = 0; big < 2; big++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        as_utf16(STR_LIT(GOOD "\n" GOOD "\n"), big, &b);
        buf_add(&b, big ? "\xD8\x3D\0\n" : "\x3D\xD8\n\0", 4); /* half a character */
        a = all_of(file_of("wide.jsonl", buf_view(&b)), &plain, 1);
        assert_int_equal(a.examples, 2);
        assert_string_equal(a.json.p, GOOD "\n" GOOD "\n");
        assert_int_equal(a.records, 3);
        assert_non_null(strstr(a.findings.p, "3 invalid_format"));
        assert_non_null(strstr(a.reason.p, "UTF-16"));
        all_release(&a);
        buf_release(&b);
    }
    a = all_of(file_of("mixed.csv", STR_LIT("text,category\ncaf\xE9 \x80,1\ncaf\xC3\xA9,2\n")),
               &plain, 1);
    assert_non_null(strstr(a.json.p, "caf\xC3\xA9 \xE2\x82\xAC"));
    assert_non_null(strstr(a.json.p, "\"caf\xC3\xA9\""));
    assert_string_equal(a.findings.p,
                        "1 mended_encoding -1: bytes that are not UTF-8, read as Windows-1252\n");
    all_release(&a);
}

static void refuses_other_files_by_name(void **state) {
    static const struct {
        struct str text;
        const char *want;
    } files[] = {
        {S("\x1F\x8B\x08 rest"), "gzip -d"},  {S("\xFF\xFE\0\0{\0\0\0"), "UTF-32"},
        {S("{\0\"\0a\0"), "UTF-16 without"},  {S("PK\3\4rest"), "ZIP archive"},
        {S("PAR1rest"), "Parquet"},           {S(""), "nothing in the file"},
        {S("\xEF\xBB\xBF \n"), "nothing in"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct all a = all_of(file_of("odd", files[i].text), &plain, 1);
        if (!a.rc || !strstr(a.err.msg, files[i].want))
            fail_msg("want %s, got %s", files[i].want, a.rc ? a.err.msg : "success");
        all_release(&a);
    }
    struct all a = all_of("/nonexistent/rows.jsonl", &plain, 1);
    assert_int_equal(a.rc, ERR_NOT_FOUND);
    all_release(&a);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* before, then `bytes` of filler, then after */
static const char *long_file(const char *name, const char *before, size_t bytes,
                             const char *after) {
    static char path[512];
    struct file_writer w;
    struct err err;
    char *filler = mem_alloc(1 << 20);
    memset(filler, 'x', 1 << 20);
    snprintf(path, sizeof path, "%s/%s", unit_dir(), name);
    assert_int_equal(file_writer_open(path, &w, &err), 0);
    file_writer_add(&w, before, strlen(before), &err);
    for (size_t i = 0; i < bytes >> 20; i++) file_writer_add(&w, filler, 1 << 20, &err);
    file_writer_add(&w, after, strlen(after), &err);
    assert_int_equal(file_writer_commit(&w, &err), 0);
    mem_free(filler);
    return path;
}

static void skips_what_is_too_long(void **state) {
    static const struct {
        const char *name, *before, *after;
    } files[] = {
        {"long.jsonl", GOOD "\n{\"messages\":\"", "\"}\n" GOOD "\n"},
        {"long2.jsonl", GOOD "\n", "\n" GOOD "\n"},
        {"long.json", "[" GOOD ",{\"messages\":\"", "\"}," GOOD "]"},
        {"long.csv", "text,label\na,b\n\"", "\",c\nd,e\n"},
    };
    struct source_options o = {.record_max = 1 << 20};
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        const char *path =
            long_file(files[i].name, files[i].before, (size_t)48 << 20, files[i].after);
        mem_rss_peak_reset();
        size_t before = mem_rss();
        struct all a = all_of(path, &o, 1);
        size_t peak = mem_rss_peak();
        if (a.rc) fail_msg("%s: %s", files[i].name, a.err.msg);
        if (a.examples != 2 || !strstr(a.findings.p, "2 invalid_format -1: the record has 503"))
            fail_msg("%s: %lld examples, %s", files[i].name, (long long)a.examples, a.findings.p);
        if (UNIT_MEASURES_MEMORY && peak > before + ((size_t)32 << 20))
            fail_msg("%s: %zu MiB", files[i].name, (peak - before) >> 20);
        assert_int_equal(a.records, 3);
        all_release(&a);
        remove(path);
    }
}

/* The same whatever the threads, and whole where blocks meet. */
static void blocks_and_threads_change_nothing(void **state) {
    struct buf lines, list;
    (void)state;
    buf_init(&lines, (size_t)64 << 20);
    buf_init(&list, (size_t)64 << 20);
    buf_z(&list, "[");
    for (int i = 0; lines.n < (size_t)18 << 20; i++) {
        size_t from = lines.n;
        buf_printf(&lines,
                   "{\"id\":%d,\"messages\":[{\"role\":\"user\",\"content\":\"%0*d \\\" {\\\\\"},"
                   "{\"role\":\"assistant\",\"content\":\"]\"}]}",
                   i, 1 + i * 37 % 3000, i);
        if (i) buf_z(&list, i % 2 ? " ,\n" : ",");
        buf_add(&list, lines.p + from, lines.n - from);
        buf_byte(&lines, '\n');
    }
    buf_z(&list, "\n]\n");
    struct all a = all_of(file_of("blocks.jsonl", buf_view(&lines)), &plain, 1);
    struct all b = all_of(file_of("blocks.jsonl", buf_view(&lines)), &plain, 3);
    struct all c = all_of(file_of("blocks.json", buf_view(&list)), &plain, 2);
    assert_int_equal(a.findings.n + b.findings.n + c.findings.n, 0);
    assert_true(str_eq(buf_view(&a.json), buf_view(&lines)));
    assert_true(str_eq(buf_view(&b.json), buf_view(&lines)));
    assert_true(str_eq(buf_view(&c.json), buf_view(&lines)));
    all_release(&a);
    all_release(&b);
    all_release(&c);
    buf_release(&lines);
    buf_release(&list);
}

UNIT_TESTS(data_source, cmocka_unit_test(each_defect_is_said_once),
           cmocka_unit_test(defects_in_a_file_are_found_where_they_are),
           cmocka_unit_test(one_file_holds_one_kind), cmocka_unit_test(agrees_with_training),
           cmocka_unit_test(reads_other_encodings), cmocka_unit_test(refuses_other_files_by_name),
           cmocka_unit_test(skips_what_is_too_long),
           cmocka_unit_test(blocks_and_threads_change_nothing))
