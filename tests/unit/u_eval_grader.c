/* Graders: what each type makes of an answer, templates, expressions, schemas, cases. */
#include "unit.h"

#include "data/schema.h"
#include "eval/cases.h"
#include "eval/expression.h"
#include "eval/grader.h"
#include "eval/report.h"
#include "eval/score_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *parsed(const char *text) {
    json_t *v = NULL;
    struct err err;
    if (json_read(str_of(text), "test", &v, &err)) fail_msg("%s", err.msg);
    return v;
}

static int graded(const char *config, const char *output, const char *item, struct grade *ret,
                  struct err *err) {
    struct grader *g = NULL;
    json_t *c = parsed(config), *i = parsed(item), *sample = grader_sample(str_of(output));
    int rc = grader_new(c, "grader", &g, err);
    if (!rc) rc = grader_grade(g, &(struct placeholder_scope){i, sample}, ret, err);
    grader_free(g);
    json_decref(c);
    json_decref(i);
    json_decref(sample);
    return rc;
}

#define CHECK(op, in, ref)                                                                         \
    "{\"type\":\"string_check\",\"operation\":\"" op "\",\"input\":\"" in                          \
    "\",\"reference\":\"" ref "\"}"

static void each_type_scores_as_it_says(void **state) {
    (void)state;
    static const struct {
        const char *config, *output, *item;
        double score;
    } rows[] = {
        {"{\"type\":\"exact\"}", " yes\n", "{\"expected\":\"yes\"}", 1},
        {"{\"type\":\"exact\"}", "Yes", "{\"expected\":\"yes\"}", 0},
        {"{\"type\":\"normalized\"}", "The  Answer, is: A 42.", "{\"expected\":\"answer is 42\"}",
         1},
        {"{\"type\":\"normalized\"}", "43", "{\"expected\":\"42\"}", 0},
        {"{\"type\":\"contains\"}", "it is yes.", "{\"expected\":\"yes\"}", 1},
        {"{\"type\":\"contains\"}", "it is Yes.", "{\"expected\":\"yes\"}", 0},
        {"{\"type\":\"regex\",\"pattern\":\"^\\\\d+$\"}", "123", "{}", 1},
        {"{\"type\":\"regex\",\"pattern\":\"^\\\\d+$\"}", "12a", "{}", 0},
        {"{\"type\":\"regex\"}", "abc", "{\"expected\":\"^a.c$\"}", 1},
        {"{\"type\":\"numeric\"}", "$1,234.50", "{\"expected\":\"1234.5\"}", 1},
        {"{\"type\":\"numeric\"}", "-12 %", "{\"expected\":\"-12\"}", 1},
        {"{\"type\":\"numeric\"}", "about 12", "{\"expected\":\"12\"}", 0},
        {"{\"type\":\"numeric\",\"last\":true}", "3-4 = -1, so 1e2", "{\"expected\":\"100\"}", 1},
        {"{\"type\":\"numeric\",\"tolerance\":0.5}", "12.4", "{\"expected\":\"12\"}", 1},
        {"{\"type\":\"set_f1\"}", "Red, green; blue", "{\"expected\":\"green,red\"}", 0.8},
        {"{\"type\":\"edit_distance\"}", "kitten", "{\"expected\":\"sitting\"}", 1 - 3.0 / 7},
        {"{\"type\":\"token_f1\"}", "the cat sat", "{\"expected\":\"a cat\"}", 2.0 / 3},
        {"{\"type\":\"json\"}", "{\"a\":1}", "{}", 1},
        {"{\"type\":\"json\"}", "{\"a\":1} ok", "{}", 0},
        {"{\"type\":\"json_equal\"}", "{\"b\":1.0,\"a\":[2]}",
         "{\"expected\":\"{\\\"a\\\":[2],\\\"b\\\":1}\"}", 1},
        {"{\"type\":\"json_equal\"}", "{\"a\":[2,3]}", "{\"expected\":\"{\\\"a\\\":[3,2]}\"}", 0},
        {"{\"type\":\"json_fields\"}", "{\"a\":1,\"b\":2}",
         "{\"expected\":\"{\\\"a\\\":1,\\\"c\\\":2}\"}", 0.5},
        {"{\"type\":\"json_fields\"}", "{\"a\":[{\"x\":1},2.0]}",
         "{\"expected\":\"{\\\"a\\\":[2,{\\\"x\\\":1}]}\"}", 1},
        {"{\"type\":\"json_fields\"}", "no", "{\"expected\":\"{}\"}", 0},
        {CHECK("eq", "{{sample.output_text}}", "x y"), "x y", "{}", 1},
        {CHECK("eq", "{{sample.output_text}}", "x y"), "x y ", "{}", 0},
        {CHECK("ne", "{{sample.output_text}}", "{{item.a.b[1]}}"), "2", "{\"a\":{\"b\":[1,2]}}", 0},
        {CHECK("like", "{{ sample.output_text }}", "B"), "abc", "{}", 0},
        {CHECK("ilike", "{{ sample.output_text }}", "STRASSE"), "die straße", "{}", 1},
        {CHECK("eq", "{{sample.output_json.k}}", "[1]"), "{\"k\":[1]}", "{}", 1},
        {"{\"type\":\"text_similarity\",\"evaluation_metric\":\"rouge_l\",\"input\":"
         "\"{{sample.output_text}}\",\"reference\":\"{{item.r}}\",\"pass_threshold\":0.9}",
         "a b c d", "{\"r\":\"a b d\"}", 6.0 / 7},
        {"{\"type\":\"multi\",\"calculate_output\":\"max(a, b) - "
         "a*b^2\",\"graders\":{\"a\":{\"type\":"
         "\"exact\"},\"b\":{\"type\":\"edit_distance\"}}}",
         "ab", "{\"expected\":\"ac\"}", 0.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct grade g = {0};
        if (graded(rows[i].config, rows[i].output, rows[i].item, &g, &err))
            fail_msg("row %zu: %s", i, err.msg);
        if (fabs(g.score - rows[i].score) > 1e-12)
            fail_msg("row %zu: %s of \"%s\" is %g, not %g", i, rows[i].config, rows[i].output,
                     g.score, rows[i].score);
    }
}

static void what_cannot_be_graded_says_why(void **state) {
    (void)state;
    static const struct {
        const char *config, *item;
        int rc;
        const char *says;
    } rows[] = {
        {"{\"type\":\"exact\"}", "{}", ERR_NOT_FOUND, "{{item.expected}}: there is no such value"},
        {"{\"type\":\"numeric\"}", "{\"expected\":\"x\"}", ERR_INVALID, "is no number"},
        {"{\"type\":\"exact\",\"input\":\"{{user.x}}\"}", "{}", ERR_INVALID,
         "begin with item or sample"},
        {"{\"type\":\"exact\",\"input\":\"{{item.x\"}", "{}", ERR_INVALID, "without"},
        {"{\"type\":\"exact\",\"input\":\"{{item[x]}}\"}", "{}", ERR_INVALID, "an index"},
        {"{\"type\":\"regex\",\"pattern\":\"(\"}", "{}", ERR_INVALID, "pattern \"(\""},
        {"{\"type\":\"regex\",\"pattern\":\"^(x+x+)+[yz]\"}", "{}", ERR_LIMIT, "limit"},
        {CHECK("is", "a", "b"), "{}", ERR_INVALID, "eq, ne, like or ilike"},
        {"{\"type\":\"python\",\"source\":\"\"}", "{}", ERR_UNSUPPORTED, "runs code"},
        {"{\"type\":\"label_model\"}", "{}", ERR_UNSUPPORTED, "needs a model"},
        {"{\"type\":\"text_similarity\",\"evaluation_metric\":\"cosine\"}", "{}", ERR_UNSUPPORTED,
         "embedding"},
        {"{\"type\":\"json_schema\",\"schema\":3}", "{}", ERR_INVALID, "a JSON Schema"},
        {"{\"type\":\"multi\",\"graders\":{\"m\":{\"type\":\"multi\"}}}", "{}", ERR_INVALID,
         "do not nest"},
        {"{}", "{}", ERR_INVALID, "\"type\" is missing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct grade g;
        int rc =
            graded(rows[i].config, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", rows[i].item, &g, &err);
        if (rc != rows[i].rc || !strstr(err.msg, rows[i].says))
            fail_msg("row %zu: %d, %s", i, rc, err.msg);
    }
}

static void expressions_follow_arithmetic(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1 + 2 * 3", 7},    {"(1+2)*3", 9},    {"2^3^2", 512},      {"-2^2", -4},
                {"2^-1", 0.5},       {"x / y_2", 0.25}, {"min(3, x, 5)", 1}, {"max(x)", 1},
                {"abs(-2.5)", 2.5},  {"floor(1.9)", 1}, {"ceil(.1)", 1},     {"exp(log(3))", 3},
                {"sqrt(16) - 1", 3}, {"+x - -x", 2},    {"10 - 2 - 3", 5}};
    static const char *const bad[] = {"",   "1 +", "1 2",      "z", "f(x)",     "1/0", "log(0)",
                                      "(1", "1)",  "abs(1,2)", ".", "sqrt(-1)", "x y", "min()"};
    const struct expression_value values[] = {{STR_LIT("x"), 1}, {STR_LIT("y_2"), 4}};
    struct err err;
    double got;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (expression_eval(str_of(good[i].text), values, 2, &got, &err)) fail_msg("%s", err.msg);
        if (fabs(got - good[i].value) > 1e-12) fail_msg("%s is %g", good[i].text, got);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!expression_eval(str_of(bad[i]), values, 2, &got, &err)) fail_msg("%s passes", bad[i]);
    char deep[1000];
    memset(deep, '(', sizeof deep);
    assert_int_equal(expression_eval((struct str){deep, sizeof deep}, values, 2, &got, &err),
                     ERR_LIMIT);
}

static void schemas_judge_values(void **state) {
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"required\":[\"a\"],\"additionalProperties\":false,\"$defs\":{\"n\":"
        "{\"type\":\"integer\",\"minimum\":0,\"exclusiveMaximum\":10,\"multipleOf\":2}},"
        "\"properties\":{\"a\":{\"$ref\":\"#/$defs/n\"},\"s\":{\"type\":[\"string\",\"null\"],"
        "\"minLength\":2,\"maxLength\":3,\"pattern\":\"^[a-zü]+$\"},\"l\":{\"type\":\"array\","
        "\"items\":{\"enum\":[1,2,\"x\"]},\"maxItems\":2,\"uniqueItems\":true},"
        "\"o\":{\"oneOf\":[{\"const\":1},{\"type\":\"number\",\"maximum\":0}]},"
        "\"t\":{\"not\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}}}}";
    static const struct {
        const char *value;
        bool fits;
    } rows[] = {{"{\"a\":2}", true},
                {"{\"s\":\"ab\",\"a\":8.0}", true},
                {"{\"a\":3}", false},
                {"{\"a\":10}", false},
                {"{}", false},
                {"{\"a\":2,\"b\":1}", false},
                {"{\"a\":2,\"s\":null}", true},
                {"{\"a\":2,\"s\":\"üü\"}", true},
                {"{\"a\":2,\"s\":\"abcd\"}", false},
                {"{\"a\":2,\"s\":\"A1\"}", false},
                {"{\"a\":2,\"l\":[1,\"x\"]}", true},
                {"{\"a\":2,\"l\":[1,1]}", false},
                {"{\"a\":2,\"l\":[3]}", false},
                {"{\"a\":2,\"o\":1}", true},
                {"{\"a\":2,\"o\":2}", false},
                {"{\"a\":2,\"t\":\"\"}", false},
                {"{\"a\":2,\"t\":[]}", true},
                {"[]", false}};
    json_t *text = parsed(schema);
    struct schema *s = schema_new(text);
    char why[SCHEMA_WHY_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = parsed(rows[i].value);
        enum schema_answer a = schema_check(s, v, why);
        if (a != (rows[i].fits ? SCHEMA_VALID : SCHEMA_INVALID))
            fail_msg("%s: %d, %s", rows[i].value, (int)a, why);
        json_decref(v);
    }
    schema_free(s);
    json_decref(text);
    text = parsed("{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}"); /* never ends by itself */
    s = schema_new(text);
    assert_int_equal(schema_check(s, text, why), SCHEMA_UNKNOWN);
    schema_free(s);
    json_decref(text);
}

/* a model that says what the test wants */
struct told {
    const char *answer;
    char asked[400];
};
static int told_ask(void *ctx, const struct grader_question *q, struct buf *answer,
                    struct err *err) {
    struct told *t = ctx;
    char *text = json_dumps(q->messages, JSON_COMPACT);
    snprintf(t->asked, sizeof t->asked, "%s", text);
    free(text);
    if (!t->answer) return err_set(err, ERR_IO, "no model");
    buf_z(answer, t->answer);
    return 0;
}

#define SCORED                                                                                     \
    "{\"type\":\"score_model\",\"name\":\"s\",\"model\":\"m\",\"range\":[1,5],\"input\":[{"        \
    "\"role\":"                                                                                    \
    "\"user\",\"content\":[\"is {{sample.output_text}}\",{\"type\":\"input_text\",\"text\":\" "    \
    "ok\"}]}]}"
#define LABELED                                                                                    \
    "{\"type\":\"label_model\",\"name\":\"l\",\"model\":\"m\",\"labels\":[\"yes\",\"no\"],"        \
    "\"passing_labels\":[\"yes\"],\"input\":[{\"role\":\"user\",\"content\":\"x\"}]}"

static void models_are_asked(void **state) {
    (void)state;
    static const struct {
        const char *config, *answer;
        double score;
        bool passed;
    } rows[] = {{SCORED, "{\"steps\":[],\"result\":3}", 3, true}, /* the middle passes */
                {SCORED, "{\"steps\":[],\"result\":2.5}", 2.5, false},
                {SCORED, "{\"steps\":[],\"result\":9e99}", 5, true},
                {SCORED, "{\"steps\":[],\"result\":-1}", 1, false},
                {SCORED, "{\"steps\":[],\"result\":\"5\"}", 0, false},
                {SCORED, "{\"steps\":[{\"descr", 0, false},
                {LABELED, "{\"label\":\"yes\"}", 1, true},
                {LABELED, "{\"label\":\"no\"}", 0, false},
                {LABELED, "yes", 0, false}};
    struct told told = {0};
    struct grader_asking asking = {.ask = told_ask, .ctx = &told};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct grader *g = NULL;
        struct grade grade = {0};
        struct err err;
        json_t *c = parsed(rows[i].config), *sample = grader_sample(STR_LIT("it"));
        if (grader_new_asking(c, "grader", &g, &err)) fail_msg("%s", err.msg);
        told.answer = rows[i].answer;
        if (grader_grade_asking(g, &(struct placeholder_scope){NULL, sample}, &asking, &grade,
                                &err))
            fail_msg("%s", err.msg);
        if (fabs(grade.score - rows[i].score) > 1e-12 || grade.passed != rows[i].passed)
            fail_msg("%s: %g", rows[i].answer, grade.score);
        assert_true(str_is(grader_model(g, 0), "m"));
        if (i == 0) assert_non_null(strstr(told.asked, "\"content\":\"is it ok\""));
        told.answer = NULL;
        assert_int_equal(grader_grade_asking(g, &(struct placeholder_scope){NULL, sample}, &asking,
                                             &grade, &err),
                         ERR_IO);
        assert_int_equal(grader_grade(g, &(struct placeholder_scope){NULL, sample}, &grade, &err),
                         ERR_UNSUPPORTED);
        grader_free(g);
        json_decref(c);
        json_decref(sample);
    }
}

