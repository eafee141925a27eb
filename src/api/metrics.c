#include "api/metrics.h"

#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct sample {
    char *labels;
    double value; /* of a histogram: the sum */
    uint64_t count;
    uint64_t *buckets;
};

struct metric {
    struct metric *next;
    struct metrics *all;
    enum kind kind;
    const char *name, *help;
    const double *bounds;
    int bound_count;
    struct sample *samples;
    size_t count, cap;
};

struct metrics {
    pthread_mutex_t lock;
    struct metric *first, **last;
};

struct metrics *metrics_new(void) {
    struct metrics *all = mem_zalloc(1, sizeof *all);
    pthread_mutex_init(&all->lock, NULL);
    all->last = &all->first;
    return all;
}

void metrics_free(struct metrics *all) {
    if (!all) return;
    for (struct metric *m = all->first, *next; m; m = next) {
        next = m->next;
        for (size_t i = 0; i < m->count; i++) {
            mem_free(m->samples[i].labels);
            mem_free(m->samples[i].buckets);
        }
        mem_free(m->samples);
        mem_free(m);
    }
    pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

static struct metric *family(struct metrics *all, enum kind kind, const char *name,
                             const char *help) {
    struct metric *m = mem_zalloc(1, sizeof *m);
    *m = (struct metric){.all = all, .kind = kind, .name = name, .help = help};
    pthread_mutex_lock(&all->lock);
    *all->last = m;
    all->last = &m->next;
    pthread_mutex_unlock(&all->lock);
    return m;
}

struct metric *metric_counter(struct metrics *all, const char *name, const char *help) {
    return family(all, COUNTER, name, help);
}

struct metric *metric_gauge(struct metrics *all, const char *name, const char *help) {
    return family(all, GAUGE, name, help);
}

struct metric *metric_histogram(struct metrics *all, const char *name, const char *help,
                                const double *bounds, int count) {
    struct metric *m = family(all, HISTOGRAM, name, help);
    m->bounds = bounds;
    m->bound_count = count;
    return m;
}

static struct sample *sample_of(struct metric *m, const char *labels) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->samples[i].labels, labels) == 0) return &m->samples[i];
    if (m->count >= METRIC_SAMPLES_MAX && strcmp(labels, "overflow=\"1\"") != 0)
        return sample_of(m, "overflow=\"1\"");
    mem_grow((void **)&m->samples, &m->cap, m->count + 1, sizeof *m->samples);
    struct sample *s = &m->samples[m->count++];
    *s = (struct sample){.labels = mem_strdup(labels)};
    if (m->kind == HISTOGRAM)
        s->buckets = mem_zalloc((size_t)m->bound_count + 1, sizeof *s->buckets);
    return s;
}

void metric_add(struct metric *m, const char *labels, double x) {
    pthread_mutex_lock(&m->all->lock);
    sample_of(m, labels)->value += x;
    pthread_mutex_unlock(&m->all->lock);
}

void metric_set(struct metric *m, const char *labels, double x) {
    pthread_mutex_lock(&m->all->lock);
    sample_of(m, labels)->value = x;
    pthread_mutex_unlock(&m->all->lock);
}

void metric_observe(struct metric *m, const char *labels, double x) {
    int b = 0;
    while (b < m->bound_count && !(x <= m->bounds[b])) b++;
    pthread_mutex_lock(&m->all->lock);
    struct sample *s = sample_of(m, labels);
    s->value += x;
    s->count++;
    s->buckets[b]++;
    pthread_mutex_unlock(&m->all->lock);
}

void metric_label(struct buf *labels, const char *name, struct str value) {
    buf_printf(labels, "%s%s=\"", labels->n ? "," : "", name);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"') buf_byte(labels, '\\');
        if (c == '\n')
            buf_z(labels, "\\n");
        else
            buf_byte(labels, c);
    }
    buf_byte(labels, '"');
}

static void number(struct buf *out, double x) {
    if (x == floor(x) && fabs(x) < 1e15)
        buf_printf(out, "%.0f", x);
    else
        buf_printf(out, "%.9g", x);
}

static void line(struct buf *out, const char *name, const char *suffix, const char *labels,
                 const char *le, double value) {
    bool both = labels[0] && le;
    buf_printf(out, "%s%s", name, suffix);
    if (labels[0] || le)
        buf_printf(out, "{%s%s%s%s%s}", labels, both ? "," : "", le ? "le=\"" : "", le ? le : "",
                   le ? "\"" : "");
    buf_byte(out, ' ');
    number(out, value);
    buf_byte(out, '\n');
}

static void write_histogram(const struct metric *m, const struct sample *s, struct buf *out) {
    uint64_t below = 0;
    for (int b = 0; b <= m->bound_count; b++) {
        char le[32] = "+Inf";
        below += s->buckets[b];
        if (b < m->bound_count) snprintf(le, sizeof le, "%g", m->bounds[b]);
        line(out, m->name, "_bucket", s->labels, le, (double)below);
    }
    line(out, m->name, "_sum", s->labels, NULL, s->value);
    line(out, m->name, "_count", s->labels, NULL, (double)s->count);
}

void metrics_write(struct metrics *all, struct buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&all->lock);
    for (const struct metric *m = all->first; m; m = m->next) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        for (size_t i = 0; i < m->count; i++) {
            if (m->kind == HISTOGRAM)
                write_histogram(m, &m->samples[i], out);
            else
                line(out, m->name, "", m->samples[i].labels, NULL, m->samples[i].value);
        }
    }
    pthread_mutex_unlock(&all->lock);
}
