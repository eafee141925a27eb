/* attune compare: the base's and the tuned model's answers to held-out rows, side by side, with a
 * score for each. The last assistant message of a row (or its completion) is the expected answer.
 */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "data/conversation.h"
#include "data/rows.h"
#include "infer/generate.h"
#include "model/assets.h"

#include <stdio.h>
#include <string.h>

#define PROMPT_MAX ((size_t)64 << 20)
#define FILE_MAX ((size_t)1 << 30)
#define SIDES 2

struct compare {
    struct cli_engine engine;
    struct session *session;
    struct rows rows;
    bool grade_json, json;
    int64_t limit, show, max_tokens;
    int64_t right[SIDES];
};

static const char *const side_names[SIDES] = {"base", "tuned"};

static bool is_assistant(const json_t *message) {
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "assistant") == 0;
}

/* the rendered prompt and the expected answer (borrowed from the row) */
static int question(struct compare *c, const struct row *row, struct buf *prompt,
                    struct str *ret_expected, struct err *err) {
    if (c->rows.kind == ROW_COMPLETION) {
        buf_str(prompt, json_str(json_object_get(row->json, "prompt")));
        *ret_expected = json_str(json_object_get(row->json, "completion"));
        return 0;
    }
    const json_t *messages = json_object_get(row->json, "messages");
    size_t last = json_array_size(messages);
    while (last > 0 && !is_assistant(json_array_get(messages, last - 1))) last--;
    const json_t *content =
        last ? json_object_get(json_array_get(messages, last - 1), "content") : NULL;
    if (!json_is_string(content))
        return err_set(err, ERR_INVALID,
                       "row %lld: no assistant message with a text to compare with",
                       (long long)row->number);
    *ret_expected = json_str(content);
    json_t *vars = json_copy(row->json), *before = json_array();
    for (size_t i = 0; i + 1 < last; i++)
        json_array_append_new(before, conversation_message(json_array_get(messages, i)));
    json_object_set_new(vars, "messages", before);
    json_object_del(vars, "functions");
    json_t *tools = conversation_tools(row->json);
    if (tools) json_object_set_new(vars, "tools", tools);
    int rc = assets_render(model_template(c->engine.model), model_tokenizer(c->engine.model), vars,
                           true, prompt, err);
    json_decref(vars);
    return rc;
}

static int ask(struct compare *c, struct str prompt, const struct adapter *adapter,
               struct generate_result *ret, struct err *err) {
    struct token_list ids = {0};
    bool chat = c->rows.kind == ROW_CHAT;
    int rc = tokenizer_encode(model_tokenizer(c->engine.model), prompt, !chat, &ids, err);
    if (!rc) {
        session_set_adapter(c->session, adapter);
        rc = generate(c->session, c->engine.num,
                      &(struct generate_options){.prompt = ids.ids,
                                                 .prompt_count = ids.n,
                                                 .max_tokens = c->max_tokens,
                                                 .cancel = &cli_interrupted},
                      ret, err);
    }
    token_list_release(&ids);
    return rc;
}

static struct str trimmed(struct str s) {
    while (s.n && strchr(" \t\r\n", s.p[0])) s = str_from(s, 1);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s;
}

/* exact: equal text but for white space around it; json: equal values, and nothing besides */
static bool grade(const struct compare *c, struct str answer, struct str expected) {
    answer = trimmed(answer);
    expected = trimmed(expected);
    if (!c->grade_json) return str_eq(answer, expected);
    struct err err;
    json_t *a = NULL, *b = NULL;
    bool equal = !json_read(answer, "answer", &a, &err) &&
                 !json_read(expected, "expected", &b, &err) && json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return equal;
}

static void print_case(const struct compare *c, const struct row *row, struct str expected,
                       const struct generate_result *r, const bool *right) {
    const json_t *messages = json_object_get(row->json, "messages");
    const json_t *asked = NULL;
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!is_assistant(json_array_get(messages, i)))
            asked = json_object_get(json_array_get(messages, i), "content");
    if (c->rows.kind == ROW_COMPLETION) asked = json_object_get(row->json, "prompt");
    struct str q = json_is_string(asked) ? json_str(asked) : (struct str){"", 0};
    printf("row %-5lld %.*s\n", (long long)row->number, STR_ARG(q));
    printf("  expected %.*s\n", STR_ARG(expected));
    for (int s = 0; s < SIDES; s++) {
        struct str t = trimmed(buf_view(&r[s].text));
        printf("  %-5s %s  %.*s\n", side_names[s], right[s] ? "ok" : "--",
               t.n > 300 ? 300 : (int)t.n, t.p);
    }
    putchar('\n');
    fflush(stdout);
}

static void print_case_json(const struct row *row, struct str expected,
                            const struct generate_result *r, const bool *right) {
    json_t *o =
        json_pack("{s:I,s:s%}", "row", (json_int_t)row->number, "expected", expected.p, expected.n);
    for (int s = 0; s < SIDES; s++) {
        struct str t = buf_view(&r[s].text);
        json_object_set_new(o, side_names[s],
                            json_pack("{s:s%,s:b}", "output", t.p, t.n, "right", right[s]));
    }
    cli_print_json(o);
    json_decref(o);
}

