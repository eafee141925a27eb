#include "jobs/canary_watch.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_SECONDS 1
#define UNITS_AT_ONCE 4096
#define MEM_MAX ((size_t)64 << 20)
#define TEXT_MAX ((size_t)1 << 20)

struct watched {
    struct watched *next;
    char id[ID_SIZE];
    char *alias, *candidate;
    struct canary state;
    bool changed, alarmed, held, slow;
};

struct canary_watch {
    struct catalog *c;
    struct canary_watch_options o;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the list and the waiting */
    pthread_cond_t wake;
    struct watched *list;
    char gone[ID_SIZE]; /* the last id that was asked for and does not run */
    bool stop, hurry;
};

static const struct audit_cause by_watch = {.actor = "canary"};

static void watched_free(struct watched *r) {
    if (!r) return;
    canary_release(&r->state);
    mem_free(r->alias);
    mem_free(r->candidate);
    mem_free(r);
}

static void say(const struct canary_watch *w, const char *text) {
    if (w->o.log) w->o.log(w->o.ctx, text);
}

/* --- taking in --- */

static int load(struct catalog *c, const char *id, struct watched **ret, struct err *err) {
    struct arena mem;
    struct canary_row row;
    struct canary_plan plan;
    struct canary_unit *units = NULL;
    size_t count = 0;
    struct watched *r = mem_zalloc(1, sizeof *r);
    arena_init(&mem, MEM_MAX);
    int rc = canaries_get(c, id, &mem, &row, err);
    if (!rc && strcmp(row.state, "running") != 0)
        rc = err_set(err, ERR_NOT_FOUND, "the canary was %s", row.state);
    if (!rc) rc = canary_plan_read(row.plan, &plan, err);
    if (!rc) canary_init(&r->state, &plan);
    if (!rc) rc = canary_read(row.reached, &r->state, err);
    if (!rc) rc = canaries_units(c, id, &mem, &units, &count, err);
    for (size_t i = 0; !rc && i < count; i++) canary_seen_put(&r->state, units[i]);
    if (!rc) {
        snprintf(r->id, sizeof r->id, "%s", id);
        r->alias = mem_strdup(row.alias);
        r->candidate = mem_strdup(row.candidate);
        *ret = r;
    } else {
        watched_free(r);
    }
    arena_release(&mem);
    return rc;
}

static struct watched *find(const struct canary_watch *w, const char *id) {
    struct watched *r = w->list;
    while (r && strcmp(r->id, id) != 0) r = r->next;
    return r;
}

/* Under the lock. */
static struct watched *find_or_load(struct canary_watch *w, const char *id) {
    struct err none;
    struct watched *r = find(w, id);
    if (r || strcmp(w->gone, id) == 0) return r;
    if (load(w->c, id, &r, &none)) {
        snprintf(w->gone, sizeof w->gone, "%s", id);
        return NULL;
    }
    r->next = w->list;
    w->list = r;
    return r;
}

