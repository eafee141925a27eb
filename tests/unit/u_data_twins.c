/* Duplicates and conflicts: the rules one by one, then planted ones among many rows, generated and
 * real. Recall and precision are printed. */
#include "data_fixture.h"

#include "base/hash.h"
#include "data/twins.h"
#include "data/words.h"

struct result {
    struct twins *twins;
    const struct twin *list;
    size_t n;
};

static struct result find_in(const struct made *m, const int32_t *rank, int threads, size_t batch,
                             const struct twin_options *o) {
    struct result r = {.twins = twins_new(o)};
    struct pool *pool = pool_new(threads);
    struct err err = {0};
    for (size_t i = 0; i < m->n; i += batch) {
        size_t n = m->n - i < batch ? m->n - i : batch;
        assert_int_equal(twins_add(r.twins, m->list + i, n, rank ? rank + i : NULL, pool, &err), 0);
    }
    if (twins_find(r.twins, pool, &r.list, &r.n, &err)) fail_msg("%s", err.msg);
    pool_free(pool);
    return r;
}

static struct result find(const struct made *m) { return find_in(m, NULL, 2, 1000, NULL); }

static void normal_form_and_words(void **state) {
    (void)state;
    static const struct {
        const char *text, *normal;
        size_t words;
    } list[] = {{"  Hello,\tWORLD! ", "hello, world!", 2},
                {"caf\xc3\xa9 na\xc3\xafve", "cafe naive", 2},
                {"\xef\xbc\xa8\xef\xbc\xa9 \xe2\x80\x8bth\xe2\x80\x8b"
                 "ere",
                 "hi there", 2},
                {"don\xe2\x80\x99t top-up 3.5 %", "don't top-up 3.5 %", 5},
                {"a+b x - y", "a+b x - y", 5},
                {"\xe4\xbd\xa0\xe5\xa5\xbd ok", "\xe4\xbd\xa0\xe5\xa5\xbd ok", 3},
                {"\xff"
                 "a",
                 "\xef\xbf\xbd"
                 "a",
                 2},
                {"", "", 0}};
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct words w = {0};
        buf_clear(&b);
        text_normalise(str_of(list[i].text), &b);
        if (!str_is(buf_view(&b), list[i].normal))
            fail_msg("\"%s\": \"%.*s\"", list[i].text, (int)b.n, b.p);
        words_add(&w, buf_view(&b));
        if (w.n != list[i].words) fail_msg("\"%s\": %zu words", list[i].text, w.n);
        words_release(&w);
    }
    buf_release(&b);
}

#define NONE (-1)
#define SURE "Open the app, choose Cards and follow the steps that are shown there."

/* What becomes of two rows. */
static void rules_for_pairs(void **state) {
    (void)state;
    static const struct {
        const char *a, *answer_a, *b, *answer_b;
        int kind;
    } list[] = {
        {"Hello there", "Hi", "hello   THERE", "hi", TWIN_EXACT},
        {"Hello there!", "Hi", "Hello there", "Hi.", TWIN_NEAR},
        {"How do I activate my card?", SURE, "How do I activate my new phone?", SURE, NONE},
        {"How do I activate my card?", SURE, "How can I activate my card?", SURE, TWIN_NEAR},
        {"How do I activate my card?", SURE, "How do I deactivate my card?", SURE, NONE},
        {"How do I activate my card?", "card", "How do I order my card?", "order", NONE},
        {"How do I activate my card?", "", "How do I order my card?", "", NONE},
        {"How do I activate my card?", "", "How do I activvate my card?", "", TWIN_ALIKE},
        {"How do I stop my plan?", "plan stop", "How do I end my plan?", "plan stop", TWIN_ALIKE},
        {"Is it 3 or more for a table at the window today?", SURE,
         "Is it 4 or more for a table at the window today?", SURE, NONE},
        {"I can see the payment in the app since this morning", SURE,
         "I can't see the payment in the app since this morning", SURE, NONE},
        {"Where is my card?", "On its way.", "Where is my card?", "Ask the bank.", TWIN_CONFLICT},
        {"Where is my card?", "It costs 5 a month.", "Where is my card?", "It costs 7 a month.",
         TWIN_CONFLICT},
        {"Where is my card?", SURE, "Where is my card?",
         "Open the app, select Cards and follow the steps that are shown there.", TWIN_NEAR},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct made m;
        made_init(&m);
        made_row(&m, NULL, str_of(list[i].a), str_of(list[i].answer_a));
        made_row(&m, NULL, str_of(list[i].b), str_of(list[i].answer_b));
        struct result r = find(&m);
        int kind = r.n ? (int)r.list[0].kind : NONE;
        if (kind != list[i].kind || r.n > 1)
            fail_msg("\"%s\", \"%s\": %zu, kind %d", list[i].a, list[i].b, r.n, kind);
        if (r.n) {
            assert_int_equal(r.list[0].named, 1);
            assert_int_equal(r.list[0].other, 0);
        }
        twins_free(r.twins);
        made_release(&m);
    }
}