static const char cases_text[] =
    "{\"id\":\"a\",\"g\":1,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
    "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"yes\"}]}]}\n\n"
    "{\"id\":2,\"g\":1,\"completion\":\"no\"}\n{\"id\":\"c\",\"expected\":\"x\"}\n";

static void cases_and_outputs_meet_by_id(void **state) {
    (void)state;
    struct cases c;
    struct outputs o;
    struct err err;
    if (cases_from_text(STR_LIT(cases_text), "cases", "g", &c, &err)) fail_msg("%s", err.msg);
    assert_int_equal(c.n, 3);
    assert_true(str_is(c.ids[1], "2"));
    assert_true(c.cluster[0] == c.cluster[1] && c.cluster[2] != c.cluster[0]);
    assert_string_equal(json_string_value(json_object_get(c.items[0], "expected")), "yes");
    if (outputs_from_text(STR_LIT("{\"id\":\"c\",\"output\":\"x\"}\n{\"id\":2,\"score\":0.5}\n"
                                  "{\"id\":\"z\",\"score\":1}"),
                          "out", &c, &o, &err))
        fail_msg("%s", err.msg);
    assert_true(!o.lines[0] && o.lines[1] && o.lines[2]);
    assert_int_equal(o.unknown, 1);
    outputs_release(&o, &c);
    static const char *const bad[][2] = {
        {"{\"id\":\"a\"}", "out: line 1: neither"},
        {"\n{\"id\":\"a\",\"score\":1.5}", "out: line 2: \"score\" must be"},
        {"{\"id\":\"a\",\"output\":1}", "\"output\" must be a string"},
        {"{\"id\":\"a\",\"score\":1}\n{\"id\":\"a\",\"score\":1}",
         "line 2: the id \"a\" was there"},
        {"{\"output\":\"x\"}", "\"id\" must be"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(outputs_from_text(str_of(bad[i][0]), "out", &c, &o, &err), ERR_INVALID);
        if (!strstr(err.msg, bad[i][1])) fail_msg("%s", err.msg);
    }
    cases_release(&c);
    assert_int_equal(cases_from_text(STR_LIT("{\"id\":1,\"expected\":\"x\"}\n{\"id\":\"1\","
                                             "\"expected\":\"x\"}"),
                                     "cases", NULL, &c, &err),
                     ERR_INVALID);
    assert_int_equal(cases_from_text(STR_LIT(""), "cases", NULL, &c, &err), ERR_INVALID);
}

/* one metric says better alone; among five it must be surer */
static void several_metrics_are_corrected(void **state) {
    (void)state;
    enum { N = 100, METRICS = 5 };
    static double a[N], b[N], same[N];
    for (int i = 0; i < N; i++) {
        same[i] = i % 2;
        a[i] = i >= 15; /* 15 gained, 5 lost: p is 0.0207, and five times that 0.10 */
        b[i] = i < 15 || i >= 20;
    }
    struct cases c = {.n = N};
    struct str models[2] = {STR_LIT("A"), STR_LIT("B")};
    struct str metrics[METRICS] = {STR_LIT("1"), STR_LIT("2"), STR_LIT("3"), STR_LIT("4"),
                                   STR_LIT("5")};
    double *scores[2 * METRICS];
    for (int i = 0; i < METRICS; i++) {
        scores[i] = i ? same : a;
        scores[METRICS + i] = i ? same : b;
    }
    struct report_input in = {.cases = &c,
                              .models = models,
                              .metrics = metrics,
                              .model_count = 2,
                              .metric_count = METRICS,
                              .scores = scores};
    struct report r;
    struct err err;
    struct comparison alone;
    if (compare_paired(&(struct paired){a, b, NULL, N}, &in.compare, &alone, &err)) fail();
    assert_int_equal(alone.verdict, VERDICT_BETTER);
    if (eval_report_make(&in, &r, &err)) fail_msg("%s", err.msg);
    assert_int_equal(r.pair_count, METRICS);
    assert_int_not_equal(r.pairs[0].c.verdict, VERDICT_BETTER);
    eval_report_release(&r);
}

UNIT_TESTS(eval_grader, cmocka_unit_test(each_type_scores_as_it_says),
           cmocka_unit_test(what_cannot_be_graded_says_why),
           cmocka_unit_test(expressions_follow_arithmetic), cmocka_unit_test(schemas_judge_values),
           cmocka_unit_test(models_are_asked), cmocka_unit_test(cases_and_outputs_meet_by_id),
           cmocka_unit_test(several_metrics_are_corrected))
