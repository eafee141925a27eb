/* A canary: what is planned, what was seen, what follows (docs/canary.md). Pure but for its units'
 * memory; canary_watch.h is the one that runs them.
 *
 * Each stream of outcomes has an e-process (eval/sequential.h) at alpha / CANARY_STREAMS, so all of
 * them together abort a canary that is no worse with probability at most alpha, however often and
 * long they are looked at. What the test asks for is that each observation's side was drawn with a
 * known probability whatever came before. A request that sticks to no one is such a draw. A user or
 * key is one draw, not one for each request: its first observation at a step counts, with the
 * probability that it had given the side it was on before, (s' - s) / (1 - s) for a share raised
 * from s to s'. All others count as requests only. */
#ifndef JOBS_CANARY_H
#define JOBS_CANARY_H

#include "base/err.h"
#include "base/json.h"
#include "eval/sequential.h"
#include "store/splits.h"

#define CANARY_STEPS_MAX 16
#define CANARY_BINS 256          /* of latencies, 6 % wide */
#define CANARY_UNITS_MAX 1000000 /* more users than that are not tested, only served */

/* errors: the server's own, on this request. format: JSON or a tool call was asked for and the
 * answer is none. empty: no text and no call, or words of refusal at its beginning. feedback: what
 * people said of a stored completion; bad is low. */
enum canary_stream { CANARY_ERRORS, CANARY_FORMAT, CANARY_EMPTY, CANARY_FEEDBACK, CANARY_STREAMS };
extern const char *const canary_stream_names[CANARY_STREAMS];

struct canary_plan {
    double steps[CANARY_STEPS_MAX]; /* shares, rising, the first below 1; 1 as last: promote */
    int step_count;
    int64_t min_requests; /* of the canary in each step */
    double alpha;
    int64_t hold_at; /* Unix seconds from which on it takes no step any more; 0: never */
};
/* "1,5,25,50,100", in percent */
int canary_steps_read(const char *text, struct canary_plan *p, struct err *err);
json_t *canary_plan_write(const struct canary_plan *p);
int canary_plan_read(const char *json, struct canary_plan *ret, struct err *err);

struct canary_seen; /* what was seen of each user and key */
struct canary {
    struct canary_plan plan;
    int step;
    int64_t requests[2], step_requests[2]; /* baseline, canary */
    struct sequential stream[CANARY_STREAMS];
    int64_t latency[2][CANARY_BINS];
    struct canary_seen *seen;
};
void canary_init(struct canary *s, const struct canary_plan *p);
void canary_release(struct canary *s);
/* All but the units. ERR_CORRUPT */
json_t *canary_write(const struct canary *s);
int canary_read(const char *json, struct canary *to, struct err *err); /* to: after canary_init */
void canary_seen_put(struct canary *s, struct canary_unit u);          /* as it was saved */
/* Those that changed since it was called last; at most max, call again until 0. untake: they could
 * not be saved. */
size_t canary_seen_take(struct canary *s, struct canary_unit *to, size_t max);
void canary_seen_untake(struct canary *s, const struct canary_unit *list, size_t count);

struct canary_event {
    bool canary, sticks;
    bool late; /* feedback of a request that was counted when it ended */
    uint64_t unit;
    double share;                    /* when it was routed */
    signed char bad[CANARY_STREAMS]; /* 1, 0; -1: says nothing here */
    double seconds;                  /* until its end; negative: not measured */
};
void canary_add(struct canary *s, const struct canary_event *e);

enum canary_verdict { CANARY_GO_ON, CANARY_STEP, CANARY_PROMOTE, CANARY_ABORT };
/* ret_stream: of an alarm */
enum canary_verdict canary_judge(const struct canary *s, int64_t now,
                                 enum canary_stream *ret_stream);
void canary_advance(struct canary *s); /* one step */

/* p95 in seconds with its 95 % interval by order statistics; false: too few requests (59). */
bool canary_p95(const struct canary *s, bool canary, double *ret, double ret_range[2]);
bool canary_is_slower(const struct canary *s); /* the intervals lie apart */

#endif
