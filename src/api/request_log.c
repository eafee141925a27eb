#include "api/request_log.h"

#include "api/metrics.h"
#include "base/clock.h"
#include "base/mem.h"
#include "data/language.h"
#include "data/pii.h"
#include "data/refusal.h"
#include "eval/monitor.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RING 2048
#define ROWS_MAX 1000000
#define DAYS 90
#define DAY_MS ((int64_t)24 * 3600 * 1000)
#define GATHER_MS 500
#define LOOK_MS 60000
#define MEM_MAX ((size_t)64 << 20)

struct queued {
    struct logged_request row; /* strings behind it, in the same block */
    struct str prompt, answer;
};

struct request_log {
    struct request_log_options o;
    struct language_words *words;
    struct pii_options pii;
    struct metric *written, *dropped_metric, *failed, *alarms;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake, done;
    struct queued **ring; /* (o.ring) */
    int64_t count;        /* in the ring, from the front */
    int64_t added, finished, dropped;
    bool hurry, stopping;
};

/* --- adding --- */

static const char *put(char **at, struct str s) {
    char *z = *at;
    if (s.n) memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    *at += s.n + 1;
    return z;
}

/* at a character's end */
static struct str cut(struct str s) {
    if (s.n <= REQUEST_TEXT_MAX) return s;
    s.n = REQUEST_TEXT_MAX;
    while (s.n && ((unsigned char)s.p[s.n] & 0xC0) == 0x80) s.n--;
    return s;
}

static struct str text_of(const char *z) { return z ? str_of(z) : (struct str){0}; }

static struct queued *queued_new(const struct request_entry *e) {
    struct str model = text_of(e->model), key = text_of(e->key), id = text_of(e->completion);
    struct str finish = text_of(e->finish), prompt = cut(e->prompt), answer = cut(e->answer);
    struct queued *q = mem_alloc(sizeof *q + model.n + e->alias.n + key.n + id.n + finish.n +
                                 prompt.n + answer.n + 7);
    char *at = (char *)(q + 1);
    *q = (struct queued){.row = {.at_ms = clock_unix_ms(),
                                 .status = e->status,
                                 .prompt_tokens = e->prompt_tokens,
                                 .completion_tokens = e->completion_tokens,
                                 .cached_tokens = e->cached_tokens,
                                 .first_ms = e->first_ms,
                                 .total_ms = e->total_ms,
                                 .format = e->format}};
    q->row.model = put(&at, model);
    q->row.alias = put(&at, e->alias);
    q->row.key = put(&at, key);
    q->row.completion = put(&at, id);
    if (!id.n) q->row.completion = NULL;
    q->row.finish = put(&at, finish);
    q->prompt = (struct str){put(&at, prompt), prompt.n};
    q->answer = (struct str){put(&at, answer), answer.n};
    return q;
}

void request_log_add(struct request_log *l, const struct request_entry *e) {
    if (!l) return;
    struct queued *q = queued_new(e);
    pthread_mutex_lock(&l->lock);
    bool fits = l->count < l->o.ring;
    if (fits) l->ring[l->count++] = q;
    l->added += fits;
    l->dropped += !fits;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (fits) return;
    mem_free(q);
    if (l->dropped_metric) metric_add(l->dropped_metric, "", 1);
}

/* --- writing --- */

/* A text without what is known as personal; in mem. NULL where it cannot be kept. */
static const char *masked(const struct request_log *l, struct str text, struct arena *mem) {
    size_t n = pii_scan(text, &l->pii, NULL, 0);
    struct pii_hit *hits = mem_zalloc(n ? n : 1, sizeof *hits);
    struct buf b;
    buf_init(&b, 8 * REQUEST_TEXT_MAX);
    pii_scan(text, &l->pii, hits, n);
    pii_replace(text, hits, n, PII_MASK, (struct str){0}, &b);
    const char *z = buf_ok(&b) ? arena_strndup(mem, b.p ? b.p : "", b.n) : NULL;
    buf_release(&b);
    mem_free(hits);
    return z;
}

static void describe(const struct request_log *l, struct queued *q, struct arena *mem) {
    struct logged_request *r = &q->row;
    r->language = language_of(l->words, q->prompt);
    r->topic = drift_topic(q->prompt);
    r->refusal = q->answer.n && refusal_find(q->answer) != NULL;
    if (!l->o.content) return;
    r->prompt = masked(l, q->prompt, mem);
    r->answer = masked(l, q->answer, mem);
}

static void say(const struct request_log *l, const char *text) {
    if (l->o.log) l->o.log(l->o.ctx, text);
}

static void write_batch(struct request_log *l, struct queued **list, int64_t n) {
    struct logged_request *rows = mem_zalloc(n ? (size_t)n : 1, sizeof *rows);
    struct arena mem;
    struct err err;
    arena_init(&mem, MEM_MAX);
    for (int64_t i = 0; i < n; i++) {
        describe(l, list[i], &mem);
        rows[i] = list[i]->row;
    }
    struct request_limits keep = {l->o.rows_max, clock_unix_ms() - l->o.days * DAY_MS};
    int rc = requests_add(l->o.catalog, rows, (size_t)n, &keep, &err);
    if (rc) {
        char text[300];
        snprintf(text, sizeof text, "%lld requests could not be logged: %.200s", (long long)n,
                 err.msg);
        say(l, text);
    }
    if (l->written) metric_add(rc ? l->failed : l->written, "", (double)n);
    for (int64_t i = 0; i < n; i++) mem_free(list[i]);
    arena_release(&mem);
    mem_free(rows);
}

