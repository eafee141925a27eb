/* The request log: a row for each answered request for generated text, oldest dropped first.
 * Written in batches, never from the thread of a request (api/request_log.h). Any thread. */
#ifndef STORE_REQUESTS_H
#define STORE_REQUESTS_H

#include "store/catalog.h"

struct logged_request {
    int64_t seq;               /* rising in the order of writing; set by the catalog */
    int64_t at_ms;             /* when it ended, Unix milliseconds */
    const char *model, *alias; /* the model's own name; the name asked for */
    const char *key;           /* id of the key; "" without */
    const char *completion;    /* "chatcmpl-...", or NULL */
    const char *finish;        /* of the first answer; "" where it did not end */
    int64_t status;            /* of HTTP; 499: the client went before the end */
    int64_t prompt_tokens, completion_tokens, cached_tokens;
    double first_ms, total_ms;   /* until the first token (0: none came), until the end */
    int64_t language, topic;     /* of the prompt: data/language.h, eval/drift.h */
    int64_t refusal;             /* 1: the answer declines */
    int64_t format;              /* of a demanded format: -1 none was, 0 kept, 1 broken */
    const char *prompt, *answer; /* NULL unless content is kept */
    double score;                /* the newest feedback; read only, with has_score */
    bool has_score;
};
static inline bool request_failed(const struct logged_request *r) {
    return r->status >= 400 && r->status != 499;
}

/* Adds all and drops what is more than `rows_max` rows or was before `oldest_ms` (at most some
 * thousand rows a time), in one transaction. list may be empty: drops only. */
struct request_limits {
    int64_t rows_max, oldest_ms;
};
int requests_add(struct catalog *c, const struct logged_request *list, size_t count,
                 const struct request_limits *keep, struct err *err);

/* Rows of a model from the first at or after from_ms on, before to_ms (0: all), in the order of
 * writing, without the first `skip`. */
struct request_range {
    const char *model;
    int64_t from_ms, to_ms, skip, limit;
};
struct request_rows {
    struct logged_request *list;
    size_t count;
};
int requests_list(struct catalog *c, const struct request_range *r, struct arena *mem,
                  struct request_rows *ret, struct err *err);
int requests_count(struct catalog *c, const struct request_range *r, int64_t *ret, struct err *err);

/* Sums by model and key since a time, in their order. model NULL: all. */
struct request_usage {
    const char *model, *key;
    int64_t requests, failed, prompt_tokens, completion_tokens, cached_tokens;
};
struct usage_list {
    struct request_usage *list;
    size_t count;
};
int requests_usage(struct catalog *c, const char *model, int64_t since_ms, struct arena *mem,
                   struct usage_list *ret, struct err *err);
/* A quantile 0..1 (nearest rank) of the times of a model's answers of status 200; NAN: none. */
enum request_time { REQUEST_FIRST, REQUEST_TOTAL };
int requests_quantile(struct catalog *c, const char *model, int64_t since_ms,
                      enum request_time which, double q, double *ret, struct err *err);

/* --- standing alarms of drift --- */

struct drift_alarm {
    const char *model, *stream;
    double p, psi; /* of the last window */
    int64_t at;
};
struct alarm_list {
    struct drift_alarm *list;
    size_t count;
};
/* The alarms that stand for a model now. Those that did not before are told to the webhooks as
 * "attune.drift" with the model's name, in one event; *ret_new: how many they are. */
int alarms_set(struct catalog *c, const char *model, const struct drift_alarm *list, size_t count,
               int64_t *ret_new, struct err *err);
int alarms_list(struct catalog *c, struct arena *mem, struct alarm_list *ret, struct err *err);

#endif
