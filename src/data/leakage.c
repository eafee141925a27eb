/* Training rows against the held-out cases. The rules are docs/leakage.md's. */
#include "data/leakage_int.h"

#include "base/mem.h"
#include "data/word_edit.h"

#include <stdlib.h>

#define RUN_MIN 8           /* words that always must agree, ... */
#define RUN_PART 0.5        /* ... of the case's own this part, ... */
#define RUN_PART_OTHER 0.75 /* ... or this one where both have answers and they differ, ... */
#define RUN_SURE 13         /* ... or so many in any case */
#define SLICE 1024

#define PROMPT_SURE 11 /* one word apart: from so many words on whatever the answer is */
#define BAG_MIN 8      /* the same words in another order */
#define BAG_LOOSE 12   /* from so many on some may differ */
#define BAG_PART 0.90
#define BAG_PART_ALL 0.97

/* What is compared at a time: a turn, or all turns of the user together. */
struct unit {
    const uint32_t *list;
    const struct word_at *at; /* of each word */
    size_t n;
    int32_t message;
    bool assistant;
    bool whole; /* all that a prompt of this row can be */
};

/* Of one thread. */
struct seeker {
    struct words turn, prompt, answer;
    struct buf normal;
    uint32_t *stamp, stamp_now; /* of each text: the last unit that has a rare word of it, ... */
    uint32_t *hits;             /* ... and how many */
    uint32_t *met;              /* texts that this unit may be near to */
    size_t met_count, met_cap;
    uint32_t *until; /* of each text: where its last run in this unit ended */
    uint32_t *until_stamp;
    uint8_t *template;
    size_t template_cap;
    uint32_t *own, *sorted[2];
    size_t own_cap, sorted_cap[2];
    uint64_t answer_hash;
    struct leak best;
    bool found;
};

struct search {
    const struct leakage *l;
    const struct example *list;
    struct seeker *seekers;
    struct leak *leaks;
    bool *found;
};

/* --- the worst --- */

static bool is_worse(const struct leak *a, const struct leak *b) {
    if ((a->how == LEAK_EQUAL) != (b->how == LEAK_EQUAL)) return a->how == LEAK_EQUAL;
    if (a->similarity != b->similarity) return a->similarity > b->similarity;
    if (a->file != b->file) return a->file < b->file;
    if (a->held_out != b->held_out) return a->held_out < b->held_out;
    if (a->how != b->how) return a->how < b->how;
    if (a->words != b->words) return a->words > b->words;
    return a->message < b->message;
}

static void report(const struct leakage *l, struct seeker *s, const struct unit *u, uint32_t text,
                   enum leak_how how, size_t words, double similarity) {
    const struct lcase *c = &l->cases[l->texts[text].the_case];
    struct leak one = {.message = u->message,
                       .file = c->file,
                       .held_out = c->number,
                       .how = how,
                       .words = (int32_t)words,
                       .similarity = similarity > 1 ? 1 : similarity};
    if (s->found && !is_worse(&one, &s->best)) return;
    s->best = one;
    s->found = true;
}

/* --- answers --- */

static bool same_answer(const struct leakage *l, const struct seeker *s, uint32_t text) {
    const struct lcase *c = &l->cases[l->texts[text].the_case];
    return c->answer && s->answer_hash == c->answer_hash;
}

static bool other_answer(const struct leakage *l, const struct seeker *s, uint32_t text) {
    const struct lcase *c = &l->cases[l->texts[text].the_case];
    return c->answer && s->answer_hash && s->answer_hash != c->answer_hash;
}

/* --- runs --- */

/* The run through one place where eight words agree: how many of its words are the case's own. */
static void follow_run(const struct leakage *l, struct seeker *s, const struct unit *u,
                       size_t place, const struct lplace *at) {
    const struct ltext *t = &l->texts[at->text];
    const uint32_t *words = l->words + t->at;
    size_t from = at->pos, to = at->pos + GRAM, i = place, own = 0;
    if (t->answer && !u->assistant) return;
    if (s->until_stamp[at->text] == s->stamp_now && s->until[at->text] > place) return;
    while (from && i && words[from - 1] == u->list[i - 1]) from--, i--;
    for (i = place + GRAM; to < t->n && i < u->n && words[to] == u->list[i]; i++) to++;
    s->until_stamp[at->text] = s->stamp_now;
    s->until[at->text] = (uint32_t)(i - GRAM + 1);
    for (size_t w = from; w < to; w++) own += !l->template[t->at + w];
    if (to - from == t->n && !t->answer) {
        report(l, s, u, at->text, LEAK_RUN, t->n, 1);
        return;
    }
    size_t least = RUN_MIN * t->scale, sure = RUN_SURE * t->scale;
    double part = t->answer || !other_answer(l, s, at->text) ? RUN_PART : RUN_PART_OTHER;
    if (own < least || ((double)own < part * t->own && own < sure)) return;
    report(l, s, u, at->text, t->answer ? LEAK_ANSWER : LEAK_RUN, to - from,
           (double)own / (double)t->own);
}

