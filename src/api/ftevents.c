/* The events of a fine-tuning job as they come: GET .../events?stream=true. The catalog is asked
 * twice a second; another process writes them there. */
#include "api/api.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/ftjobs.h"

#include <stdio.h>
#include <time.h>

#define LOOK_NS 500000000
#define EVENTS_AT_ONCE 100
#define MEM_MAX ((size_t)16 << 20)

struct follow {
    struct api *api;
    char job[ID_SIZE], last[ID_SIZE]; /* last: the one that was sent; "" for none */
    int64_t looked_ns;
    bool ended; /* the job had ended before the last look */
};

static bool is_finished(const char *status) {
    return strcmp(status, "succeeded") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "cancelled") == 0;
}

/* What is new; whether the job has ended is looked at first, so that its last events are sent. */
static int look(struct follow *f, struct buf *out, size_t *ret_count, struct err *err) {
    struct arena mem;
    struct ftjob job;
    struct ftevent_list events;
    struct page page = {
        .after = f->last[0] ? f->last : NULL, .limit = EVENTS_AT_ONCE, .ascending = true};
    arena_init(&mem, MEM_MAX);
    int rc = ftjobs_get(f->api->catalog, f->job, &mem, &job, err);
    if (!rc) rc = ftevents_list(f->api->catalog, f->job, &page, &mem, &events, err);
    *ret_count = rc ? 0 : events.count;
    for (size_t i = 0; !rc && i < events.count; i++) {
        sse_data(out, api_event_json(&events.list[i]));
        snprintf(f->last, sizeof f->last, "%s", events.list[i].id);
    }
    f->ended = !rc && is_finished(job.status);
    arena_release(&mem);
    f->looked_ns = clock_ns();
    return rc;
}

static enum http_next next(void *ctx, int wait_ms, struct buf *out) {
    struct follow *f = ctx;
    struct err err;
    size_t count = 0;
    if (!atomic_load(&f->api->ready)) return HTTP_END; /* a job may take hours; a stop does not */
    if (f->looked_ns && clock_ns() - f->looked_ns < LOOK_NS) {
        struct timespec pause = {.tv_nsec = wait_ms * 1000000L};
        nanosleep(&pause, NULL);
        return HTTP_WAIT;
    }
    if (look(f, out, &count, &err)) {
        sse_data(out, http_error_object(500, NULL, NULL, err.msg));
        return HTTP_END;
    }
    if (count == EVENTS_AT_ONCE) f->looked_ns = 0; /* there are more */
    if (count) return HTTP_MORE;
    if (!f->ended) return HTTP_WAIT;
    sse_done(out);
    return HTTP_END;
}

static void close_follow(void *ctx, bool complete) {
    (void)complete;
    mem_free(ctx);
}

int api_event_stream(struct http_request *req, const char *job, const char *after,
                     struct http_response *res) {
    struct follow *f = mem_zalloc(1, sizeof *f);
    f->api = api_of(req);
    snprintf(f->job, sizeof f->job, "%s", job);
    if (after) snprintf(f->last, sizeof f->last, "%s", after);
    return http_stream(res, &(struct http_stream){.next = next, .close = close_follow, .ctx = f});
}
