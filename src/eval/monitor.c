#include "eval/monitor.h"

#include "base/json.h"
#include "base/mem.h"
#include "data/language.h"
#include "store/audit.h"
#include "store/routes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500
#define PAGE_MEM ((size_t)64 << 20)
#define TEXT_SHOWN 200
#define EVENTS_AT_ONCE 1000

/* --- promotions --- */

/* the last event of the alias that led it to the model */
static int promoted_by(struct catalog *c, const char *alias, const char *model, int64_t *ret_ms,
                       struct err *err) {
    int64_t after = 0;
    for (bool more = true; more;) {
        struct arena mem;
        struct audit_list l = {0};
        arena_init(&mem, PAGE_MEM);
        int rc = audit_events(c, alias, after, EVENTS_AT_ONCE, &mem, &l, err);
        for (size_t i = 0; !rc && i < l.count; i++) {
            json_t *data = NULL;
            if (strncmp(l.list[i].kind, "route.", 6) == 0 &&
                json_read(str_of(l.list[i].data), "event", &data, err) == 0 &&
                str_is(json_str(json_object_get(data, "to")), model) && l.list[i].at_ms > *ret_ms)
                *ret_ms = l.list[i].at_ms;
            json_decref(data);
        }
        more = !rc && l.count == EVENTS_AT_ONCE;
        if (l.count) after = l.list[l.count - 1].seq;
        arena_release(&mem);
        if (rc) return rc;
    }
    return 0;
}

int monitor_promoted(struct catalog *c, const char *model, int64_t *ret_ms, struct err *err) {
    struct arena mem;
    struct route_list l = {0};
    *ret_ms = 0;
    arena_init(&mem, PAGE_MEM);
    int rc = routes_list(c, &mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++)
        if (strcmp(l.list[i].target, model) == 0)
            rc = promoted_by(c, l.list[i].name, model, ret_ms, err);
    arena_release(&mem);
    return rc;
}

/* --- rows as streams --- */

static const struct {
    const char *name;
    enum monitor_stream_kind kind;
} streams[MONITOR_STREAMS] = {
    {"language", STREAM_SHARES},       {"topic", STREAM_SHARES},
    {"finish reason", STREAM_SHARES},  {"prompt tokens", STREAM_NUMBERS},
    {"answer tokens", STREAM_NUMBERS}, {"ms to first token", STREAM_NUMBERS},
    {"ms in total", STREAM_NUMBERS},   {"refusals", STREAM_RATE},
    {"format errors", STREAM_RATE},    {"failures", STREAM_RATE},
    {"bad feedback", STREAM_RATE}};
enum { SHARES = 3, NUMBERS = 4, RATES = 4 };

static const char *const finishes[] = {"stop", "length", "tool_calls", "function_call"};
enum { FINISHES = sizeof finishes / sizeof *finishes };

struct numbers {
    double *list;
    int64_t count;
};
struct sample {
    int64_t share[SHARES][DRIFT_CATEGORIES_MAX];
    struct numbers number[NUMBERS];
    struct drift_rate rate[RATES];
    int64_t rows, from_ms, to_ms;
};
static const int categories[SHARES] = {LANGUAGES, DRIFT_TOPICS, FINISHES + 1};

static void sample_init(struct sample *s, int64_t rows) {
    *s = (struct sample){0};
    for (int i = 0; i < NUMBERS; i++) s->number[i].list = mem_zalloc((size_t)rows, sizeof(double));
}
static void sample_release(struct sample *s) {
    for (int i = 0; i < NUMBERS; i++) mem_free(s->number[i].list);
}

static void add_number(struct numbers *n, double x) { n->list[n->count++] = x; }
static void add_rate(struct drift_rate *r, bool hit) {
    r->hits += hit;
    r->count++;
}
static int64_t category(int64_t v, int n) { return v >= 0 && v < n ? v : 0; }