static int compare_row(struct compare *c, int64_t i, struct err *err) {
    const struct row *row = &c->rows.list[i];
    struct generate_result r[SIDES] = {{0}, {0}};
    bool right[SIDES];
    struct str expected = {0};
    struct buf prompt;
    buf_init(&prompt, PROMPT_MAX);
    int rc = question(c, row, &prompt, &expected, err);
    for (int s = 0; !rc && s < SIDES; s++) {
        rc = ask(c, buf_view(&prompt), s ? c->engine.adapter : NULL, &r[s], err);
        if (!rc) c->right[s] += right[s] = grade(c, buf_view(&r[s].text), expected);
    }
    if (!rc && c->json)
        print_case_json(row, expected, r, right);
    else if (!rc && i < c->show)
        print_case(c, row, expected, r, right);
    for (int s = 0; s < SIDES; s++) generate_result_release(&r[s]);
    buf_release(&prompt);
    return rc;
}

static int run(struct compare *c, struct err *err) {
    const struct model_config *config = model_config(c->engine.model);
    int64_t room = config->max_position < 4096 ? config->max_position : 4096, n = c->rows.count;
    int rc = session_open(c->engine.model, room, &c->session, err);
    if (c->limit > 0 && n > c->limit) n = c->limit;
    for (int64_t i = 0; !rc && i < n && !cli_interrupted; i++) rc = compare_row(c, i, err);
    if (!rc && cli_interrupted) rc = err_set(err, ERR_CANCELLED, "stopped");
    if (rc) return rc;
    const char *how = c->grade_json ? "JSON equal, nothing besides" : "exact match";
    if (c->json) {
        json_t *o = json_pack("{s:I,s:f,s:f}", "n", (json_int_t)n, "base",
                              n ? (double)c->right[0] / (double)n : 0.0, "tuned",
                              n ? (double)c->right[1] / (double)n : 0.0);
        cli_print_json(o);
        json_decref(o);
        return 0;
    }
    printf("%-8s %10s   (%s, %lld rows)\n", "model", "right", how, (long long)n);
    for (int s = 0; s < SIDES; s++)
        printf("%-8s %4lld %4.0f %%\n", side_names[s], (long long)c->right[s],
               n ? 100.0 * (double)c->right[s] / (double)n : 0.0);
    return 0;
}

int cmd_compare(int argc, char **argv) {
    struct cli_engine_options eo = {0};
    struct compare c = {.show = 8, .max_tokens = 200};
    const char *data = NULL, *grader = "exact";
    struct opt list[] = {
        {"base", "MODEL", OPT_STR, &eo.model, "directory, GGUF file or known name", 0, NULL},
        {"adapter", "DIR", OPT_STR, &eo.adapter, "the tuned adapter", 0, NULL},
        {"data", "FILE", OPT_STR, &data, "held-out rows: messages or prompt/completion", 0, NULL},
        {"grader", "exact|json", OPT_STR, &grader, "equal text (default), or equal JSON values", 0,
         NULL},
        {"limit", "N", OPT_I64, &c.limit, "only the first N rows", 1, NULL},
        {"show", "N", OPT_I64, &c.show, "print the answers to the first N (default: 8)", 0, NULL},
        {"max-tokens", "N", OPT_I64, &c.max_tokens, "of one answer (default: 200)", 1, NULL},
        {"dtype", "f32|bf16", OPT_STR, &eo.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"threads", "N", OPT_INT, &eo.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &c.json, "a JSON line for each row, then one with the scores", 0,
         NULL},
        {0}};
    struct usage u = {.command = "compare",
                      .args = "--base MODEL --adapter DIR --data FILE",
                      .opts = list,
                      .summary = "Answer held-out rows with the base and with the tuned model, "
                                 "side by side, and score both.",
                      .example = "attune compare --base starter --adapter mine --data "
                                 "examples/bookings.test.jsonl --grader json",
                      .required = "base adapter data"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err = {0};
    c.grade_json = strcmp(grader, "json") == 0;
    cli_catch_interrupt();
    int rc = c.grade_json || strcmp(grader, "exact") == 0
                 ? 0
                 : err_set(&err, ERR_USAGE, "--grader is exact or json, not \"%s\"", grader);
    if (!rc) rc = rows_read(data, FILE_MAX, &c.rows, &err);
    if (!rc && (c.rows.kind == ROW_TEXT || c.rows.kind == ROW_PAIR))
        rc = err_set(&err, ERR_INVALID,
                     "\"%s\" holds %s; compare needs questions with one answer each", data,
                     c.rows.kind == ROW_TEXT ? "plain text" : "preference pairs");
    if (!rc) rc = cli_engine_open(&eo, &c.engine, &err);
    if (!rc) rc = run(&c, &err);
    session_close(c.session);
    rows_release(&c.rows);
    cli_engine_close(&c.engine);
    return rc ? cli_fail("compare", &err) : 0;
}
