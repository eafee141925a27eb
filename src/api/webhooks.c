#include "api/webhooks.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/outbox.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROUND 32 /* messages at a time */
#define TIMEOUT_SECONDS 15L
#define MEM_MAX ((size_t)16 << 20)

/* the pauses of the Standard Webhooks specification, in seconds */
static const int64_t pauses[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
#define ATTEMPTS ((int64_t)(sizeof pauses / sizeof *pauses))

/* --- one message --- */

void webhook_signature(struct str secret, const char *id, int64_t timestamp, struct str body,
                       struct buf *out) {
    static const char prefix[] = "whsec_";
    unsigned char digest[32];
    struct buf key, text;
    buf_init(&key, secret.n + 64);
    buf_init(&text, body.n + 256);
    bool coded = str_starts(secret, STR_LIT(prefix)) &&
                 base64_decode(str_from(secret, sizeof prefix - 1), &key);
    if (!coded) buf_str(&key, secret);
    buf_printf(&text, "%s.%lld.", id, (long long)timestamp);
    buf_str(&text, body);
    hmac_sha256(buf_view(&key), buf_view(&text), digest);
    buf_z(out, "v1,");
    base64_encode((struct str){(const char *)digest, sizeof digest}, out);
    buf_release(&text);
    buf_release(&key);
}

static size_t drop(char *p, size_t size, size_t count, void *ctx) {
    (void)p, (void)ctx;
    return size * count;
}

static struct curl_slist *headers_of(const struct outbox_message *m, struct str secret,
                                     int64_t now) {
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    struct buf b;
    buf_init(&b, 1024);
    buf_printf(&b, "webhook-id: %s", m->event);
    list = curl_slist_append(list, b.p);
    buf_clear(&b);
    buf_printf(&b, "webhook-timestamp: %lld", (long long)now);
    list = curl_slist_append(list, b.p);
    buf_clear(&b);
    buf_z(&b, "webhook-signature: ");
    webhook_signature(secret, m->event, now, str_of(m->payload), &b);
    list = curl_slist_append(list, b.p);
    buf_release(&b);
    return list;
}

static int stopped(void *stop, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    return stop && atomic_load((const _Atomic int *)stop);
}

static struct outbox_attempt post(CURL *curl, const struct outbox_message *m,
                                  const struct webhook *to, int64_t now, const _Atomic int *stop,
                                  char *message) {
    struct curl_slist *headers = headers_of(m, str_of(to->secret), now);
    long status = 0;
    message[0] = '\0';
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, to->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, m->payload);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "attune");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stopped);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)stop);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (rc != CURLE_OK && !message[0])
        snprintf(message, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
    if (rc == CURLE_OK && status / 100 != 2)
        snprintf(message, CURL_ERROR_SIZE, "the endpoint answered %ld", status);
    bool delivered = rc == CURLE_OK && status / 100 == 2;
    bool last = status == 410 || m->attempts + 1 >= ATTEMPTS;
    return (struct outbox_attempt){.http_status = status,
                                   .message = delivered ? NULL : message,
                                   .delivered = delivered,
                                   .next_attempt_at =
                                       delivered || last ? 0 : now + pauses[m->attempts]};
}

/* --- a round --- */

struct round {
    struct catalog *c;
    CURL *curl;
    int64_t now, begun_ns;
    const _Atomic int *stop;
};

/* What is due there. One that does not answer is left alone for the rest of the round, so that it
 * delays the others by one attempt and not by all that it has missed. */
static int send_to(const struct round *r, const struct webhook *to, struct arena *mem,
                   struct err *err) {
    struct outbox_list due = {0};
    char message[CURL_ERROR_SIZE];
    int rc = outbox_due(r->c, to->id, r->now, ROUND, mem, &due, err);
    for (size_t i = 0; !rc && i < due.count; i++) {
        /* receivers refuse what is minutes old */
        int64_t now = r->now + (clock_ns() - r->begun_ns) / 1000000000;
        struct outbox_attempt a = post(r->curl, &due.list[i], to, now, r->stop, message);
        if (stopped((void *)r->stop, 0, 0, 0, 0) && !a.delivered) return 0; /* it stays due */
        rc = outbox_attempted(r->c, due.list[i].id, &a, err);
        if (!a.http_status) break;
    }
    return rc;
}

int webhooks_deliver(struct catalog *c, int64_t now, const _Atomic int *stop, struct err *err) {
    struct webhook_list all = {0};
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = webhooks_list(c, &mem, &all, err);
    struct round r = {.c = c, .now = now, .begun_ns = clock_ns(), .stop = stop};
    if (!rc && all.count && !(r.curl = curl_easy_init()))
        rc = err_set(err, ERR_INTERNAL, "no connection can be prepared");
    for (size_t i = 0; !rc && i < all.count && !stopped((void *)stop, 0, 0, 0, 0); i++)
        rc = send_to(&r, &all.list[i], &mem, err);
    curl_easy_cleanup(r.curl);
    arena_release(&mem);
    return rc;
}

/* --- the thread --- */

struct webhook_sender {
    struct catalog *catalog;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic int stop;
};

static bool wait_a_second(struct webhook_sender *s) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&s->lock);
    if (!atomic_load(&s->stop)) pthread_cond_timedwait(&s->wake, &s->lock, &until);
    bool go_on = !atomic_load(&s->stop);
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void *run(void *sender) {
    struct webhook_sender *s = sender;
    struct err err;
    /* what cannot be done now is due again in a second */
    do webhooks_deliver(s->catalog, clock_unix(), &s->stop, &err);
    while (wait_a_second(s));
    return NULL;
}

int webhook_sender_start(struct catalog *c, struct webhook_sender **ret, struct err *err) {
    struct webhook_sender *s = mem_zalloc(1, sizeof *s);
    s->catalog = c;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    int rc = pthread_create(&s->thread, NULL, run, s);
    if (rc) {
        mem_free(s);
        return err_sys(err, rc, "could not start the thread that sends webhooks");
    }
    *ret = s;
    return 0;
}

void webhook_sender_stop(struct webhook_sender *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, 1);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
