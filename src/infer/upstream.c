#include "infer/upstream.h"

#include "base/clock.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRIES 5
#define ANSWER_MAX ((size_t)64 << 20)
#define LINE_MAX_BYTES ((size_t)16 << 20)
#define PAUSE_MAX 60.0

/* by a signal's handler or another thread */
static bool is_set(const volatile sig_atomic_t *cancel) {
    return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

/* One try: the stream of events as it comes. */
struct exchange {
    CURL *curl;
    const volatile sig_atomic_t *cancel;
    struct answer *answer;
    struct buf line, text, refused; /* refused: the body of an error */
    double begun;
    bool done;
};

/* --- the request --- */

static json_t *messages_of(const struct question *q) {
    if (q->messages) return json_incref((json_t *)q->messages);
    return json_pack("[{s:s, s:s%}]", "role", "user", "content", q->prompt.p, q->prompt.n);
}

static char *body_of(const struct upstream *u, const struct question *q) {
    struct buf b;
    json_t *o = json_pack("{s:s, s:o, s:I, s:f, s:b, s:{s:b}}", "model", u->model, "messages",
                          messages_of(q), "max_tokens", (json_int_t)q->max_tokens, "temperature",
                          q->temperature, "stream", 1, "stream_options", "include_usage", 1);
    if (q->top_p > 0) json_object_set_new(o, "top_p", json_real(q->top_p));
    if (q->seed) json_object_set_new(o, "seed", json_integer((json_int_t)(q->seed >> 1)));
    if (q->tools) json_object_set(o, "tools", (json_t *)q->tools);
    if (q->schema)
        json_object_set_new(o, "response_format",
                            json_pack("{s:s, s:{s:s, s:O, s:b}}", "type", "json_schema",
                                      "json_schema", "name", "answer", "schema", q->schema,
                                      "strict", 1));
    buf_init(&b, ANSWER_MAX);
    json_write(o, &b);
    json_decref(o);
    if (buf_ok(&b)) return buf_take(&b);
    buf_release(&b);
    return NULL;
}

/* --- the events --- */

static int64_t number_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : 0;
}

static void take_usage(struct answer *a, const json_t *usage) {
    if (!json_is_object(usage)) return;
    a->prompt_tokens = number_of(usage, "prompt_tokens");
    a->completion_tokens = number_of(usage, "completion_tokens");
    a->cached_tokens = number_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

static void take_choice(struct exchange *x, const json_t *choice) {
    const json_t *text = json_object_get(json_object_get(choice, "delta"), "content");
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
    if (json_is_string(text) && json_string_length(text)) {
        if (x->text.n == 0) x->answer->first_seconds = clock_seconds() - x->begun;
        buf_str(&x->text, json_str(text));
    }
    if (finish) snprintf(x->answer->finish, sizeof x->answer->finish, "%s", finish);
}

/* "data: {...}", an empty line, or a comment */
static int take_line(struct exchange *x, struct str line, struct err *err) {
    static const char prefix[] = "data:";
    if (line.n && line.p[line.n - 1] == '\r') line.n--;
    if (!str_starts(line, STR_LIT(prefix))) return 0;
    line = str_from(line, sizeof prefix - 1);
    while (line.n && *line.p == ' ') line = str_from(line, 1);
    if (str_is(line, "[DONE]")) {
        x->done = true;
        return 0;
    }
    json_t *event = NULL;
    int rc = json_read(line, "the server's event", &event, err);
    if (rc) return rc;
    const json_t *failed = json_object_get(event, "error");
    if (json_is_object(failed)) {
        const char *why = json_string_value(json_object_get(failed, "message"));
        rc = err_set(err, ERR_IO, "the server broke off: %.300s", why ? why : "no reason given");
    } else {
        take_choice(x, json_array_get(json_object_get(event, "choices"), 0));
        take_usage(x->answer, json_object_get(event, "usage"));
    }
    json_decref(event);
    return rc;
}

static size_t on_bytes(char *p, size_t size, size_t count, void *ctx) {
    struct exchange *x = ctx;
    long status = 0;
    size_t n = size * count;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        buf_add(&x->refused, p, n);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n') {
            buf_byte(&x->line, p[i]);
            continue;
        }
        if (take_line(x, buf_view(&x->line), &x->answer->err)) return 0;
        buf_clear(&x->line);
    }
    if (buf_ok(&x->line) && buf_ok(&x->text)) return n;
    err_set(&x->answer->err, ERR_LIMIT, "the server's answer is longer than %zu MiB",
            ANSWER_MAX >> 20);
    return 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct exchange *x = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return is_set(x->cancel);
}

/* --- one try --- */

