/* How much of a labelled set the scanner finds, printed per kind: spans exact to the byte count.
 * PII_TEXTS=3000 for the whole set, PII_SHOW=1 for the mistakes in the part to tune on. */
#include "pii_set.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXTS 600
#define HITS 32
#define LEAST_F2 0.9

struct counts {
    int right, missed, wrong;
};

static double share(int part, int rest) { return part ? (double)part / (part + rest) : 0; }

static double f2(const struct counts *c) {
    double p = share(c->right, c->wrong), r = share(c->right, c->missed);
    return p + r > 0 ? 5 * p * r / (4 * p + r) : 0;
}

static void show(const struct pii_sample *s, const char *what, enum pii_entity e, size_t start,
                 size_t end) {
    if (!getenv("PII_SHOW") || s->held_out) return;
    printf("form %zu %s %s \"%.*s\" in: %s\n", s->form, what, pii_label(e), (int)(end - start),
           s->text.p + start, s->text.p);
}

static void compare(const struct pii_sample *s, const struct pii_hit *hits, size_t n,
                    struct counts *c) {
    bool used[HITS] = {false};
    for (size_t i = 0; i < s->count; i++) {
        bool found = false;
        for (size_t k = 0; k < n && !found; k++) {
            found = hits[k].entity == s->span[i].entity && hits[k].start == s->span[i].start &&
                    hits[k].end == s->span[i].end;
            used[k] |= found;
        }
        if (found)
            c[s->span[i].entity].right++;
        else
            c[s->span[i].entity].missed++;
        if (!found) show(s, "missed", s->span[i].entity, s->span[i].start, s->span[i].end);
    }
    for (size_t k = 0; k < n; k++) {
        if (used[k]) continue;
        c[hits[k].entity].wrong++;
        show(s, "wrong", hits[k].entity, hits[k].start, hits[k].end);
    }
}

static double print_part(const char *part, size_t texts, struct counts *c) {
    struct counts all = {0};
    printf("%s: %zu texts\n%-16s %6s %7s %6s %9s %7s %6s\n", part, texts, "entity", "right",
           "missed", "wrong", "precision", "recall", "F2");
    for (int e = 0; e <= PII_ENTITIES; e++) {
        const struct counts *one = e < PII_ENTITIES ? &c[e] : &all;
        if (!(one->right + one->missed + one->wrong)) continue;
        printf("%-16s %6d %7d %6d %9.4f %7.4f %6.4f\n",
               e < PII_ENTITIES ? pii_label((enum pii_entity)e) : "all", one->right, one->missed,
               one->wrong, share(one->right, one->wrong), share(one->right, one->missed), f2(one));
        all.right += one->right;
        all.missed += one->missed;
        all.wrong += one->wrong;
    }
    return f2(&all);
}

static void finds_most_of_a_labelled_set(void **state) {
    (void)state;
    const char *given = getenv("PII_TEXTS");
    size_t texts = given ? (size_t)strtoul(given, NULL, 10) : TEXTS, held_out = 0;
    struct counts c[2][PII_ENTITIES] = {{{0}}};
    struct pii_options o;
    pii_defaults(&o);
    for (size_t i = 0; i < texts; i++) {
        struct pii_sample s;
        struct pii_hit hits[HITS];
        pii_sample(unit_seed(), i, &s);
        size_t n = pii_scan(buf_view(&s.text), &o, hits, HITS);
        assert_true(n <= HITS);
        compare(&s, hits, n, c[s.held_out]);
        held_out += s.held_out;
        buf_release(&s.text);
    }
    double tuned = print_part("templates to tune on", texts - held_out, c[0]);
    double test = print_part("templates held out", held_out, c[1]);
    assert_true(tuned >= LEAST_F2);
    assert_true(test >= LEAST_F2);
}

UNIT_TESTS(data_pii_figures, cmocka_unit_test(finds_most_of_a_labelled_set))