static void sample_add(struct sample *s, const struct logged_request *r) {
    int f = 0;
    if (!s->rows++) s->from_ms = r->at_ms;
    s->to_ms = r->at_ms;
    s->share[0][category(r->language, LANGUAGES)]++;
    s->share[1][category(r->topic, DRIFT_TOPICS)]++;
    add_number(&s->number[0], (double)r->prompt_tokens);
    add_rate(&s->rate[2], request_failed(r));
    if (r->status != 200) return; /* what did not end says nothing of answers */
    while (f < FINISHES && strcmp(r->finish, finishes[f]) != 0) f++;
    s->share[2][f]++;
    add_number(&s->number[1], (double)r->completion_tokens);
    if (r->first_ms > 0) add_number(&s->number[2], r->first_ms);
    add_number(&s->number[3], r->total_ms);
    add_rate(&s->rate[0], r->refusal == 1);
    if (r->format >= 0) add_rate(&s->rate[1], r->format == 1);
    if (r->has_score) add_rate(&s->rate[3], r->score < 0);
}

/* --- texts --- */

struct texts {
    struct novelty *known;
    struct monitor_drift *drift;
    struct arena *mem;
    bool learn;
};

static void keep_novel(const struct texts *t, const struct logged_request *r, double bits) {
    struct monitor_novel *list = t->drift->novel;
    int n = t->drift->novel_count, i = n < MONITOR_NOVEL ? n : MONITOR_NOVEL - 1;
    if (n == MONITOR_NOVEL && bits <= list[i].bits) return;
    size_t length = strlen(r->prompt);
    if (length > TEXT_SHOWN) length = TEXT_SHOWN;
    while (length && ((unsigned char)r->prompt[length] & 0xC0) == 0x80) length--;
    for (int k = 0; k < n; k++) /* the same again says nothing more */
        if (list[k].text && str_eq(str_of(list[k].text), (struct str){r->prompt, length})) return;
    for (; i > 0 && list[i - 1].bits < bits; i--) list[i] = list[i - 1];
    list[i] = (struct monitor_novel){bits, r->at_ms, arena_strndup(t->mem, r->prompt, length)};
    if (n < MONITOR_NOVEL) t->drift->novel_count++;
}

static void look_at_text(const struct texts *t, const struct logged_request *r) {
    if (!r->prompt) return;
    if (t->learn) {
        novelty_learn(t->known, str_of(r->prompt));
        return;
    }
    double bits = novelty_of(t->known, str_of(r->prompt));
    if (bits > 0) keep_novel(t, r, bits);
}

/* --- reading --- */

/* texts NULL: not looked at */
static int read_sample(struct catalog *c, struct request_range range, struct sample *s,
                       const struct texts *texts, struct err *err) {
    int64_t left = range.limit;
    while (left > 0) {
        struct arena mem;
        struct request_rows rows;
        arena_init(&mem, PAGE_MEM);
        range.limit = left < PAGE ? left : PAGE;
        int rc = requests_list(c, &range, &mem, &rows, err);
        for (size_t i = 0; !rc && i < rows.count; i++) {
            sample_add(s, &rows.list[i]);
            if (texts) look_at_text(texts, &rows.list[i]);
        }
        left = rc || rows.count < (size_t)range.limit ? 0 : left - (int64_t)rows.count;
        range.skip += range.limit;
        arena_release(&mem);
        if (rc) return rc;
    }
    return 0;
}

/* --- testing --- */

static struct drift_result test_stream(struct sample *a, struct sample *b, int i) {
    if (i < SHARES) return drift_shares(a->share[i], b->share[i], categories[i], 1);
    if (i < SHARES + NUMBERS) {
        struct numbers *x = &a->number[i - SHARES], *y = &b->number[i - SHARES];
        return drift_numbers(x->list, x->count, y->list, y->count);
    }
    return drift_rates(a->rate[i - SHARES - NUMBERS], b->rate[i - SHARES - NUMBERS]);
}

/* after the tests, which sort */
static double value_of(const struct sample *s, int i) {
    if (i < SHARES) {
        int64_t all = 0, largest = 0;
        for (int k = 0; k < categories[i]; k++) {
            all += s->share[i][k];
            if (s->share[i][k] > largest) largest = s->share[i][k];
        }
        return all ? (double)largest / (double)all : NAN;
    }
    if (i < SHARES + NUMBERS) {
        const struct numbers *n = &s->number[i - SHARES];
        return n->count ? n->list[n->count / 2] : NAN;
    }
    const struct drift_rate *r = &s->rate[i - SHARES - NUMBERS];
    return r->count ? (double)r->hits / (double)r->count : NAN;
}