/* Runs of all cases, and which words of the unit are the cases' template. */
static void find_runs(const struct leakage *l, struct seeker *s, const struct unit *u) {
    mem_grow((void **)&s->template, &s->template_cap, u->n + 1, 1);
    memset(s->template, 0, u->n);
    for (size_t i = 0; i + GRAM <= u->n; i++) {
        const struct lentry *e = ltable_get(&l->grams, words_key(u->list + i, GRAM));
        if (!e) continue;
        if (is_template(l, e)) {
            memset(s->template + i, 1, GRAM);
            continue;
        }
        for (uint32_t p = e->first; p; p = l->grams.places[p].next)
            follow_run(l, s, u, i, &l->grams.places[p]);
    }
}

/* --- equal and contained --- */

static void find_equal(const struct leakage *l, struct seeker *s, const struct unit *u) {
    if (u->assistant || (!u->whole && u->n < SHORT_MIN)) return;
    const struct lentry *e = ltable_get(&l->whole, words_key(u->list, u->n));
    if (e) report(l, s, u, l->whole.places[e->first].text, LEAK_EQUAL, u->n, 1);
}

/* A short prompt within a turn that is little longer. */
static void find_contained(const struct leakage *l, struct seeker *s, const struct unit *u) {
    for (size_t n = SHORT_MIN; n < GRAM && n < u->n; n++) {
        if (!(l->short_lengths >> n & 1) || 2 * n < u->n) continue;
        for (size_t i = 0; i + n <= u->n; i++) {
            const struct lentry *e = ltable_get(&l->whole, words_key(u->list + i, n));
            if (!e) continue;
            uint32_t text = l->whole.places[e->first].text;
            if (l->texts[text].n == n)
                report(l, s, u, text, LEAK_RUN, n, 2.0 * (double)n / (double)(n + u->n));
        }
    }
}

/* --- near --- */

/* Where two texts differ: between `head` words at the beginning and `tail` at the end. */
struct gap {
    size_t head, tail;
};

static bool begins(const struct unit *u, size_t i) { return i >= u->n || !u->at[i].joined; }

/* One word as it is written, which may be two or three here: "top-up", "$5", "peer-to-peer". */
static bool is_written_word(const struct leakage *l, const struct unit *u, const struct ltext *t,
                            struct gap *ret) {
    const uint32_t *words = l->words + t->at;
    const uint8_t *joined = l->joined + t->at;
    size_t n = u->n < t->n ? u->n : t->n, m = u->n + t->n - n, head = 0, tail = 0;
    if (m - n >= WRITTEN_MAX) return false;
    while (head < n && u->list[head] == words[head]) head++;
    while (tail < n - head && u->list[u->n - 1 - tail] == words[t->n - 1 - tail]) tail++;
    while (head && !(begins(u, head) && (head == t->n || !joined[head]))) head--;
    while (tail && !(begins(u, u->n - tail) && !joined[t->n - tail])) tail--;
    *ret = (struct gap){head, tail};
    if (head + tail == m || m - head - tail > WRITTEN_MAX) return false;
    for (size_t i = head + 1; i < u->n - tail; i++)
        if (!u->at[i].joined) return false;
    for (size_t i = head + 1; i < t->n - tail; i++)
        if (!joined[i]) return false;
    return true;
}

/* What one word more or another word may be where the answers are not the same. */
static bool says_the_same(const uint32_t *a, size_t na, const uint32_t *b, size_t nb) {
    bool number[2] = {false, false}, plain = true;
    for (size_t i = 0; i < na; i++) {
        number[0] |= word_is_number(a[i]);
        plain &= word_is_plain(a[i]);
    }
    for (size_t i = 0; i < nb; i++) {
        number[1] |= word_is_number(b[i]);
        plain &= word_is_plain(b[i]);
    }
    if (!na || !nb) return plain;
    if (na == 1 && nb == 1) return !words_contrast(a[0], b[0]);
    return !number[0] || !number[1];
}

