/* Leaks of held-out cases: the rules one by one, then planted ones among clean rows. */
#include "data_fixture.h"

#include "data/leakage.h"

struct result {
    struct leakage *index;
    struct leaks leaks;
};

static struct result find_in(const struct made *cases, const struct made *rows, int threads,
                             size_t batch) {
    struct result r = {.index = leakage_new()};
    struct pool *pool = pool_new(threads);
    struct err err = {0};
    assert_int_equal(leakage_add(r.index, 3, cases->list, cases->n, &err), 0);
    leakage_ready(r.index);
    for (size_t i = 0; i < rows->n; i += batch) {
        size_t n = rows->n - i < batch ? rows->n - i : batch;
        assert_int_equal(leakage_find(r.index, rows->list + i, n, pool, &r.leaks, &err), 0);
    }
    pool_free(pool);
    return r;
}

static struct result find(const struct made *cases, const struct made *rows) {
    return find_in(cases, rows, 2, 1000);
}

static void release(struct result *r) {
    leakage_free(r->index);
    mem_free(r->leaks.list);
}

#define NONE (-1)
#define LONG                                                                                       \
    "The warehouse of the old harbour keeps seven lanterns that burn through every winter night "  \
    "until the keeper puts them out at dawn."
#define ANSWER "Seven lanterns burn there, and the keeper puts them out when the sun comes up."

static void rules_for_pairs(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *answer, *row, *row_answer;
        int how;
    } list[] = {
        {LONG, "yes", LONG, "no", LEAK_EQUAL},
        {LONG, "yes", "Note: " LONG " Discuss.", "no", LEAK_RUN},
        {LONG, "yes",
         "I heard that seven lanterns that burn through every winter night until the "
         "keeper puts them somewhere",
         "no", LEAK_RUN},
        {LONG, "yes", "I heard that seven lanterns that burn through each winter night are lit",
         "no", NONE},
        {"Who lights them?", ANSWER, "Tell me about the harbour.", "Well. " ANSWER, LEAK_ANSWER},
        {"Who lights them?", ANSWER, ANSWER, "I see.", NONE}, /* a user may say it */
        {"Where is my card?", "card", "where is MY card", "lost", LEAK_EQUAL},
        {"Where is my card?", "card", "Well, where is my card", "lost", LEAK_RUN},
        {"Where is my card?", "card", "Where is my pin?", "pin", NONE},
        {"Where is my card?", "card", "Where is that card?", "card", LEAK_NEAR},
        {"my card", "card", "I lost my card", "lost", NONE},
        {"How do I send the money to my old bank in Norway?", "a",
         "How do I send this money to my old bank in Norway?", "b", LEAK_NEAR},
        {"Where is my top-up?", "card", "Where is my money?", "card", LEAK_NEAR},
        {"Where is my top up?", "card", "Where is my money?", "card", NONE},
        {"Where is peer-to-peer here?", "card", "Where is it here?", "card", LEAK_NEAR},
        {"How do I send $5 to my old bank in Norway now?", "a",
         "How do I send money to my old bank in Norway now?", "b", LEAK_NEAR},
        {"How do I send $5 to my old bank in Norway now?", "a",
         "How do I send 7% to my old bank in Norway now?", "b", NONE},
        {"Please order the red car now, if she says so", "a",
         "If she says so, please order the red car now", "b", LEAK_NEAR},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct made cases, rows;
        made_init(&cases);
        made_init(&rows);
        made_row(&cases, "Be brief.", str_of(list[i].prompt), str_of(list[i].answer));
        made_row(&rows, LONG, str_of(list[i].row), str_of(list[i].row_answer));
        struct result r = find(&cases, &rows);
        int how = r.leaks.count ? (int)r.leaks.list[0].how : NONE;
        if (how != list[i].how) fail_msg("\"%s\", \"%s\": %d", list[i].prompt, list[i].row, how);
        if (r.leaks.count) {
            const struct leak *l = &r.leaks.list[0];
            assert_int_equal(l->row, 1);
            assert_int_equal(l->file, 3);
            assert_int_equal(l->held_out, 1);
            assert_int_equal(l->message, how == LEAK_ANSWER ? 2 : 1);
        }
        release(&r);
        made_release(&cases);
        made_release(&rows);
    }
}