static void test_all(struct sample *base, struct sample *before, struct sample *last,
                     struct monitor_drift *ret) {
    for (int i = 0; i < MONITOR_STREAMS; i++) {
        struct monitor_stream *s = &ret->stream[i];
        *s = (struct monitor_stream){.name = streams[i].name, .kind = streams[i].kind};
        s->before = test_stream(base, before, i);
        s->last = test_stream(base, last, i);
        s->value[0] = value_of(base, i);
        s->value[1] = value_of(before, i);
        s->value[2] = value_of(last, i);
        s->alarm = s->before.p <= ret->level && s->last.p <= ret->level;
        ret->alarms += s->alarm;
    }
    ret->last_from_ms = last->from_ms;
    ret->last_to_ms = last->to_ms;
    ret->tested = true;
}

/* --- all of it --- */

/* The last two complete windows behind `base`, whose range is given. */
static int windows(struct catalog *c, const struct monitor_options *o, struct request_range base,
                   struct sample *baseline, const struct texts *texts, struct monitor_drift *ret,
                   struct err *err) {
    struct sample before, last;
    struct request_range r = {.model = o->model, .from_ms = base.from_ms, .limit = o->window};
    int64_t first = 0;
    int rc = requests_count(c, &r, &ret->rows, err);
    first = baseline->rows;
    ret->rows -= first;
    ret->windows = ret->rows / o->window;
    if (rc || baseline->rows < o->window || ret->windows < 2) return rc;
    sample_init(&before, o->window);
    sample_init(&last, o->window);
    r.skip = first + (ret->windows - 2) * o->window;
    rc = read_sample(c, r, &before, NULL, err);
    r.skip += o->window;
    if (!rc) rc = read_sample(c, r, &last, texts, err);
    /* rows may have been dropped meanwhile: then the next look tells */
    if (!rc && last.rows == o->window) test_all(baseline, &before, &last, ret);
    sample_release(&before);
    sample_release(&last);
    return rc;
}

int monitor_drift(struct catalog *c, const struct monitor_options *options, struct arena *mem,
                  struct monitor_drift *ret, struct err *err) {
    struct monitor_options o = *options;
    struct sample baseline;
    *ret = (struct monitor_drift){0};
    if (!o.window) o.window = MONITOR_WINDOW;
    if (o.alpha == 0) o.alpha = MONITOR_ALPHA;
    if (o.window < 50 || o.window > MONITOR_WINDOW_MAX)
        return err_set(err, ERR_INVALID, "a window has 50 to %d rows, not %lld", MONITOR_WINDOW_MAX,
                       (long long)o.window);
    if (!(o.alpha >= 0.002 && o.alpha <= 0.5))
        return err_set(err, ERR_INVALID, "the rate of false alarms is 0.002 to 0.5, not %g",
                       o.alpha);
    ret->level = o.alpha / MONITOR_STREAMS;
    struct request_range r = {.model = o.model, .from_ms = o.from_ms, .to_ms = o.to_ms};
    r.limit = o.to_ms ? MONITOR_WINDOW_MAX : o.window;
    int rc = o.from_ms || o.to_ms ? 0 : monitor_promoted(c, o.model, &r.from_ms, err);
    if (rc) return rc;
    struct texts texts = {.known = novelty_new(), .drift = ret, .mem = mem, .learn = true};
    sample_init(&baseline, r.limit);
    rc = read_sample(c, r, &baseline, &texts, err);
    ret->baseline_rows = baseline.rows;
    ret->from_ms = baseline.from_ms;
    ret->to_ms = baseline.to_ms;
    texts.learn = false;
    if (!rc) rc = windows(c, &o, r, &baseline, &texts, ret, err);
    sample_release(&baseline);
    novelty_free(texts.known);
    return rc;
}