static void the_better_row_is_kept(void **state) {
    (void)state;
    struct made m;
    made_init(&m);
    static const char *const question = "Please tell me how to order one more card for my wife";
    made_row(&m, NULL, str_of(question), STR_LIT("In the app."));
    made_row(&m, NULL, str_of(question), STR_LIT("In the app."));
    made_row(&m, NULL, STR_LIT("Please tell me how to order one more card for my husband"),
             STR_LIT("in the app"));
    static const int32_t rank[] = {2, 1, 2};
    struct result r = find_in(&m, rank, 1, 10, NULL);
    assert_int_equal(r.n, 2);
    assert_int_equal(r.list[0].kind, TWIN_EXACT);
    assert_int_equal(r.list[0].row, 0);
    assert_int_equal(r.list[0].of, 1);
    assert_int_equal(r.list[0].named, 1); /* the first row of a cluster is never the one named */
    assert_int_equal(r.list[1].kind, TWIN_NEAR);
    assert_int_equal(r.list[1].of, 1);
    twins_free(r.twins);
    made_release(&m);
}

/* a, b, c, each one word from the next: what is kept is near to all that is dropped for it */
/* Reports name what comes later, with what stands before it, whichever row is kept. */
static void reports_name_the_later_row(void **state) {
    (void)state;
    static const char question[] = "please tell me in plain words how the heart of a whale works";
    static const char other[] = "please tell me in plain words how the heart of a horse works";
    static const char third[] = "please tell me in plain words how the heart of a mouse works";
    struct made m;
    made_init(&m);
    made_row(&m, NULL, str_of(question), STR_LIT("it pumps"));
    made_row(&m, NULL, str_of(other), STR_LIT("it pumps"));
    made_row(&m, NULL, str_of(question), STR_LIT("it pumps"));
    made_row(&m, NULL, str_of(third), STR_LIT("it pumps"));
    static const int32_t ranks[] = {1, 1, 1, 0}; /* the last is kept */
    struct err err = {0};
    const struct twin *list;
    size_t n;
    struct pool *pool = pool_new(1);
    struct twins *t = twins_new(NULL);
    assert_int_equal(twins_add(t, m.list, m.n, ranks, pool, &err), 0);
    assert_int_equal(twins_find(t, pool, &list, &n, &err), 0);
    static const int64_t of[] = {-1, 0, 0, 0};
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].of, 3);
        assert_int_equal(list[i].kind, TWIN_NEAR);
        assert_int_equal(list[i].other, of[list[i].named]);
        assert_int_equal(list[i].told, list[i].named == 2 ? TWIN_EXACT : TWIN_NEAR);
        assert_true(list[i].named == 2 ? list[i].told_similarity == 1
                                       : list[i].told_similarity < 1);
    }
    twins_free(t);
    pool_free(pool);
    made_release(&m);
}

static void stars_are_no_chains(void **state) {
    (void)state;
    struct made m;
    made_init(&m);
    char text[200];
    for (int i = 0; i < 12; i++) {
        size_t n = 0;
        for (int w = 0; w < 12; w++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%c ", w < i ? "new" : "old",
                                  'a' + w);
        made_row(&m, NULL, (struct str){text, n}, STR_LIT("the very same answer"));
    }
    struct result r = find(&m);
    size_t near = 0;
    for (size_t i = 0; i < r.n; i++) {
        if (r.list[i].kind != TWIN_NEAR) continue;
        near++;
        assert_in_range(r.list[i].row - r.list[i].of + 2, 1, 3);
    }
    assert_in_range(near, 5, 8);
    twins_free(r.twins);
    made_release(&m);
}

/* --- many rows --- */

static struct str sentence(struct arena *a, struct rng *r, size_t words) {
    static const char *const syllables[] = {"ka",  "to",  "mi", "re",  "lu", "son", "da", "vel",
                                            "qui", "ner", "po", "sta", "fe", "gor", "hi", "zu"};
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < words; i++) {
        /* Zipf-like: common words are common */
        uint64_t rank = (uint64_t)(3000 * rng_double(r) * rng_double(r) * rng_double(r));
        if (i) buf_byte(&b, ' ');
        for (uint64_t v = rank + 17; v; v /= 16) buf_z(&b, syllables[v % 16]);
    }
    struct str s = arena_str(a, buf_view(&b));
    buf_release(&b);
    return s;
}