/* What all cases begin with tells nothing of one of them. */
static void templates_are_no_leaks(void **state) {
    (void)state;
    static const char *const names[] = {"amber", "birch", "cedar", "delta", "ember", "fjord"};
    struct made cases, rows;
    char text[400];
    made_init(&cases);
    made_init(&rows);
    for (int i = 0; i < 6; i++)
        for (int side = 0; side < 2; side++) {
            int n = snprintf(text, sizeof text,
                             "Read the table of all the ships in the harbour, their flags, their "
                             "masters and their cargo. Which ship named %s did %s %s in the %s?",
                             names[i], side ? "someone" : "nobody", side ? "burn" : "paint",
                             side ? "summer of that year" : "dark");
            made_row(side ? &rows : &cases, NULL, (struct str){text, (size_t)n}, STR_LIT("none"));
        }
    struct result r = find(&cases, &rows);
    assert_int_equal(r.leaks.count, 0);
    release(&r);
    made_row(&rows, NULL, cases.list[2].messages[0].text, STR_LIT("x"));
    r = find(&cases, &rows);
    assert_int_equal(r.leaks.count, 1);
    assert_int_equal(r.leaks.list[0].held_out, 3);
    release(&r);
    made_release(&cases);
    made_release(&rows);
}

/* --- planted --- */

static struct str text_of(struct arena *a, struct rng *r, size_t words, uint64_t vocabulary) {
    static const char *const syllables[] = {"ka",  "to",  "mi", "re",  "lu", "son", "da", "vel",
                                            "qui", "ner", "po", "sta", "fe", "gor", "hi", "zu"};
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < words; i++) {
        if (i) buf_byte(&b, ' ');
        for (uint64_t v = rng_below(r, vocabulary) + 17; v; v /= 16) buf_z(&b, syllables[v % 16]);
    }
    struct str s = arena_str(a, buf_view(&b));
    buf_release(&b);
    return s;
}

static struct str joined(struct arena *a, const struct str *list, size_t n, const size_t *order) {
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        if (i) buf_z(&b, ", ");
        buf_str(&b, list[order[i]]);
    }
    struct str s = arena_str(a, buf_view(&b));
    buf_release(&b);
    return s;
}

enum plant { WHOLE, INSIDE, WORD, CLAUSES, ANSWERED, PLANTS };
static const char *const plant_names[] = {"equal", "inside a turn", "one word changed",
                                          "clauses in another order", "answer in an answer"};

static void plant(struct made *rows, const struct example *of, const struct str *clauses, size_t n,
                  enum plant how, struct rng *r) {
    struct arena *a = &rows->arena;
    struct str prompt = of->messages[0].text, answer = of->messages[1].text;
    static const size_t orders[][3] = {{1, 2, 0}, {2, 1, 0}, {1, 0, 2}};
    char text[3000];
    int length;
    switch (how) {
    case WHOLE: made_row(rows, NULL, prompt, answer); break;
    case WORD:
        made_row(rows, NULL, change_word(a, prompt, r, text_of(a, r, 1, 4000)), answer);
        break;
    case CLAUSES:
        made_row(rows, NULL, joined(a, clauses, n, n == 3 ? orders[rng_below(r, 3)] : orders[2]),
                 answer);
        break;
    case INSIDE:
        length = snprintf(text, sizeof text, "well then %.*s if you please", STR_ARG(prompt));
        made_row(rows, NULL, (struct str){text, (size_t)length}, STR_LIT("as you wish"));
        break;
    default:
        length = snprintf(text, sizeof text, "well then %.*s if you please", STR_ARG(answer));
        made_row(rows, NULL, STR_LIT("go on"), (struct str){text, (size_t)length});
    }
}

static void planted_leaks_are_found(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, unit_seed());
    for (int how = 0; how < PLANTS; how++) {
        struct made cases, rows;
        size_t count = 400, hits = 0;
        made_init(&cases);
        made_init(&rows);
        for (size_t i = 0; i < 2000; i++)
            made_row(&rows, NULL, text_of(&rows.arena, &r, 3 + rng_below(&r, 60), 4000),
                     text_of(&rows.arena, &r, 1 + rng_below(&r, 30), 4000));
        for (size_t i = 0; i < count; i++) {
            struct str clauses[3];
            size_t n = 2 + rng_below(&r, 2);
            for (size_t c = 0; c < n; c++)
                clauses[c] = text_of(&cases.arena, &r, 3 + rng_below(&r, 6), 4000);
            made_row(&cases, NULL, joined(&cases.arena, clauses, n, (const size_t[]){0, 1, 2}),
                     text_of(&cases.arena, &r, how == ANSWERED ? 12 : 2, 4000));
            plant(&rows, &cases.list[i], clauses, n, (enum plant)how, &r);
        }
        struct result found = find(&cases, &rows);
        for (size_t i = 0; i < found.leaks.count; i++)
            hits += found.leaks.list[i].row - 2001 == found.leaks.list[i].held_out - 1;
        printf("leaks, %s: recall %.4f, precision %.4f\n", plant_names[how],
               (double)hits / (double)count, (double)hits / (double)found.leaks.count);
        assert_true(hits == count || (how == CLAUSES && hits * 100 >= count * 95));
        assert_int_equal(found.leaks.count, hits);
        release(&found);
        made_release(&cases);
        made_release(&rows);
    }
}

