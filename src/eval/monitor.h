/* Drift of a model's traffic from the request log: a baseline of rows, the rows behind it in
 * windows of fixed size, and for each stream of numbers a test of the last two complete windows. A
 * stream alarms when both are unlikely (alpha over the number of streams): windows do not slide, so
 * looking more often raises no more alarms. Any thread. */
#ifndef EVAL_MONITOR_H
#define EVAL_MONITOR_H

#include "eval/drift.h"
#include "store/requests.h"

#define MONITOR_WINDOW 500 /* rows; fewer say little */
#define MONITOR_WINDOW_MAX 20000
#define MONITOR_ALPHA 0.01 /* of a false alarm in a window, over all streams */
#define MONITOR_NOVEL 10

struct monitor_options {
    const char *model;      /* its own name */
    int64_t from_ms, to_ms; /* rows of the baseline; 0, 0: a window from the last promotion on, or
                               from the oldest row that is kept */
    int64_t window;         /* 0: MONITOR_WINDOW */
    double alpha;           /* 0: MONITOR_ALPHA */
};

enum monitor_stream_kind { STREAM_SHARES, STREAM_NUMBERS, STREAM_RATE };
#define MONITOR_STREAMS 11
struct monitor_stream {
    const char *name; /* "prompt tokens"; static */
    enum monitor_stream_kind kind;
    double value[3]; /* baseline, window before, last window: median, rate, or the largest share;
                        NAN: none */
    struct drift_result before, last; /* against the baseline */
    bool alarm;
};

struct monitor_novel {
    double bits; /* a word, novelty_of */
    int64_t at_ms;
    const char *text; /* its beginning */
};

struct monitor_drift {
    int64_t baseline_rows, from_ms, to_ms; /* of the baseline's first and last row */
    int64_t rows, windows;                 /* behind the baseline; complete windows of them */
    int64_t last_from_ms, last_to_ms;      /* of the last window */
    double level;                          /* p at most this in both windows is an alarm */
    bool tested;                           /* there are a baseline and two windows */
    struct monitor_stream stream[MONITOR_STREAMS];
    int64_t alarms;
    struct monitor_novel novel[MONITOR_NOVEL]; /* of the last window, where texts are kept */
    int novel_count;
};
/* ERR_INVALID for a window or alpha out of range. Texts lie in mem. */
int monitor_drift(struct catalog *c, const struct monitor_options *o, struct arena *mem,
                  struct monitor_drift *ret, struct err *err);
/* When an alias was last led to the model, Unix milliseconds; 0: never, or it does not any more. */
int monitor_promoted(struct catalog *c, const char *model, int64_t *ret_ms, struct err *err);

#endif
