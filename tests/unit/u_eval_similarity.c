/* Metrics of text against the Python packages: tests/parity/make_similarity.py made the values. */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "eval/porter.h"
#include "eval/similarity.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"fuzzy_match", "bleu",    "gleu",     "meteor",
                                    "rouge_1",     "rouge_2", "rouge_3",  "rouge_4",
                                    "rouge_5",     "rouge_l", "token_f1", "word_cosine"};
#define METRICS (sizeof names / sizeof *names)

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static int pair_check(const json_t *row, size_t line, double *worst) {
    int bad = 0;
    struct err err;
    for (size_t k = 0; k < METRICS; k++) {
        const struct similarity *s;
        double got = NAN, want = json_number_value(json_array_get(row, k + 2));
        struct str a = json_str(json_array_get(row, 0)), b = json_str(json_array_get(row, 1));
        check(similarity_find(str_of(names[k]), &s, &err), &err);
        check(similarity_score(s, a, b, &got, &err), &err);
        worst[k] = fmax(worst[k], fabs(got - want));
        if (fabs(got - want) < 1e-6) continue;
        bad++;
        print_message("line %zu: %s is %.8f, not %.8f, of \"%.*s\" and \"%.*s\"\n", line, names[k],
                      got, want, STR_ARG(a), STR_ARG(b));
    }
    return bad;
}

static void metrics_agree_with_the_packages(void **state) {
    (void)state;
    struct buf b;
    struct err err;
    double worst[METRICS] = {0};
    size_t line = 0;
    int bad = 0;
    buf_init(&b, 1 << 20);
    check(file_read("tests/fixtures/eval/similarity.jsonl", &b, &err), &err);
    for (struct str rest = buf_view(&b); rest.n;) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct str text = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        json_t *row = NULL;
        rest = str_from(rest, text.n + 1);
        check(json_read(text, "fixture", &row, &err), &err);
        bad += pair_check(row, ++line, worst);
        json_decref(row);
    }
    buf_release(&b);
    assert_int_equal(line, 1000);
    if (bad) fail_msg("%d values differ", bad);
}

static void stems_are_nltks(void **state) {
    (void)state;
    /* nltk.stem.PorterStemmer().stem(word) */
    static const char *const rows[][2] = {{"caresses", "caress"},
                                          {"ponies", "poni"},
                                          {"ties", "tie"},
                                          {"dying", "die"},
                                          {"feed", "feed"},
                                          {"agreed", "agre"},
                                          {"hopping", "hop"},
                                          {"filing", "file"},
                                          {"happy", "happi"},
                                          {"enjoy", "enjoy"},
                                          {"relational", "relat"},
                                          {"skies", "sky"},
                                          {"radically", "radic"},
                                          {"usefully", "use"},
                                          {"psychology", "psycholog"},
                                          {"spied", "spi"},
                                          {"adoption", "adopt"},
                                          {"controll", "control"},
                                          {"by", "by"}};
    char out[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = porter_stem(str_of(rows[i][0]), out);
        assert_int_equal(n, strlen(rows[i][1]));
        assert_memory_equal(out, rows[i][1], n);
    }
}

static void what_is_no_metric_is_refused(void **state) {
    (void)state;
    const struct similarity *s;
    struct err err;
    assert_int_equal(similarity_find(STR_LIT("cosine"), &s, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "embedding"));
    assert_int_equal(similarity_find(STR_LIT("rouge_6"), &s, &err), ERR_UNSUPPORTED);
}

static void long_texts_are_refused_not_endured(void **state) {
    (void)state;
    struct buf b;
    struct err err;
    const struct similarity *s;
    double score;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 200001; i++) buf_byte(&b, 'x');
    check(similarity_find(STR_LIT("fuzzy_match"), &s, &err), &err);
    assert_int_equal(similarity_score(s, buf_view(&b), STR_LIT("x"), &score, &err), ERR_LIMIT);
    buf_release(&b);
}

UNIT_TESTS(eval_similarity, cmocka_unit_test(metrics_agree_with_the_packages),
           cmocka_unit_test(stems_are_nltks), cmocka_unit_test(what_is_no_metric_is_refused),
           cmocka_unit_test(long_texts_are_refused_not_endured))
