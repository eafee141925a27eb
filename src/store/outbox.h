/* Webhooks: endpoints, and the outbox of what they are still to be told. A message is put there in
 * the transaction of what it tells, so none is lost and none is sent of what did not happen. */
#ifndef STORE_OUTBOX_H
#define STORE_OUTBOX_H

#include "store/catalog.h"

struct webhook {
    const char *id, *url, *secret;
    int64_t created_at;
};
struct webhook_list {
    struct webhook *list;
    size_t count;
};
int webhooks_add(struct catalog *c, const char *url, const char *secret, struct arena *mem,
                 struct webhook *ret, struct err *err);
int webhooks_list(struct catalog *c, struct arena *mem, struct webhook_list *ret, struct err *err);
/* What was still to be sent there is given up. */
int webhooks_delete(struct catalog *c, const char *id, struct err *err);

struct outbox_message {
    const char *id, *event; /* event: "evt_...", the same for all endpoints */
    const char *endpoint;   /* id of the webhook */
    /* JSON, to be sent as it is: {"id":"evt_...","object":"event","created_at":...,"type":
     * "batch.completed","data":{"id":"batch_..."}} */
    const char *payload;
    int64_t created_at, attempts, next_attempt_at, delivered_at; /* 0: never */
};
struct outbox_list {
    struct outbox_message *list;
    size_t count;
    bool has_more;
};
/* What is to be sent to an endpoint (NULL: to all) by `now`, oldest first. */
int outbox_due(struct catalog *c, const char *endpoint, int64_t now, int64_t limit,
               struct arena *mem, struct outbox_list *ret, struct err *err);
/* One attempt and its outcome, kept in the log. */
struct outbox_attempt {
    int64_t http_status; /* 0: no answer */
    const char *message; /* why it failed, or NULL */
    bool delivered;
    int64_t next_attempt_at; /* 0: given up, or delivered */
};
int outbox_attempted(struct catalog *c, const char *id, const struct outbox_attempt *a,
                     struct err *err);

struct delivery {
    int64_t at, http_status;             /* 0: no answer */
    const char *message;                 /* NULL: delivered */
    const char *event, *type, *endpoint; /* "evt_...", "batch.completed", id of the webhook */
};
struct delivery_list {
    struct delivery *list;
    size_t count;
};
/* The attempts of one message, oldest first. */
int deliveries_list(struct catalog *c, const char *message, struct arena *mem,
                    struct delivery_list *ret, struct err *err);
/* The last `limit` of all, the newest first. */
int deliveries_recent(struct catalog *c, int64_t limit, struct arena *mem,
                      struct delivery_list *ret, struct err *err);

#endif
