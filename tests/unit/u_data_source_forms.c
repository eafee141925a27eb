/* Forms other than OpenAI's: what becomes of them, and the sample files beside the repository. */
#include "source_fixture.h"

#include "base/hash.h"

#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define USER(s) "{\"role\":\"user\",\"content\":\"" s "\"}"
#define ASSISTANT(s) "{\"role\":\"assistant\",\"content\":\"" s "\"}"
#define SYSTEM(s) "{\"role\":\"system\",\"content\":\"" s "\"}"
#define CHAT(s) "{\"messages\":[" s "]}\n"

static const struct source_options plain;

static const struct {
    const char *name, *text;
    enum source_format format;
    const char *reason, *json, *findings;
} forms[] = {
    {"alpaca.json",
     "[{\"instruction\":\"a\",\"input\":\"b\",\"output\":\"c\",\"system\":\"s\","
     "\"history\":[[\"d\",\"e\"]],\"id\":\"r1\"},\n{\"instruction\":\"a\",\"input\":\"\","
     "\"output\":\"c\"}, {\"instruction\":\"a\"}, {\"instruction\":\"a\",\"output\":7}]",
     SOURCE_ALPACA, "a JSON list whose rows have \"instruction\": alpaca's form",
     "{\"id\":\"r1\",\"messages\":[" SYSTEM("s") "," USER("d") "," ASSISTANT("e") "," USER(
         "a\\n\\nb") "," ASSISTANT("c") "]}\n" CHAT(USER("a") "," ASSISTANT("c")),
     "3 message_missing_key -1: there is no answer (\"output\", \"response\", \"answer\", ...)\n"
     "4 missing_content -1: the answer (\"output\", \"response\", \"answer\", ...) must be a "
     "string, not a number\n"},
    {"questions.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n", SOURCE_ALPACA,
     "\"question\" and \"answer\"", CHAT(USER("a") "," ASSISTANT("b")), ""},
    {"trl.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n", SOURCE_ALPACA,
     "\"chosen\" and \"rejected\"",
     "{\"input\":{\"messages\":[" USER("a") "]},\"preferred_output\":[" ASSISTANT(
         "b") "],\"non_preferred_output\":[" ASSISTANT("c") "]}\n",
     ""},
    {"sharegpt.jsonl",
     "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"function_call\","
     "\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"x\\\":1}}\"},{\"from\":"
     "\"observation\",\"value\":\"1\"},{\"from\":\"gpt\",\"value\":\"b\"}],"
     "\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\",\"system\":\"s\"}\n"
     "{\"conversations\":[{\"from\":\"human\"}]}\n{\"conversations\":[]}\n",
     SOURCE_SHAREGPT, "sharegpt's form",
     "{\"messages\":[" SYSTEM("s") "," USER(
         "a") ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\","
              "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}"
              "}]},{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"call_1\"}," ASSISTANT(
                  "b") "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}\n",
     "2 message_missing_key 0: a turn has \"from\" and \"value\"\n"
     "3 missing_messages_list -1: \"conversations\" must be a list of turns, not an empty one\n"},
    {"sharegpt_pair.jsonl",
     "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}],\"chosen\":{\"from\":\"gpt\","
     "\"value\":\"b\"},\"rejected\":{\"from\":\"gpt\",\"value\":\"c\"}}",
     SOURCE_SHAREGPT, "sharegpt",
     "{\"input\":{\"messages\":[" USER("a") "]},\"preferred_output\":[" ASSISTANT(
         "b") "],\"non_preferred_output\":[" ASSISTANT("c") "]}\n",
     ""},
    {"parts.jsonl",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"value\":\"a\"}],"
     "\"loss_weight\":0.0},{\"role\":\"assistant\",\"content\":[{\"type\":\"reasoning\",\"value\":"
     "\"r\"},{\"type\":\"tool_call\",\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{}}\"}"
     "],\"loss_weight\":1.0},{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"value\":\"1\"}]"
     "},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"value\":\"b\"}],\"loss_weight\":"
     "0}]}",
     SOURCE_PARTS, "messages of parts",
     CHAT(USER("a") ",{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"r\","
                    "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{"
                    "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"content\":\"1\","
                    "\"tool_call_id\":\"call_1\"},{\"role\":\"assistant\",\"content\":\"b\","
                    "\"weight\":0}"),
     ""},
    {"parts_pair.jsonl",
     "{\"chosen_messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
     "\"content\":\"b\"}],\"rejected_messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
     "\"assistant\",\"content\":\"c\"}]}\n"
     "{\"chosen_messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
     "\"content\":\"b\"}],\"rejected_messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
     "\"assistant\",\"content\":\"c\"}]}\n",
     SOURCE_PARTS, "\"chosen_messages\"",
     "{\"input\":{\"messages\":[" USER("a") "]},\"preferred_output\":[" ASSISTANT(
         "b") "],\"non_preferred_output\":[" ASSISTANT("c") "]}\n",
     "2 invalid_format -1: \"chosen_messages\" and \"rejected_messages\" differ before their last "
     "message: they do not answer the same\n"},
    {"snips.json",
     "{ \"Weather\": [ {\"data\": [ {\"text\":\"in \"}, {\"text\":\"Oslo\",\"entity\":\"city\"}, "
     "{\"text\":\" or \"}, {\"text\":\"caf\xE9\",\"entity\":\"city\"} ] } ],\n\"version\": 2 }",
     SOURCE_SNIPS, "the snips corpus",
     CHAT(USER("in Oslo or caf\xC3\xA9") "," ASSISTANT(
         "{\\\"intent\\\":\\\"Weather\\\",\\\"slots\\\":{\\\"city\\\":[\\\"Oslo\\\",\\\"caf"
         "\xC3\xA9\\\"]}}")),
     "1 mended_encoding -1: bytes that are not UTF-8, read as Windows-1252\n"},
    {"table.csv", "text,category\r\n\"a \"\"b\"\",\nc\",d\r\n\r\nx\n\"y\"z,1\n", SOURCE_CSV,
     "a table with commas, with a header, \"text\" asks, \"category\" answers",
     CHAT(USER("a \\\"b\\\",\\nc") "," ASSISTANT("d")),
     "2 invalid_format -1: 1 field, where the first row has 2\n"
     "3 invalid_format -1: text behind a closing quote; a quote inside of quotes is doubled\n"},
    {"table.tsv", "system\tquestion\tnote\tanswer\ns\tq\t-\ta\n", SOURCE_TSV,
     "with tabs, with a header, \"system\" is the system prompt, \"question\" asks, \"answer\" "
     "answers",
     CHAT(SYSTEM("s") "," USER("q") "," ASSISTANT("a")), ""},
    {"plain.csv", "How are you?;fine\nAnd you?;well\n", SOURCE_CSV,
     "a table with semicolons, without a header, column 1 asks, column 2 answers",
     CHAT(USER("How are you?") "," ASSISTANT("fine")) CHAT(USER("And you?") "," ASSISTANT("well")),
     ""},
    {"text.txt", "One line\nand another.\n\nA paragraph.\n", SOURCE_TEXT, "plain text",
     "{\"text\":\"One line\\nand another.\\n\\nA paragraph.\"}\n", ""},
    {"page.md", "intro\n\n# A\n\ntext\n```\n# code\n```\n## B\nmore\n", SOURCE_MARKDOWN, "sections",
     "{\"text\":\"intro\"}\n{\"text\":\"# A\\n\\ntext\\n```\\n# code\\n```\"}\n"
     "{\"text\":\"## B\\nmore\"}\n",
     ""},
    {"values.json", "{\n \"text\": \"a\"\n}\n{ \"text\":\n\"b\" }\n", SOURCE_OPENAI,
     "JSON values one behind another", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", ""},
    {"broken.json", "[{\"text\":\"a\"} {\"text\":\"b\"},,{\"text\":\"c\"},{\"text\":\"d\"},{\"te",
     SOURCE_OPENAI, "a JSON list", "{\"text\":\"a\"}\n{\"text\":\"d\"}\n",
     "2 invalid_format -1: not valid JSON: a comma is missing before it\n"
     "3 invalid_format -1: not valid JSON: a comma too many before it\n"
     "5 invalid_format -1: not valid JSON: it has no end: a bracket or quote is missing\n"},
    {"open.json", "[{\"text\":\"a\"}", SOURCE_OPENAI, "a JSON list", "{\"text\":\"a\"}\n",
     "2 invalid_format -1: not valid JSON: the list has no end: the file may be cut off\n"},
};

static void becomes_openais_form(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct all a = all_of(file_of(forms[i].name, str_of(forms[i].text)), &plain, 2);
        if (a.rc) fail_msg("%s: %s", forms[i].name, a.err.msg);
        if (a.format != forms[i].format || !strstr(a.reason.p, forms[i].reason))
            fail_msg("%s: %s, want %s", forms[i].name, a.reason.p, forms[i].reason);
        if (strcmp(a.json.p, forms[i].json) != 0)
            fail_msg("%s:\n  want %s  got  %s", forms[i].name, forms[i].json, a.json.p);
        if (strcmp(a.findings.p, forms[i].findings) != 0)
            fail_msg("%s:\n  want %s  got  %s", forms[i].name, forms[i].findings, a.findings.p);
        all_release(&a);
    }
}

