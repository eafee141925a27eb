/* Planted defects through the whole check: recall and precision by kind, printed; the same findings
 * at any number of threads. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/report.h"
#include "data_plant_int.h"

#include <stdio.h>
#include <string.h>

#define ROWS 2000

static char *planted_file(enum finding_kind *kinds) {
    struct plant p;
    struct buf b;
    struct err err;
    char *path = path_join(unit_dir(), "planted.jsonl");
    buf_init(&b, (size_t)64 << 20);
    plant_init(&p, unit_seed(), 12, 0.3);
    for (int i = 0; i < ROWS; i++) kinds[i] = plant_row(&p, &b);
    plant_release(&p);
    if (file_write_atomic(path, buf_view(&b), &err)) fail_msg("%s", err.msg);
    buf_release(&b);
    return path;
}

static struct check_report *check_file_at(const char *path, unsigned checks, int threads) {
    struct check_report *r = NULL;
    struct err err;
    struct check_options o = {.files = &path,
                              .file_count = 1,
                              .checks = checks,
                              .min_feedback_given = true,
                              .min_feedback = PLANT_FEEDBACK_MIN,
                              .pool = pool_new(threads)};
    pii_defaults(&o.pii);
    if (check_run(&o, &r, &err)) fail_msg("%s", err.msg);
    pool_free(o.pool);
    return r;
}

static void every_planted_defect_is_found_and_nothing_else(void **state) {
    (void)state;
    static enum finding_kind kinds[ROWS];
    int64_t planted[FINDING_KINDS + 1] = {0}, hit[FINDING_KINDS] = {0}, wrong[FINDING_KINDS] = {0};
    char *path = planted_file(kinds);
    struct check_report *r = check_file_at(path, CHECK_FORMAT, 2);
    int64_t last = 0, missed = 0, false_ones = 0;
    assert_int_equal(r->rows, ROWS);
    for (int i = 0; i < ROWS; i++) planted[kinds[i]]++;
    for (size_t i = 0; i < findings_count(r->findings); i++) {
        const struct finding *f = findings_at(r->findings, i);
        enum finding_kind want = kinds[f->row - 1];
        hit[f->kind] += f->kind == want && f->row != last;
        wrong[f->kind] += f->kind != want;
        if (f->kind != want)
            printf("  row %lld: %s, not %s: %s\n", (long long)f->row, finding_label(f->kind),
                   want == PLANT_NONE ? "clean" : finding_label(want), f->detail);
        last = f->row;
    }
    printf("planted defects in %d rows        planted  recall  precision\n", ROWS);
    for (size_t i = 0; i < PLANT_COUNT; i++) {
        enum finding_kind k = plants[i].kind;
        printf("  %-32s %7lld  %5.1f%%     %5.1f%%\n", finding_label(k), (long long)planted[k],
               100.0 * (double)hit[k] / (double)planted[k],
               100.0 * (double)hit[k] / (double)(hit[k] + wrong[k] ? hit[k] + wrong[k] : 1));
        missed += planted[k] - hit[k];
    }
    for (int k = 0; k < FINDING_KINDS; k++) false_ones += wrong[k];
    assert_int_equal(missed, 0);
    assert_int_equal(false_ones, 0);
    assert_int_equal(r->clean, planted[PLANT_NONE]);
    check_report_free(r);
    mem_free(path);
}

static void threads_change_nothing(void **state) {
    (void)state;
    static enum finding_kind kinds[ROWS];
    struct buf a, b;
    char *path = planted_file(kinds);
    buf_init(&a, (size_t)64 << 20);
    buf_init(&b, (size_t)64 << 20);
    struct check_report *one = check_file_at(path, CHECK_ALL, 1);
    struct check_report *three = check_file_at(path, CHECK_ALL, 3);
    report_json(one, &a);
    report_json(three, &b);
    assert_true(str_eq(buf_view(&a), buf_view(&b)));
    buf_clear(&a);
    report_html(one, &a);
    assert_non_null(strstr(a.p, "Problems"));
    check_report_free(one);
    check_report_free(three);
    buf_release(&a);
    buf_release(&b);
    mem_free(path);
}

static void several_files_are_one_set(void **state) {
    (void)state;
    struct err err;
    struct check_report *r = NULL;
    const char *files[] = {NULL, NULL};
    static const char row[] =
        "{\"prompt\":\"how are you this fine day\",\"completion\":\"well\"}\n";
    char *a = path_join(unit_dir(), "a.jsonl"), *b = path_join(unit_dir(), "b.jsonl");
    assert_int_equal(file_write_atomic(a,
                                       STR_LIT("null\n"
                                               "{\"prompt\":\"how are you this fine day\","
                                               "\"completion\":\"well\"}\n"),
                                       &err),
                     0);
    assert_int_equal(file_write_atomic(b, str_of(row), &err), 0);
    files[0] = a, files[1] = b;
    struct check_options o = {.files = files,
                              .file_count = 2,
                              .checks = CHECK_FORMAT | CHECK_DUPLICATES,
                              .pool = pool_new(2)};
    if (check_run(&o, &r, &err)) fail_msg("%s", err.msg);
    int64_t row_of = 0;
    assert_int_equal(r->rows, 3);
    assert_int_equal(r->clean, 1);
    assert_int_equal(findings_count(r->findings), 2);
    const struct finding *f = findings_at(r->findings, 1);
    assert_int_equal(f->kind, FINDING_EXACT_DUPLICATE);
    assert_string_equal(check_place(r, f->row, &row_of)->path, b);
    assert_int_equal(row_of, 1);
    assert_string_equal(check_place(r, f->twin, &row_of)->path, a);
    assert_int_equal(row_of, 2);
    check_report_free(r);
    pool_free(o.pool);
    mem_free(a);
    mem_free(b);
}

UNIT_TESTS(data_planted, cmocka_unit_test(every_planted_defect_is_found_and_nothing_else),
           cmocka_unit_test(threads_change_nothing), cmocka_unit_test(several_files_are_one_set))
