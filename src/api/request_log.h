/* The way of answered requests into the catalog's log (store/requests.h): a bounded ring that takes
 * them without waiting for the disk, and a thread that writes them in batches, drops what is too
 * old or too much, and looks for drift. What does not fit into the ring is counted and dropped.
 *
 * Texts go with an entry so that the thread can tell language, topic and refusal of them; they are
 * written only where the log keeps content, personal data masked as far as data/pii.h finds it. */
#ifndef API_REQUEST_LOG_H
#define API_REQUEST_LOG_H

#include "store/catalog.h"

struct metrics;
struct request_log_options {
    struct catalog *catalog;
    struct metrics *metrics; /* NULL: none */
    bool content;
    int64_t rows_max, days;                   /* kept; 0: 1,000,000 and 90 */
    int64_t ring;                             /* entries; 0: 2,048 */
    void (*log)(void *ctx, const char *text); /* what went wrong, and alarms; from its thread */
    void *ctx;
};

#define REQUEST_TEXT_MAX ((size_t)4 << 10)         /* of prompt and answer; the rest is cut off */
struct request_entry {                             /* all is copied */
    const char *model, *key, *completion, *finish; /* completion may be NULL */
    struct str alias;
    int status;
    int64_t prompt_tokens, completion_tokens, cached_tokens;
    double first_ms, total_ms;
    int format; /* -1: none was demanded, 0: kept, 1: broken */
    struct str prompt, answer;
};

struct request_log;
int request_log_start(const struct request_log_options *o, struct request_log **ret,
                      struct err *err);
/* Writes what is in the ring. NULL is fine. */
void request_log_stop(struct request_log *l);
/* Any thread; never waits for the disk. l NULL: nothing is logged. */
void request_log_add(struct request_log *l, const struct request_entry *e);
/* Waits until what was added is written; returns how many did not fit into the ring so far. */
int64_t request_log_flush(struct request_log *l);
/* One look for drift in all models, as the thread takes every minute in which rows came. *ret_new:
 * alarms that did not stand before. */
int request_log_look(struct request_log *l, int64_t *ret_new, struct err *err);

#endif