/* --- drift --- */

static int look_at_model(struct request_log *l, const char *model, struct arena *mem,
                         int64_t *ret_new, struct err *err) {
    struct drift_alarm list[MONITOR_STREAMS];
    struct monitor_drift d;
    size_t count = 0;
    int64_t new = 0;
    int rc = monitor_drift(l->o.catalog, &(struct monitor_options){.model = model}, mem, &d, err);
    if (rc || !d.tested) return rc;
    for (int i = 0; i < MONITOR_STREAMS; i++) {
        const struct monitor_stream *s = &d.stream[i];
        if (s->alarm)
            list[count++] = (struct drift_alarm){
                .model = model, .stream = s->name, .p = s->last.p, .psi = s->last.psi};
    }
    rc = alarms_set(l->o.catalog, model, list, count, &new, err);
    if (rc) return rc;
    *ret_new += new;
    for (size_t i = 0; new &&i < count; i++) {
        char text[300];
        snprintf(text, sizeof text, "drift: %.100s: %s, p = %.2g, PSI %.3f; see \"attune monitor\"",
                 model, list[i].stream, list[i].p, list[i].psi);
        say(l, text);
    }
    if (l->alarms) {
        struct buf label;
        buf_init(&label, 1000);
        metric_label(&label, "model", str_of(model));
        if (buf_ok(&label)) metric_set(l->alarms, label.p, (double)count);
        buf_release(&label);
    }
    return 0;
}

int request_log_look(struct request_log *l, int64_t *ret_new, struct err *err) {
    struct usage_list used;
    struct arena mem;
    *ret_new = 0;
    arena_init(&mem, MEM_MAX);
    int rc = requests_usage(l->o.catalog, NULL, 0, &mem, &used, err);
    for (size_t i = 0; !rc && i < used.count; i++)
        if (i == 0 || strcmp(used.list[i].model, used.list[i - 1].model) != 0)
            rc = look_at_model(l, used.list[i].model, &mem, ret_new, err);
    arena_release(&mem);
    return rc;
}

static void look(struct request_log *l) {
    struct err err;
    int64_t new;
    if (request_log_look(l, &new, &err)) say(l, err.msg);
}

/* --- the thread --- */

static void wait_ms(struct request_log *l, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&l->wake, &l->lock, &until);
}

/* Until a batch has gathered: half the ring, or half a second since something came. */
static void gather(struct request_log *l) {
    while (!l->count && !l->stopping) pthread_cond_wait(&l->wake, &l->lock);
    int64_t end = clock_ns() / 1000000 + GATHER_MS, now;
    while (!l->stopping && !l->hurry && l->count < (l->o.ring + 1) / 2 &&
           (now = clock_ns() / 1000000) < end)
        wait_ms(l, end - now);
}

static void *run(void *arg) {
    struct request_log *l = arg;
    struct queued **batch = mem_zalloc((size_t)l->o.ring, sizeof(struct queued *));
    int64_t looked = clock_ns() / 1000000;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping || l->count) {
        gather(l);
        int64_t n = l->count;
        memcpy(batch, l->ring, (size_t)n * sizeof *batch);
        l->count = 0;
        pthread_mutex_unlock(&l->lock);
        if (n) write_batch(l, batch, n);
        if (clock_ns() / 1000000 - looked >= LOOK_MS) {
            look(l);
            looked = clock_ns() / 1000000;
        }
        pthread_mutex_lock(&l->lock);
        l->finished += n;
        pthread_cond_broadcast(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    mem_free(batch);
    return NULL;
}

int64_t request_log_flush(struct request_log *l) {
    pthread_mutex_lock(&l->lock);
    int64_t target = l->added;
    while (l->finished < target) {
        l->hurry = true;
        pthread_cond_signal(&l->wake);
        pthread_cond_wait(&l->done, &l->lock);
    }
    l->hurry = false;
    int64_t dropped = l->dropped;
    pthread_mutex_unlock(&l->lock);
    return dropped;
}

/* --- life --- */

static void log_free(struct request_log *l) {
    pthread_cond_destroy(&l->done);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    language_words_free(l->words);
    mem_free(l->ring);
    mem_free(l);
}

static void declare_metrics(struct request_log *l) {
    struct metrics *all = l->o.metrics;
    if (!all) return;
    l->written =
        metric_counter(all, "attune_request_log_written_total", "rows of the request log written");
    l->failed = metric_counter(all, "attune_request_log_failed_total",
                               "rows that the catalog did not take");
    l->dropped_metric = metric_counter(all, "attune_request_log_dropped_total",
                                       "requests that did not fit into the log's ring");
    l->alarms = metric_gauge(all, "attune_drift_alarms", "streams with a standing alarm of drift");
    metric_add(l->dropped_metric, "", 0);
}

int request_log_start(const struct request_log_options *o, struct request_log **ret,
                      struct err *err) {
    struct request_log *l = mem_zalloc(1, sizeof *l);
    l->o = *o;
    if (!l->o.ring) l->o.ring = RING;
    if (!l->o.rows_max) l->o.rows_max = ROWS_MAX;
    if (!l->o.days) l->o.days = DAYS;
    l->ring = mem_zalloc((size_t)l->o.ring, sizeof(struct queued *));
    l->words = language_words_new();
    pii_defaults(&l->pii);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    pthread_cond_init(&l->done, NULL);
    declare_metrics(l);
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        log_free(l);
        return err_set(err, ERR_INTERNAL, "no thread for the request log");
    }
    *ret = l;
    return 0;
}

void request_log_stop(struct request_log *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    log_free(l);
}
