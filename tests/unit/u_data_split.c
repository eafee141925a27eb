/* Groups stay whole, shares come out, and adding rows moves none. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "data/split.h"

#include <string.h>

static const struct split_options tenth = {.valid = 0.1, .test = 0.1, .salt = 42};

static struct split_row *rows_new(size_t n) {
    struct split_row *rows = mem_zalloc(n, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct split_row){.content = rng_hash(7, i), .before = SPLIT_NEW};
    return rows;
}

static void assign(const struct split_row *rows, size_t n, struct split_cuts *cuts, int8_t *ret) {
    struct err err;
    if (split_assign(rows, n, NULL, 0, &tenth, cuts, ret, &err)) fail_msg("%s", err.msg);
}

static size_t count_of(const int8_t *split, size_t n, int8_t which) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += split[i] == which;
    return found;
}

static void shares_come_out_in_every_stratum(void **state) {
    (void)state;
    size_t n = 2000;
    struct split_row *rows = rows_new(n);
    struct split_cuts cuts = {.count = 0};
    int8_t *split = mem_zalloc(n, 1);
    for (size_t i = 0; i < n; i++) rows[i].stratum = i < 100 ? 5 : 9;
    assign(rows, n, &cuts, split);
    assert_int_equal(cuts.count, 2);
    assert_int_equal(count_of(split, 100, SPLIT_TEST), 10);
    assert_int_equal(count_of(split, 100, SPLIT_VALID), 10);
    assert_int_equal(count_of(split + 100, n - 100, SPLIT_TEST), 190);
    assert_int_equal(count_of(split + 100, n - 100, SPLIT_VALID), 190);
    mem_free(cuts.list);
    mem_free(split);
    mem_free(rows);
}

static void keys_and_edges_keep_groups_whole(void **state) {
    (void)state;
    size_t n = 3000;
    struct split_row *rows = rows_new(n);
    struct split_cuts cuts = {.count = 0};
    struct split_edge edge = {.a = 17, .b = 2400};
    struct err err;
    int8_t *split = mem_zalloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        rows[i].keys[SPLIT_USER] = 1000 + i % 300;
        if (i % 7 == 0) rows[i].keys[SPLIT_DOCUMENT] = 9000 + i % 70;
    }
    assert_int_equal(split_assign(rows, n, &edge, 1, &tenth, &cuts, split, &err), 0);
    for (size_t i = 300; i < n; i++) assert_int_equal(split[i], split[i % 300]);
    for (size_t i = 70; i < n; i++)
        if (i % 7 == 0) assert_int_equal(split[i], split[i % 70]);
    assert_int_equal(split[17], split[2400]);
    mem_free(cuts.list);
    mem_free(split);
    mem_free(rows);
}

static void adding_rows_moves_none(void **state) {
    (void)state;
    size_t n = 1000, more = 2500;
    struct split_row *rows = rows_new(more);
    struct split_cuts cuts = {.count = 0};
    int8_t *first = mem_zalloc(more, 1), *then = mem_zalloc(more, 1);
    for (size_t i = 0; i < more; i++) rows[i].stratum = i % 3;
    assign(rows, n, &cuts, first);
    assign(rows, more, &cuts, then); /* as if nobody remembered where they were */
    assert_memory_equal(first, then, n);
    assert_in_range(count_of(then, more, SPLIT_TEST), 180, 320);
    mem_free(cuts.list);
    mem_free(first);
    mem_free(then);
    mem_free(rows);
}

static void earlier_rows_stay_and_draw_their_group(void **state) {
    (void)state;
    struct split_row rows[5];
    struct split_cuts cuts = {.count = 0};
    struct err err;
    struct split_edge edges[] = {{0, 1}, {2, 3}, {3, 4}};
    int8_t split[5];
    for (size_t i = 0; i < 5; i++)
        rows[i] = (struct split_row){.content = rng_hash(7, i), .before = SPLIT_NEW};
    rows[0].before = SPLIT_TEST;
    rows[2].before = SPLIT_TEST;
    rows[4].before = SPLIT_TRAIN;
    assert_int_equal(split_assign(rows, 5, edges, 3, &tenth, &cuts, split, &err), 0);
    assert_int_equal(split[0], SPLIT_TEST);
    assert_int_equal(split[1], SPLIT_TEST);
    assert_int_equal(split[2], SPLIT_TEST);
    assert_int_equal(split[3], SPLIT_STRADDLES);
    assert_int_equal(split[4], SPLIT_TRAIN);
    mem_free(cuts.list);
}

static void order_does_not_matter(void **state) {
    (void)state;
    size_t n = 500;
    struct split_row *rows = rows_new(n), *turned = mem_zalloc(n, sizeof *turned);
    struct split_cuts a = {.count = 0}, b = {.count = 0};
    int8_t *split = mem_zalloc(n, 1), *back = mem_zalloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        rows[i].stratum = i % 4;
        rows[i].keys[SPLIT_CONVERSATION] = i % 5 ? 0 : 1 + i / 20;
        rows[i].keys[SPLIT_SEED] = i % 3 ? 0 : 1 + i / 12;
    }
    for (size_t i = 0; i < n; i++) turned[i] = rows[n - 1 - i];
    assign(rows, n, &a, split);
    assign(turned, n, &b, back);
    for (size_t i = 0; i < n; i++) assert_int_equal(split[i], back[n - 1 - i]);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.list, b.list, a.count * sizeof *a.list);
    mem_free(a.list);
    mem_free(b.list);
    mem_free(split);
    mem_free(back);
    mem_free(turned);
    mem_free(rows);
}

/* One row says nothing of the thousand that follow in its stratum. */
static void a_small_stratum_leaves_a_fair_cut(void **state) {
    (void)state;
    for (uint64_t k = 0; k < 50; k++) {
        struct split_row *rows = rows_new(1001);
        struct split_cuts cuts = {.count = 0};
        int8_t split[1001];
        for (size_t i = 0; i < 1001; i++) rows[i].content = rng_hash(k, i);
        assign(rows, 1, &cuts, split);
        assign(rows, 1001, &cuts, split);
        assert_in_range(count_of(split, 1001, SPLIT_TEST), 0, 145);
        mem_free(cuts.list);
        mem_free(rows);
    }
}

UNIT_TESTS(data_split, cmocka_unit_test(shares_come_out_in_every_stratum),
           cmocka_unit_test(keys_and_edges_keep_groups_whole),
           cmocka_unit_test(adding_rows_moves_none),
           cmocka_unit_test(earlier_rows_stay_and_draw_their_group),
           cmocka_unit_test(order_does_not_matter),
           cmocka_unit_test(a_small_stratum_leaves_a_fair_cut))