void canary_watch_note(struct canary_watch *w, const char *run, const struct canary_event *e) {
    enum canary_stream which;
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    struct watched *r = find_or_load(w, run);
    if (r && !r->alarmed) {
        canary_add(&r->state, e);
        r->changed = true;
        r->alarmed = canary_judge(&r->state, 0, &which) == CANARY_ABORT;
        if (r->alarmed) {
            w->hurry = true;
            pthread_cond_signal(&w->wake);
        }
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- what follows --- */

static void drop(struct canary_watch *w, struct watched *r) {
    pthread_mutex_lock(&w->lock);
    struct watched **at = &w->list;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    snprintf(w->gone, sizeof w->gone, "%s", r->id);
    pthread_mutex_unlock(&w->lock);
    watched_free(r);
}

struct snapshot {
    struct canary_unit units[UNITS_AT_ONCE];
    struct canary_save save;
    struct buf text;
    enum canary_verdict verdict;
    enum canary_stream stream;
    struct sequential numbers;
    int64_t before[2]; /* requests of the step that ends */
    bool units_left;
};

/* All that is to be written, under the lock; the disk is touched without it. */
static bool take(struct canary_watch *w, struct watched *r, struct snapshot *s) {
    pthread_mutex_lock(&w->lock);
    s->verdict = canary_judge(&r->state, clock_unix(), &s->stream);
    bool due = r->changed || s->verdict != CANARY_GO_ON;
    memcpy(s->before, r->state.step_requests, sizeof s->before);
    if (s->verdict == CANARY_STEP) canary_advance(&r->state);
    if (due) {
        json_t *v = canary_write(&r->state);
        json_write(v, &s->text);
        json_decref(v);
        s->numbers = r->state.stream[s->stream];
        s->save = (struct canary_save){.id = r->id, .reached = s->text.p, .units = s->units};
        s->save.unit_count = canary_seen_take(&r->state, s->units, UNITS_AT_ONCE);
        s->units_left = s->save.unit_count == UNITS_AT_ONCE;
        if (s->verdict == CANARY_STEP) s->save.share = r->state.plan.steps[r->state.step];
        r->changed = s->units_left;
    }
    pthread_mutex_unlock(&w->lock);
    return due;
}

static void put_back(struct canary_watch *w, struct watched *r, const struct snapshot *s) {
    pthread_mutex_lock(&w->lock);
    r->changed = true; /* all of it is written again */
    canary_seen_untake(&r->state, s->units, s->save.unit_count);
    if (s->verdict == CANARY_STEP) {
        r->state.step--;
        for (int i = 0; i < 2; i++) r->state.step_requests[i] += s->before[i];
    }
    pthread_mutex_unlock(&w->lock);
}

static int abort_run(struct canary_watch *w, const struct watched *r, const struct snapshot *s,
                     struct err *err) {
    static const char *const more[CANARY_STREAMS] = {"errors", "answers of wrong format",
                                                     "empty or refused answers", "low feedback"};
    char why[240], text[600];
    const struct sequential *q = &s->numbers;
    snprintf(why, sizeof why,
             "more %s than the model that it was to replace: %lld of %lld against %lld of %lld, "
             "p = %.2g",
             more[s->stream], (long long)q->bad[1], (long long)q->count[1], (long long)q->bad[0],
             (long long)q->count[0], sequential_p(q));
    int rc = canaries_end(w->c, &s->save, "aborted",
                          &(struct audit_cause){.actor = "canary", .reason = why}, err);
    if (rc) return rc;
    snprintf(text, sizeof text, "canary of %.100s aborted: %.100s made %s", r->alias, r->candidate,
             why);
    say(w, text);
    return 0;
}

static int promote_run(struct canary_watch *w, const struct watched *r, const struct snapshot *s,
                       struct err *err) {
    char text[400];
    struct audit_cause cause = {
        .actor = "canary", .reason = "the canary passed all its steps", .evidence = r->id};
    int rc = canaries_end(w->c, &s->save, "promoted", &cause, err);
    if (rc) return rc;
    snprintf(text, sizeof text, "canary of %.100s promoted: it leads to %.100s now", r->alias,
             r->candidate);
    say(w, text);
    return 0;
}

static void say_step(struct canary_watch *w, struct watched *r, const struct snapshot *s) {
    char text[400];
    if (s->verdict == CANARY_STEP) {
        snprintf(text, sizeof text, "canary of %.100s: %.100s gets %g %% of the requests now",
                 r->alias, r->candidate, 100 * s->save.share);
        say(w, text);
    }
    pthread_mutex_lock(&w->lock);
    bool slow = !r->slow && canary_is_slower(&r->state);
    bool held = !r->held && r->state.plan.hold_at && clock_unix() >= r->state.plan.hold_at;
    r->slow = r->slow || slow;
    r->held = r->held || held;
    pthread_mutex_unlock(&w->lock);
    if (slow) {
        snprintf(text, sizeof text,
                 "warning: canary of %.100s: %.100s is slower at the 95th percentile", r->alias,
                 r->candidate);
        say(w, text);
    }
    if (held) {
        snprintf(text, sizeof text,
                 "canary of %.100s: its time is over; it stays at this share until it is promoted "
                 "or stopped",
                 r->alias);
        say(w, text);
    }
}

static int carry_out(struct canary_watch *w, struct watched *r, const struct snapshot *s,
                     struct err *err) {
    if (s->verdict == CANARY_ABORT) return abort_run(w, r, s, err);
    if (s->verdict == CANARY_PROMOTE) return promote_run(w, r, s, err);
    return canaries_save(w->c, &s->save, &by_watch, err);
}

/* One run, saved and judged. It goes off the list when it has ended, here or by someone else. */
static void work(struct canary_watch *w, struct watched *r, struct snapshot *s) {
    struct err err;
    int rc;
    do {
        *s = (struct snapshot){0};
        buf_init(&s->text, TEXT_MAX);
        if (!take(w, r, s)) return;
        rc = carry_out(w, r, s, &err);
        buf_release(&s->text);
    } while (!rc && s->units_left && s->verdict == CANARY_GO_ON);
    bool ending = s->verdict == CANARY_ABORT || s->verdict == CANARY_PROMOTE;
    bool gone = rc == ERR_CONFLICT || rc == ERR_NOT_FOUND;
    if (rc && (ending || !gone)) say(w, err.msg);
    if (gone || (!rc && ending))
        drop(w, r);
    else if (rc)
        put_back(w, r, s);
    else
        say_step(w, r, s);
}

/* those that were started and had no request yet, and those that were stopped */
static void look(struct canary_watch *w, struct snapshot *s) {
    struct arena mem;
    struct canary_list l = {0};
    struct err err;
    arena_init(&mem, MEM_MAX);
    int rc = canaries_running(w->c, &mem, &l, &err);
    if (rc) say(w, err.msg);
    pthread_mutex_lock(&w->lock);
    w->gone[0] = '\0';
    for (size_t i = 0; !rc && i < l.count; i++) find_or_load(w, l.list[i].id);
    struct watched *r = w->list;
    pthread_mutex_unlock(&w->lock);
    while (r) { /* only this thread takes any off the list */
        bool runs = rc != 0;
        struct watched *next = r->next;
        for (size_t i = 0; i < l.count; i++) runs = runs || strcmp(l.list[i].id, r->id) == 0;
        if (runs)
            work(w, r, s);
        else
            drop(w, r);
        r = next;
    }
    arena_release(&mem);
}

static void *watch(void *arg) {
    struct canary_watch *w = arg;
    struct snapshot *s = mem_zalloc(1, sizeof *s);
    bool stop = false;
    while (!stop) {
        struct timespec until;
        look(w, s);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_SECONDS;
        pthread_mutex_lock(&w->lock);
        if (!w->stop && !w->hurry) pthread_cond_timedwait(&w->wake, &w->lock, &until);
        w->hurry = false;
        stop = w->stop;
        pthread_mutex_unlock(&w->lock);
    }
    look(w, s); /* what came last */
    mem_free(s);
    return NULL;
}

/* --- life --- */

static void watch_free(struct canary_watch *w) {
    while (w->list) {
        struct watched *r = w->list;
        w->list = r->next;
        watched_free(r);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

int canary_watch_start(struct catalog *c, const struct canary_watch_options *o,
                       struct canary_watch **ret, struct err *err) {
    struct canary_watch *w = mem_zalloc(1, sizeof *w);
    w->c = c;
    w->o = *o;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (pthread_create(&w->thread, NULL, watch, w) != 0) {
        watch_free(w);
        return err_set(err, ERR_INTERNAL, "no thread for canaries");
    }
    *ret = w;
    return 0;
}

void canary_watch_stop(struct canary_watch *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    watch_free(w);
}