static struct str random_word(struct arena *a, struct rng *r) { return sentence(a, r, 1); }

/* Of `planted` rows, those from `base` on, how many are named; what else is named as a duplicate
 * and not accounted for by `fits`. */
static size_t named_from(const struct result *r, size_t rows, size_t base) {
    bool *named = mem_zalloc(rows, 1);
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].kind <= TWIN_ALIKE) named[r->list[i].named] = true;
    for (size_t i = base; i < rows; i++) n += named[i];
    mem_free(named);
    return n;
}

static void planted_words_are_found(void **state) {
    (void)state;
    static const struct {
        size_t least, most;
        const char *head; /* a template that all rows begin with */
    } kinds[] = {
        {6, 10, ""},
        {11, 18, ""},
        {19, 48, ""},
        {49, 250, ""},
        {6, 12, "rewrite the text that follows as a formal letter with one request only "}};
    struct rng r;
    rng_init(&r, unit_seed());
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct made m;
        made_init(&m);
        size_t base = 1500, planted = 300, span = kinds[k].most - kinds[k].least + 1;
        for (size_t i = 0; i < base; i++) {
            char text[4000];
            struct str body = sentence(&m.arena, &r, kinds[k].least + rng_below(&r, span));
            int n = snprintf(text, sizeof text, "%s%.*s", kinds[k].head, STR_ARG(body));
            made_row(&m, "Be brief.", (struct str){text, (size_t)n},
                     sentence(&m.arena, &r, 3 + rng_below(&r, 20)));
        }
        for (size_t i = 0; i < planted; i++) {
            const struct message *of = m.list[i * 5].messages;
            struct str changed = change_word(&m.arena, of[1].text, &r, random_word(&m.arena, &r));
            made_row(&m, "Be brief.", changed, of[2].text);
        }
        struct result found = find(&m);
        size_t hits = named_from(&found, m.n, base), all = 0;
        for (size_t i = 0; i < found.n; i++) all += found.list[i].kind <= TWIN_ALIKE;
        printf("one word changed, %zu to %zu words%s: recall %.4f, %zu others named\n",
               kinds[k].least, kinds[k].most, *kinds[k].head ? " after a template" : "",
               (double)hits / (double)planted, all - hits);
        assert_true(hits * 100 >= planted * 99);
        assert_true(all - hits == 0);
        assert_int_equal(twins_cut(found.twins), 0);
        twins_free(found.twins);
        made_release(&m);
    }
}

/* the contents kept, whatever their order */
static uint64_t kept_set(const struct made *m, const struct result *r) {
    bool *dropped = mem_zalloc(m->n, 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].kind <= TWIN_NEAR) dropped[r->list[i].row] = true;
    for (size_t i = 0; i < m->n; i++) {
        const struct message *q = m->list[i].messages;
        if (!dropped[i])
            sum += hash_bytes(q[0].text.p, q[0].text.n) * 31 + hash_bytes(q[1].text.p, q[1].text.n);
    }
    mem_free(dropped);
    return sum;
}

static void any_order_threads_and_batches_keep_the_same(void **state) {
    (void)state;
    struct made m;
    struct rng r;
    made_init(&m);
    rng_init(&r, unit_seed());
    for (size_t i = 0; i < 400; i++)
        made_row(&m, NULL, sentence(&m.arena, &r, 12 + rng_below(&r, 50)),
                 sentence(&m.arena, &r, 1 + rng_below(&r, 12)));
    for (size_t i = 0; i < 1200; i++) { /* variants of variants */
        const struct message *of = m.list[rng_below(&r, m.n)].messages;
        struct str changed = change_word(&m.arena, of[0].text, &r, random_word(&m.arena, &r));
        made_row(&m, NULL, rng_below(&r, 8) ? changed : of[0].text, of[1].text);
    }
    struct result one = find_in(&m, NULL, 1, 100000, NULL);
    uint64_t want = kept_set(&m, &one);
    struct result two = find_in(&m, NULL, 4, 7, NULL);
    assert_int_equal(one.n, two.n);
    for (size_t i = 0; i < one.n; i++) {
        assert_int_equal(one.list[i].kind, two.list[i].kind);
        assert_int_equal(one.list[i].row, two.list[i].row);
        assert_int_equal(one.list[i].of, two.list[i].of);
        assert_true(one.list[i].other < one.list[i].named);
        assert_true(one.list[i].told_similarity > 0.5);
    }
    twins_free(one.twins);
    twins_free(two.twins);
    for (int turn = 0; turn < 5; turn++) {
        for (size_t i = m.n - 1; i; i--) {
            size_t j = rng_below(&r, i + 1);
            struct example e = m.list[i];
            m.list[i] = m.list[j];
            m.list[j] = e;
        }
        struct result shuffled = find(&m);
        assert_true(kept_set(&m, &shuffled) == want);
        twins_free(shuffled.twins);
    }
    made_release(&m);
}

