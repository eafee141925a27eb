#include "jobs/canary.h"

#include "base/mem.h"
#include "registry/router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BIN_FIRST 1e-4 /* seconds; the bins reach to 278 s */
#define BIN_GROWTH 1.06
#define COUNT_MAX ((int64_t)1 << 53) /* of what is read: more is no count */
#define P95_MIN 59                   /* below, the largest is no upper bound of the 95th at 95 % */

const char *const canary_stream_names[CANARY_STREAMS] = {"errors", "format", "empty", "feedback"};

/* --- plans --- */

static int check_steps(const struct canary_plan *p, struct err *err) {
    bool ok = p->step_count > 0 && p->steps[0] < 1;
    for (int i = 0; i < p->step_count; i++)
        ok = ok && p->steps[i] > (i ? p->steps[i - 1] : 0) && p->steps[i] <= 1;
    return ok ? 0
              : err_set(err, ERR_INVALID,
                        "steps are percentages that rise, up to 100 and beginning below it, like "
                        "1,5,25,50,100");
}

int canary_steps_read(const char *text, struct canary_plan *p, struct err *err) {
    const char *at = text;
    p->step_count = 0;
    while (p->step_count < CANARY_STEPS_MAX) {
        char *end;
        p->steps[p->step_count++] = strtod(at, &end) / 100;
        if (end == at || (*end && *end != ',')) break;
        if (!*end) return check_steps(p, err);
        at = end + 1;
    }
    p->step_count = 0;
    return check_steps(p, err);
}

json_t *canary_plan_write(const struct canary_plan *p) {
    json_t *steps = json_array();
    for (int i = 0; i < p->step_count; i++) json_array_append_new(steps, json_real(p->steps[i]));
    return json_pack("{s:o, s:I, s:f, s:I}", "steps", steps, "min_requests",
                     (json_int_t)p->min_requests, "alpha", p->alpha, "hold_at",
                     (json_int_t)p->hold_at);
}

int canary_plan_read(const char *json, struct canary_plan *ret, struct err *err) {
    static const char where[] = "the canary's plan";
    json_t *o = NULL;
    size_t i;
    const json_t *step;
    *ret = (struct canary_plan){.min_requests = 1, .alpha = 0.01};
    int rc = json_read(str_of(json), where, &o, err);
    json_array_foreach(json_object_get(o, "steps"), i, step) {
        if (i < CANARY_STEPS_MAX) ret->steps[ret->step_count++] = json_number_value(step);
    }
    if (!rc) rc = check_steps(ret, err);
    if (!rc) rc = json_get_i64(o, "min_requests", where, 1, INT64_MAX, &ret->min_requests, err);
    if (!rc) rc = json_get_double(o, "alpha", where, &ret->alpha, err);
    if (!rc) rc = json_get_i64(o, "hold_at", where, 0, INT64_MAX, &ret->hold_at, err);
    if (!rc && !(ret->alpha > 0 && ret->alpha < 1))
        rc = err_set(err, ERR_INVALID, "alpha lies between 0 and 1");
    json_decref(o);
    return rc;
}

/* --- units --- */

/* Open addressing over units; `seen` has 8 bits for each stream: the step (from 1 on) at which it
 * counted last, 0: never. */
struct canary_seen {
    struct canary_unit *slots; /* (cap); seen 0 and not changed: free */
    bool *changed;
    size_t cap, count;
    size_t *dirty; /* slots with changed set */
    size_t dirty_count, dirty_cap;
};

static size_t slot_of(const struct canary_seen *t, uint64_t unit) {
    size_t i = (size_t)(unit * 0x9e3779b97f4a7c15u >> 20) & (t->cap - 1);
    while (t->slots[i].seen && t->slots[i].unit != unit) i = (i + 1) & (t->cap - 1);
    return i;
}

static void seen_grow(struct canary_seen *t) {
    struct canary_seen old = *t;
    t->cap = old.cap ? 2 * old.cap : 1024;
    t->slots = mem_zalloc(t->cap, sizeof *t->slots);
    t->changed = mem_zalloc(t->cap, sizeof *t->changed);
    t->dirty_count = 0;
    for (size_t i = 0; i < old.cap; i++) {
        if (!old.slots[i].seen) continue;
        size_t k = slot_of(t, old.slots[i].unit);
        t->slots[k] = old.slots[i];
        t->changed[k] = old.changed[i];
        if (t->changed[k]) t->dirty[t->dirty_count++] = k;
    }
    mem_free(old.slots);
    mem_free(old.changed);
}

/* NULL: it is full */
static struct canary_unit *seen_slot(struct canary_seen *t, uint64_t unit) {
    if (2 * (t->count + 1) > t->cap) seen_grow(t);
    size_t i = slot_of(t, unit);
    if (!t->slots[i].seen && t->count == CANARY_UNITS_MAX) return NULL;
    return &t->slots[i];
}

