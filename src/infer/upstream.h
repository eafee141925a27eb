/* One chat completion of an OpenAI-compatible server, streamed, so that the time to its first text
 * is known. Retries what the server asks to retry (429, 5xx, connection lost before the first
 * byte), at most four times, as Retry-After says or with growing pauses. Any thread. */
#ifndef INFER_UPSTREAM_H
#define INFER_UPSTREAM_H

#include "infer/asker.h"

struct upstream {
    const char *url, *model, *key; /* as in asker_options */
    int64_t timeout_seconds;
};

/* cancel may be NULL */
void upstream_ask(const struct upstream *u, const struct question *q,
                  const volatile sig_atomic_t *cancel, struct answer *ret);

#endif