static void words_go_to_a_file_past_the_limit(void **state) {
    (void)state;
    struct made m;
    struct rng r;
    struct err err = {0};
    made_init(&m);
    rng_init(&r, unit_seed());
    for (size_t i = 0; i < 3000; i++)
        made_row(&m, NULL, sentence(&m.arena, &r, 900), STR_LIT("an answer"));
    for (size_t i = 0; i < 100; i++)
        made_row(&m, NULL,
                 change_word(&m.arena, m.list[i].messages[0].text, &r, STR_LIT("changed")),
                 STR_LIT("an answer"));
    struct twin_options o = {.memory_max = (size_t)10 << 20};
    struct result found = find_in(&m, NULL, 2, 1000, &o);
    assert_int_equal(named_from(&found, m.n, 3000), 100);
    twins_free(found.twins);

    struct pool *pool = pool_new(1);
    o.memory_max = 100000;
    struct twins *t = twins_new(&o);
    assert_int_equal(twins_add(t, m.list, m.n, NULL, pool, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "MiB"));
    twins_free(t);
    pool_free(pool);
    made_release(&m);
}

/* --- real questions --- */

static void banking_questions_stay_apart(void **state) {
    (void)state;
    struct made m, labelled;
    made_init(&m);
    made_init(&labelled);
    if (!add_banking(&m, "banking77/train.csv", false, 10000)) return;
    add_banking(&labelled, "banking77/train.csv", true, 10000);
    for (int with = 0; with < 2; with++) {
        struct result r = find(with ? &labelled : &m);
        size_t counts[5] = {0}, apart = 0;
        for (size_t i = 0; i < r.n; i++) {
            const struct example *a = &labelled.list[r.list[i].row];
            const struct example *b = &labelled.list[r.list[i].of];
            counts[r.list[i].kind]++;
            if (r.list[i].kind > TWIN_ALIKE || str_eq(a->messages[1].text, b->messages[1].text))
                continue;
            apart++;
            printf("classes differ: %.*s | %.*s\n", STR_ARG(a->messages[0].text),
                   STR_ARG(b->messages[0].text));
        }
        printf("10000 questions %s: %zu exact, %zu near, %zu alike, %zu of other classes\n",
               with ? "with classes" : "alone", counts[0], counts[1], counts[2], apart);
        assert_true(apart <= (with ? 0 : 4)); /* the set's own noise: the same question twice */
        assert_true(counts[0] + counts[1] <= (with ? 300 : 100));
        twins_free(r.twins);
    }
    made_release(&m);
    made_release(&labelled);
}

static void words_changed_in_banking_questions_are_found(void **state) {
    (void)state;
    struct made m;
    struct rng r;
    made_init(&m);
    rng_init(&r, unit_seed());
    if (!add_banking(&m, "banking77/train.csv", true, 10000)) return;
    size_t base = m.n, planted = 1000;
    while (m.n < base + planted) {
        const struct message *of = m.list[rng_below(&r, base)].messages;
        struct str changed = change_word(&m.arena, of[0].text, &r, random_word(&m.arena, &r));
        if (changed.n) made_row(&m, NULL, changed, of[1].text);
    }
    struct result found = find(&m);
    size_t hits = named_from(&found, m.n, base);
    printf("one word changed in questions with classes: recall %.4f\n",
           (double)hits / (double)planted);
    assert_true(hits * 100 >= planted * 99);
    twins_free(found.twins);
    made_release(&m);
}

UNIT_TESTS(data_twins, cmocka_unit_test(normal_form_and_words), cmocka_unit_test(rules_for_pairs),
           cmocka_unit_test(the_better_row_is_kept), cmocka_unit_test(stars_are_no_chains),
           cmocka_unit_test(reports_name_the_later_row), cmocka_unit_test(planted_words_are_found),
           cmocka_unit_test(any_order_threads_and_batches_keep_the_same),
           cmocka_unit_test(words_go_to_a_file_past_the_limit),
           cmocka_unit_test(banking_questions_stay_apart),
           cmocka_unit_test(words_changed_in_banking_questions_are_found))