static void seen_set(struct canary_seen *t, struct canary_unit *slot, uint64_t unit, uint32_t seen,
                     bool changed) {
    size_t i = (size_t)(slot - t->slots);
    if (!slot->seen) t->count++;
    *slot = (struct canary_unit){unit, seen};
    if (!changed || t->changed[i]) return;
    t->changed[i] = true;
    mem_grow((void **)&t->dirty, &t->dirty_cap, t->dirty_count + 1, sizeof *t->dirty);
    t->dirty[t->dirty_count++] = i;
}

void canary_seen_put(struct canary *s, struct canary_unit u) {
    struct canary_unit *slot = u.seen ? seen_slot(s->seen, u.unit) : NULL;
    if (slot) seen_set(s->seen, slot, u.unit, u.seen, false);
}

size_t canary_seen_take(struct canary *s, struct canary_unit *to, size_t max) {
    struct canary_seen *t = s->seen;
    size_t n = 0;
    while (n < max && t->dirty_count) {
        size_t i = t->dirty[--t->dirty_count];
        t->changed[i] = false;
        to[n++] = t->slots[i];
    }
    return n;
}

void canary_seen_untake(struct canary *s, const struct canary_unit *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct canary_unit *slot = seen_slot(s->seen, list[i].unit);
        if (slot) seen_set(s->seen, slot, list[i].unit, slot->seen, true);
    }
}

/* --- observations --- */

void canary_init(struct canary *s, const struct canary_plan *p) {
    *s = (struct canary){.plan = *p, .seen = mem_zalloc(1, sizeof *s->seen)};
    for (int i = 0; i < CANARY_STREAMS; i++)
        sequential_init(&s->stream[i], p->alpha / CANARY_STREAMS);
}

void canary_release(struct canary *s) {
    if (s->seen) {
        mem_free(s->seen->slots);
        mem_free(s->seen->changed);
        mem_free(s->seen->dirty);
    }
    mem_free(s->seen);
    s->seen = NULL;
}

static int step_of(const struct canary *s, double share) {
    for (int i = 0; i < s->plan.step_count; i++)
        if (fabs(s->plan.steps[i] - share) < 1e-12) return i;
    return -1;
}

/* The probability that this observation's side was the canary given all before; 0: it was sure. */
static double drawn(const struct canary *s, const struct canary_event *e, int step, int before) {
    if (!e->sticks || before < 0) return e->share;
    if (before >= step) return 0;
    double was = s->plan.steps[before];
    return router_picks(e->unit, was) ? 0 : (e->share - was) / (1 - was);
}

static void test(struct canary *s, const struct canary_event *e, int step) {
    struct canary_unit *slot = e->sticks ? seen_slot(s->seen, e->unit) : NULL;
    if (e->sticks && !slot) return;
    uint32_t seen = slot ? slot->seen : 0;
    for (int i = 0; i < CANARY_STREAMS; i++) {
        int before = (int)(seen >> 8 * i & 0xff) - 1;
        if (e->bad[i] < 0) continue;
        double share = drawn(s, e, step, before);
        if (share > 0)
            sequential_add(&s->stream[i], &(struct sequential_event){.canary = e->canary,
                                                                     .bad = e->bad[i] > 0,
                                                                     .share = share});
        if (step > before) seen = (seen & ~(0xffu << 8 * i)) | (uint32_t)(step + 1) << 8 * i;
    }
    if (slot && seen != slot->seen) seen_set(s->seen, slot, e->unit, seen, true);
}

static int bin_of(double seconds) {
    double at = seconds > BIN_FIRST ? log(seconds / BIN_FIRST) / log(BIN_GROWTH) : 0;
    return at < CANARY_BINS - 1 ? (int)at : CANARY_BINS - 1;
}

void canary_add(struct canary *s, const struct canary_event *e) {
    int step = step_of(s, e->share);
    if (step < 0 || e->share >= 1) return; /* routed by a plan that is not this one */
    if (!e->late) s->requests[e->canary]++;
    if (!e->late && step == s->step) s->step_requests[e->canary]++;
    if (!e->late && e->seconds >= 0) s->latency[e->canary][bin_of(e->seconds)]++;
    test(s, e, step);
}

enum canary_verdict canary_judge(const struct canary *s, int64_t now,
                                 enum canary_stream *ret_stream) {
    for (int i = 0; i < CANARY_STREAMS; i++)
        if (sequential_alarm(&s->stream[i])) {
            *ret_stream = (enum canary_stream)i;
            return CANARY_ABORT;
        }
    if (s->step_requests[1] < s->plan.min_requests) return CANARY_GO_ON;
    if (s->plan.hold_at && now >= s->plan.hold_at) return CANARY_GO_ON;
    if (s->step + 1 >= s->plan.step_count) return CANARY_GO_ON; /* the last one: a person's turn */
    return s->plan.steps[s->step + 1] >= 1 ? CANARY_PROMOTE : CANARY_STEP;
}

void canary_advance(struct canary *s) {
    s->step++;
    s->step_requests[0] = s->step_requests[1] = 0;
}

/* --- latency --- */

static double bin_value(int bin, double part) { return BIN_FIRST * pow(BIN_GROWTH, bin + part); }