static bool is_one_word(const struct leakage *l, const struct seeker *s, const struct unit *u,
                        uint32_t text, double *ret) {
    const struct ltext *t = &l->texts[text];
    size_t n = u->n < t->n ? u->n : t->n;
    struct word_edit e = word_edit_of(u->list, u->n, l->words + t->at, t->n);
    struct gap g = {e.place, n - e.place - !e.one_longer};
    if (e.words == 0 || (e.words > 1 && !is_written_word(l, u, t, &g))) return false;
    size_t na = u->n - g.head - g.tail, nb = t->n - g.head - g.tail;
    bool known = same_answer(l, s, text), other = na && nb;
    *ret = (double)(g.head + g.tail + other) / (double)(g.head + g.tail + 1 + other);
    if (n < (!known ? PROMPT_SURE : other ? 2 : 5) * t->scale) return false;
    if (known && other) return true;
    return says_the_same(u->list + g.head, na, l->words + t->at + g.head, nb);
}

static int by_word(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static const uint32_t *sorted(struct seeker *s, int which, const uint32_t *list, size_t n) {
    mem_grow((void **)&s->sorted[which], &s->sorted_cap[which], n + 1, sizeof *list);
    if (n) memcpy(s->sorted[which], list, n * sizeof *list);
    qsort(s->sorted[which], n, sizeof *list, by_word);
    return s->sorted[which];
}

/* Words in common over words in all, each as often as it occurs; 0 where their numbers differ. */
static double bag(struct seeker *s, const uint32_t *a, size_t na, const uint32_t *b, size_t nb) {
    size_t i = 0, j = 0, both = 0;
    a = sorted(s, 0, a, na);
    b = sorted(s, 1, b, nb);
    while (i < na || j < nb) {
        if (i < na && j < nb && a[i] == b[j]) {
            both++, i++, j++;
            continue;
        }
        bool from_a = j == nb || (i < na && a[i] < b[j]);
        if (word_is_number(from_a ? a[i] : b[j])) return 0;
        if (from_a)
            i++;
        else
            j++;
    }
    return na + nb ? (double)both / (double)(na + nb - both) : 0;
}

static bool is_reordered(const struct leakage *l, struct seeker *s, const struct unit *u,
                         uint32_t text, double *ret) {
    const struct ltext *t = &l->texts[text];
    size_t n = u->n < t->n ? u->n : t->n, m = u->n + t->n - n, own = 0;
    if (n < BAG_MIN * t->scale || (double)n < BAG_PART * (double)m) {
        if (n < 5 || n != m || !same_answer(l, s, text)) return false;
    }
    *ret = bag(s, u->list, u->n, l->words + t->at, t->n);
    if (*ret == 1) return true;
    if (n < BAG_LOOSE || *ret < BAG_PART) return false;
    if (*ret >= BAG_PART_ALL || t->own == t->n) return true;
    mem_grow((void **)&s->own, &s->own_cap, u->n, sizeof *s->own);
    for (size_t i = 0; i < u->n; i++)
        if (!s->template[i] && !word_is_number(u->list[i])) s->own[own++] = u->list[i];
    *ret = bag(s, s->own, own, l->words + t->at_own, t->own);
    return t->own >= BAG_LOOSE && *ret >= BAG_PART;
}

static void look_near(const struct leakage *l, struct seeker *s, const struct unit *u,
                      uint32_t text) {
    const struct ltext *t = &l->texts[text];
    size_t n = u->n < t->n ? u->n : t->n, m = u->n + t->n - n;
    double similarity;
    if (m >= n + WRITTEN_MAX && (double)n < BAG_PART * (double)m - 1) return;
    if (is_one_word(l, s, u, text, &similarity) || is_reordered(l, s, u, text, &similarity))
        report(l, s, u, text, LEAK_NEAR, 0, similarity);
}

/* Cases are compared as soon as enough of their rare words have been met. */
static void find_near(const struct leakage *l, struct seeker *s, const struct unit *u) {
    if (u->assistant || u->n < 2) return;
    const uint32_t *words = sorted(s, 0, u->list, u->n);
    s->met_count = 0;
    for (size_t i = 0; i < u->n; i++) {
        const struct lentry *e =
            i && words[i] == words[i - 1] ? NULL : ltable_get(&l->rare, words[i]);
        for (uint32_t p = e ? e->first : 0; p; p = l->rare.places[p].next) {
            uint32_t text = l->rare.places[p].text;
            if (s->stamp[text] != s->stamp_now) s->hits[text] = 0;
            s->stamp[text] = s->stamp_now;
            if (++s->hits[text] != l->texts[text].rare) continue;
            mem_grow((void **)&s->met, &s->met_cap, s->met_count + 1, sizeof *s->met);
            s->met[s->met_count++] = text;
        }
    }
    for (size_t i = 0; i < s->met_count; i++) look_near(l, s, u, s->met[i]);
}

/* --- rows --- */

static void look(const struct leakage *l, struct seeker *s, const struct unit *u) {
    if (!u->n) return;
    s->stamp_now++;
    find_equal(l, s, u);
    find_runs(l, s, u);
    if (!u->assistant) find_contained(l, s, u);
    find_near(l, s, u);
}

static void words_of_message(struct seeker *s, const struct message *m, struct words *w) {
    buf_clear(&s->normal);
    text_normalise(m->text, &s->normal);
    words_add(w, buf_view(&s->normal));
}

static void look_at_row(void *ctx, int64_t index) {
    struct search *search = ctx;
    const struct leakage *l = search->l;
    const struct example *e = &search->list[index];
    struct seeker *s = &search->seekers[pool_thread_index()];
    size_t prompts = prompt_messages(e), users = 0;
    int32_t last = 0;
    s->found = false;
    s->answer_hash = 0;
    words_clear(&s->prompt);
    words_clear(&s->answer);
    if (prompts < e->message_count) words_of_message(s, &e->messages[prompts], &s->answer);
    if (s->answer.n) s->answer_hash = words_key(s->answer.list, s->answer.n);
    for (size_t m = 0; m < prompts; m++) {
        if (e->messages[m].role != ROLE_USER && e->kind != ROW_TEXT) continue;
        words_of_message(s, &e->messages[m], &s->prompt);
        last = (int32_t)m;
        users++;
    }
    struct unit all = {s->prompt.list, s->prompt.at, s->prompt.n, last, false, true};
    look(l, s, &all);
    for (size_t m = 0; m < e->message_count; m++) {
        enum role role = e->messages[m].role;
        bool alone = role == ROLE_USER && users == 1; /* already compared */
        if (role == ROLE_SYSTEM || alone || e->kind == ROW_TEXT) continue;
        words_clear(&s->turn);
        words_of_message(s, &e->messages[m], &s->turn);
        struct unit turn = {s->turn.list,           s->turn.at, s->turn.n, (int32_t)m,
                            role == ROLE_ASSISTANT, false};
        look(l, s, &turn);
    }
    search->found[index] = s->found;
    s->best.row = e->number;
    search->leaks[index] = s->best;
}

static void seeker_open(struct seeker *s, size_t texts) {
    buf_init(&s->normal, (size_t)1 << 30);
    s->stamp = mem_zalloc(texts, sizeof *s->stamp);
    s->hits = mem_zalloc(texts, sizeof *s->hits);
    s->until = mem_zalloc(texts, sizeof *s->until);
    s->until_stamp = mem_zalloc(texts, sizeof *s->until_stamp);
}

static void seeker_close(struct seeker *s) {
    words_release(&s->turn);
    words_release(&s->prompt);
    words_release(&s->answer);
    buf_release(&s->normal);
    mem_free(s->stamp);
    mem_free(s->hits);
    mem_free(s->met);
    mem_free(s->until);
    mem_free(s->until_stamp);
    mem_free(s->template);
    mem_free(s->own);
    mem_free(s->sorted[0]);
    mem_free(s->sorted[1]);
}

int leakage_find(const struct leakage *l, const struct example *list, size_t n, struct pool *pool,
                 struct leaks *ret, struct err *err) {
    int threads = pool_threads(pool);
    if (!l->template) return err_set(err, ERR_INTERNAL, "leakage_find before leakage_ready");
    struct search s = {.l = l,
                       .seekers = mem_zalloc((size_t)threads, sizeof *s.seekers),
                       .leaks = mem_zalloc(SLICE, sizeof *s.leaks),
                       .found = mem_zalloc(SLICE, sizeof *s.found)};
    for (int i = 0; i < threads; i++) seeker_open(&s.seekers[i], l->text_count);
    for (size_t from = 0; from < n; from += SLICE) {
        size_t count = n - from < SLICE ? n - from : SLICE;
        s.list = list + from;
        pool_run(pool, (int64_t)count, look_at_row, &s);
        for (size_t i = 0; i < count; i++) {
            if (!s.found[i]) continue;
            mem_grow((void **)&ret->list, &ret->cap, ret->count + 1, sizeof *ret->list);
            ret->list[ret->count++] = s.leaks[i];
        }
    }
    for (int i = 0; i < threads; i++) seeker_close(&s.seekers[i]);
    mem_free(s.seekers);
    mem_free(s.leaks);
    mem_free(s.found);
    return 0;
}