static struct curl_slist *headers_of(const struct upstream *u) {
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    list = curl_slist_append(list, "Accept: text/event-stream");
    if (u->key) {
        struct buf b;
        buf_init(&b, 1 << 14);
        buf_printf(&b, "Authorization: Bearer %s", u->key);
        list = curl_slist_append(list, b.p);
        buf_release(&b);
    }
    return list;
}

static void prepare(struct exchange *x, const struct upstream *u, const char *url, const char *body,
                    struct curl_slist *headers, char *message) {
    CURL *curl = x->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, u->timeout_seconds ? (long)u->timeout_seconds : 600L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "attune");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    message[0] = '\0';
}

static int say_refused(const struct exchange *x, long status, struct err *err) {
    struct err none;
    json_t *body = NULL;
    const char *why = NULL;
    if (json_read(buf_view(&x->refused), "error", &body, &none) == 0)
        why = json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    int code = status == 404 ? ERR_NOT_FOUND : status == 429 ? ERR_BUSY : ERR_IO;
    if (status == 400 || status == 422) code = ERR_INVALID;
    err_set(err, code, "the server answered %ld: %.300s", status,
            why ? why : (x->refused.n ? x->refused.p : "no reason given"));
    json_decref(body);
    return code;
}

/* 0: done; an error otherwise, and whether another try may help */
static int once(struct exchange *x, bool *ret_again, double *ret_after, const char *message,
                struct err *err) {
    long status = 0;
    curl_off_t after = 0;
    x->begun = clock_seconds();
    CURLcode rc = curl_easy_perform(x->curl);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->curl, CURLINFO_RETRY_AFTER, &after);
    *ret_after = (double)after;
    *ret_again = false;
    if (rc == CURLE_ABORTED_BY_CALLBACK) return err_set(err, ERR_CANCELLED, "cancelled");
    if (x->answer->err.code) { /* said while it came */
        *err = x->answer->err;
        return err->code;
    }
    if (rc != CURLE_OK) {
        *ret_again = rc != CURLE_OPERATION_TIMEDOUT && x->text.n == 0;
        return err_set(err, ERR_IO, "%s", message[0] ? message : curl_easy_strerror(rc));
    }
    if (status != 200) {
        *ret_again = status == 408 || status == 409 || status == 429 || status >= 500;
        return say_refused(x, status, err);
    }
    if (!x->done) return err_set(err, ERR_IO, "the server's stream ended before its answer did");
    x->answer->seconds = clock_seconds() - x->begun;
    return 0;
}

static void pause_for(double seconds, const volatile sig_atomic_t *cancel) {
    double end = clock_seconds() + (seconds < PAUSE_MAX ? seconds : PAUSE_MAX);
    struct timespec step = {.tv_nsec = 50000000};
    while (clock_seconds() < end && !is_set(cancel)) nanosleep(&step, NULL);
}

static int try_all(struct exchange *x, const struct upstream *u, const char *url, const char *body,
                   struct err *err) {
    char message[CURL_ERROR_SIZE];
    struct curl_slist *headers = headers_of(u);
    double wait = 0.5, after = 0;
    bool again = true;
    int rc = 0;
    for (int i = 0; again && i < TRIES; i++, wait *= 2) {
        if (i) pause_for(after > 0 ? after : wait, x->cancel);
        buf_clear(&x->line);
        buf_clear(&x->text);
        buf_clear(&x->refused);
        prepare(x, u, url, body, headers, message);
        rc = once(x, &again, &after, message, err);
        again = again && !is_set(x->cancel);
    }
    curl_slist_free_all(headers);
    return rc ? err_wrap(err, "%s", url) : 0;
}

void upstream_ask(const struct upstream *u, const struct question *q,
                  const volatile sig_atomic_t *cancel, struct answer *ret) {
    struct exchange x = {.curl = curl_easy_init(), .cancel = cancel, .answer = ret};
    struct buf url;
    struct err err = {0};
    char *body = body_of(u, q);
    *ret = (struct answer){0};
    buf_init(&url, 1 << 14);
    buf_init(&x.line, LINE_MAX_BYTES);
    buf_init(&x.text, ANSWER_MAX);
    buf_init(&x.refused, 1 << 16);
    buf_printf(&url, "%s/chat/completions", u->url);
    int rc = x.curl && body ? 0 : err_set(&err, ERR_LIMIT, "the question is too long to be sent");
    if (!rc) rc = try_all(&x, u, url.p, body, &err);
    ret->rc = rc;
    ret->err = err;
    if (!rc) {
        ret->n = x.text.n;
        ret->text = x.text.p ? buf_take(&x.text) : mem_strdup("");
    }
    buf_release(&x.line);
    buf_release(&x.text);
    buf_release(&x.refused);
    buf_release(&url);
    mem_free(body);
    curl_easy_cleanup(x.curl);
}