/* the bin of the rank-th, from 1 on */
static int bin_at(const int64_t *bins, double rank) {
    double sum = 0;
    int i = 0;
    while (i < CANARY_BINS - 1 && (sum += (double)bins[i]) < rank) i++;
    return i;
}

bool canary_p95(const struct canary *s, bool canary, double *ret, double ret_range[2]) {
    const int64_t *bins = s->latency[canary];
    double n = 0;
    for (int i = 0; i < CANARY_BINS; i++) n += (double)bins[i];
    if (n < P95_MIN) return false;
    double half = 1.959964 * sqrt(n * 0.95 * 0.05);
    *ret = bin_value(bin_at(bins, ceil(0.95 * n)), 0.5);
    ret_range[0] = bin_value(bin_at(bins, fmax(1, floor(0.95 * n - half))), 0);
    ret_range[1] = bin_value(bin_at(bins, fmin(n, ceil(0.95 * n + half) + 1)), 1);
    return true;
}

bool canary_is_slower(const struct canary *s) {
    double p95, base[2], here[2];
    return canary_p95(s, false, &p95, base) && canary_p95(s, true, &p95, here) && here[0] > base[1];
}

/* --- as JSON --- */

static json_t *pair(const int64_t v[2]) {
    return json_pack("[I, I]", (json_int_t)v[0], (json_int_t)v[1]);
}

static json_t *stream_write(const struct sequential *s) {
    json_t *bets = json_array();
    for (int i = 0; i < SEQUENTIAL_BETS; i++) json_array_append_new(bets, json_real(s->log_e[i]));
    return json_pack("{s:o, s:o, s:f, s:f, s:o}", "count", pair(s->count), "bad", pair(s->bad), "p",
                     sequential_p(s), "log_e_max", s->log_e_max, "log_e", bets);
}

json_t *canary_write(const struct canary *s) {
    json_t *streams = json_object(), *latency = json_array();
    for (int i = 0; i < CANARY_STREAMS; i++)
        json_object_set_new(streams, canary_stream_names[i], stream_write(&s->stream[i]));
    for (int side = 0; side < 2; side++) {
        json_t *list = json_array();
        for (int i = 0; i < CANARY_BINS; i++) {
            if (!s->latency[side][i]) continue;
            json_array_append_new(list, json_integer(i));
            json_array_append_new(list, json_integer(s->latency[side][i]));
        }
        json_array_append_new(latency, list);
    }
    return json_pack("{s:i, s:o, s:o, s:o, s:o}", "step", s->step, "requests", pair(s->requests),
                     "step_requests", pair(s->step_requests), "streams", streams, "latency",
                     latency);
}

static bool pair_read(const json_t *o, const char *key, int64_t to[2]) {
    const json_t *v = json_object_get(o, key);
    bool ok = json_array_size(v) == 2;
    for (size_t i = 0; ok && i < 2; i++) {
        to[i] = json_integer_value(json_array_get(v, i));
        ok = to[i] >= 0 && to[i] <= COUNT_MAX;
    }
    return ok;
}

static bool stream_read(const json_t *o, struct sequential *s) {
    const json_t *bets = json_object_get(o, "log_e");
    bool ok = json_array_size(bets) == SEQUENTIAL_BETS && pair_read(o, "count", s->count) &&
              pair_read(o, "bad", s->bad);
    for (size_t i = 0; ok && i < SEQUENTIAL_BETS; i++)
        s->log_e[i] = json_number_value(json_array_get(bets, i));
    s->log_e_max = json_number_value(json_object_get(o, "log_e_max"));
    return ok;
}

static bool bins_read(const json_t *list, int64_t to[CANARY_BINS]) {
    for (size_t i = 0; i + 1 < json_array_size(list); i += 2) {
        int64_t bin = json_integer_value(json_array_get(list, i));
        if (bin < 0 || bin >= CANARY_BINS) return false;
        to[bin] = json_integer_value(json_array_get(list, i + 1));
        if (to[bin] < 0 || to[bin] > COUNT_MAX / CANARY_BINS) return false;
    }
    return true;
}

static bool state_read(const json_t *o, struct canary *to) {
    const json_t *latency = json_object_get(o, "latency");
    int64_t step = json_integer_value(json_object_get(o, "step"));
    to->step = (int)(step < 0 || step >= to->plan.step_count ? 0 : step);
    bool ok = step == to->step && pair_read(o, "requests", to->requests) &&
              pair_read(o, "step_requests", to->step_requests);
    for (int i = 0; ok && i < CANARY_STREAMS; i++)
        ok = stream_read(json_object_get(json_object_get(o, "streams"), canary_stream_names[i]),
                         &to->stream[i]);
    for (size_t i = 0; ok && i < 2; i++) ok = bins_read(json_array_get(latency, i), to->latency[i]);
    return ok;
}

int canary_read(const char *json, struct canary *to, struct err *err) {
    json_t *o = NULL;
    int rc = json_read(str_of(json), "the canary's state", &o, err);
    if (!rc && !state_read(o, to))
        rc = err_set(err, ERR_CORRUPT, "the canary's state cannot be read; stop it and start anew");
    json_decref(o);
    return rc;
}