static void threads_and_batches_do_not_matter(void **state) {
    (void)state;
    struct made cases, rows;
    struct rng r;
    made_init(&cases);
    made_init(&rows);
    rng_init(&r, unit_seed());
    for (size_t i = 0; i < 300; i++)
        made_row(&cases, NULL, text_of(&cases.arena, &r, 4 + rng_below(&r, 6), 8),
                 text_of(&cases.arena, &r, 1, 8));
    for (size_t i = 0; i < 900; i++)
        made_row(&rows, NULL, text_of(&rows.arena, &r, 4 + rng_below(&r, 6), 8),
                 text_of(&rows.arena, &r, 1, 8));
    struct result a = find_in(&cases, &rows, 1, 100000), b = find_in(&cases, &rows, 4, 13);
    assert_true(a.leaks.count > 10);
    assert_int_equal(a.leaks.count, b.leaks.count);
    for (size_t i = 0; i < a.leaks.count; i++) {
        const struct leak *x = &a.leaks.list[i], *y = &b.leaks.list[i];
        assert_true(x->row == y->row && x->held_out == y->held_out && x->how == y->how &&
                    x->message == y->message && x->words == y->words &&
                    x->similarity == y->similarity);
    }
    release(&a);
    release(&b);
    made_release(&cases);
    made_release(&rows);
}

/* --- real --- */

/* Splits that others made: what is flagged was read, and is few. */
static void real_splits_are_nearly_clean(void **state) {
    (void)state;
    static const struct {
        const char *train, *test, *question, *answer;
        size_t most;
    } list[] = {{"gsm8k/train.jsonl", "gsm8k/test.jsonl", "question", "answer", 8},
                {"wikisql/train.jsonl", "wikisql/test.jsonl", "text", NULL, 0},
                {"wikisql/valid.jsonl", "wikisql/test.jsonl", "text", NULL, 0},
                {"banking77/train.csv", "banking77/test.csv", NULL, NULL, 1100}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct made rows, cases;
        bool csv = !list[i].question, there;
        made_init(&rows);
        made_init(&cases);
        there = csv ? add_banking(&rows, list[i].train, true, SIZE_MAX) &&
                          add_banking(&cases, list[i].test, true, SIZE_MAX)
                    : add_jsonl(&rows, list[i].train, list[i].question, list[i].answer) &&
                          add_jsonl(&cases, list[i].test, list[i].question, list[i].answer);
        if (there) {
            struct result r = find(&cases, &rows);
            size_t how[4] = {0};
            for (size_t k = 0; k < r.leaks.count; k++) how[r.leaks.list[k].how]++;
            printf("%s, %zu rows against %zu: %zu equal, %zu runs, %zu answers, %zu near\n",
                   list[i].train, rows.n, cases.n, how[0], how[1], how[2], how[3]);
            assert_true(r.leaks.count <= list[i].most);
            release(&r);
        }
        made_release(&rows);
        made_release(&cases);
    }
}

static void words_changed_in_banking_questions_leak(void **state) {
    (void)state;
    struct made cases, rows;
    struct rng r;
    made_init(&cases);
    made_init(&rows);
    rng_init(&r, unit_seed());
    if (!add_banking(&cases, "banking77/test.csv", true, SIZE_MAX)) return;
    for (size_t i = 0; i < cases.n; i++) {
        const struct message *of = cases.list[i].messages;
        struct str changed =
            change_word(&rows.arena, of[0].text, &r, text_of(&rows.arena, &r, 1, 4000));
        if (changed.n) made_row(&rows, NULL, changed, of[1].text);
    }
    struct result found = find(&cases, &rows);
    printf("one word changed in %zu questions: recall %.4f\n", rows.n,
           (double)found.leaks.count / (double)rows.n);
    assert_int_equal(found.leaks.count, rows.n);
    release(&found);
    made_release(&cases);
    made_release(&rows);
}

UNIT_TESTS(data_leakage, cmocka_unit_test(rules_for_pairs),
           cmocka_unit_test(templates_are_no_leaks), cmocka_unit_test(planted_leaks_are_found),
           cmocka_unit_test(threads_and_batches_do_not_matter),
           cmocka_unit_test(real_splits_are_nearly_clean),
           cmocka_unit_test(words_changed_in_banking_questions_leak))