static void columns_can_be_named(void **state) {
    static const struct source_options named = {
        .format = SOURCE_CSV, .prompt_column = "b", .answer_column = "c", .system_column = "a"};
    static const struct source_options wrong = {.format = SOURCE_CSV, .prompt_column = "z"};
    struct str text = STR_LIT("a,b,c,d\n1,2,3,4\n");
    (void)state;
    struct all a = all_of(file_of("named.csv", text), &named, 1);
    assert_string_equal(a.json.p, CHAT(SYSTEM("1") "," USER("2") "," ASSISTANT("3")));
    all_release(&a);
    a = all_of(file_of("named.csv", text), &plain, 1);
    assert_non_null(strstr(a.err.msg, "which of the 4 columns asks and which answers"));
    all_release(&a);
    a = all_of(file_of("named.csv", text), &wrong, 1);
    assert_non_null(strstr(a.err.msg, "there is no column \"z\""));
    all_release(&a);
}

/* --- samples of real data: what they come to is in a list beside this file ------------------- */

#define SAMPLES "../shared/data/finetune"

static void samples_read_as_before(void **state) {
    struct buf list, got;
    struct err err;
    (void)state;
    if (!dir_exists(SAMPLES)) {
        print_message("skipped: no " SAMPLES "\n");
        skip();
    }
    buf_init(&list, 1 << 20);
    buf_init(&got, 1 << 20);
    assert_int_equal(file_read("tests/fixtures/source/samples", &list, &err), 0);
    for (struct str rest = buf_view(&list); rest.n;) {
        size_t n = strcspn(rest.p, "\n"), name = strcspn(rest.p, " \n");
        char path[400], hex[SHA256_HEX + 1], first[SHA256_HEX + 1];
        snprintf(path, sizeof path, SAMPLES "/%.*s", (int)name, rest.p);
        struct all a = all_of(path, &plain, 2);
        if (a.rc) fail_msg("%s", a.err.msg);
        sha256_of(buf_view(&a.json), hex);
        sha256_of((struct str){a.json.p, strcspn(a.json.p, "\n")}, first);
        size_t lines = 0;
        for (size_t i = 0; i < a.findings.n; i++) lines += a.findings.p[i] == '\n';
        buf_clear(&got);
        buf_printf(&got, "%.*s %s %lld %lld %zu %lld %.12s %.12s", (int)name, rest.p,
                   source_format_name(a.format), (long long)a.records, (long long)a.examples, lines,
                   (long long)a.suspects, first, hex);
        if (getenv("SAMPLES_PRINT"))
            print_message("%s\n", got.p);
        else if (!str_eq(buf_view(&got), (struct str){rest.p, n}))
            fail_msg("want %.*s\n got %s", (int)n, rest.p, got.p);
        rest = str_from(rest, n + 1);
        all_release(&a);
    }
    buf_release(&list);
    buf_release(&got);
}

UNIT_TESTS(data_source_forms, cmocka_unit_test(becomes_openais_form),
           cmocka_unit_test(columns_can_be_named), cmocka_unit_test(samples_read_as_before))
