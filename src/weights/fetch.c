/* One transfer is a chain of requests: a redirect is followed by hand, so that each address passes
 * the same checks and the token stays with the first host. A broken transfer is tried again;
 * attempts count anew whenever it got further than before. */
#include "weights/fetch.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define REDIRECTS_MAX 5
#define URL_MAX 8192
#define ETAG_MAX 256

/* what the headers of the latest response said */
struct response {
    long status;
    char etag[ETAG_MAX];
    int64_t range_from; /* Content-Range's first byte, -1: none */
    int64_t length;     /* Content-Length, -1: none */
};

struct transfer {
    const struct fetch *f;
    CURL *curl;
    char *part, *etag_path;
    int fd;             /* of part; -1 until the first byte, or when text is fetched */
    struct buf *text;   /* fetch_text's, else NULL */
    int64_t have, best; /* bytes in part; the most there ever were */
    bool ranged;        /* this request asks for the bytes from `have` on */
    bool started;       /* this response's body has begun to be stored */
    struct response now;
    char linked_sha[SHA256_HEX + 1]; /* the hub's word on a large file, on the way to its store */
    int64_t linked_bytes;
    struct err failed; /* code set: a callback gave up for this reason */
};

/* --- addresses -----------------------------------------------------------------------------------
 */

struct address {
    char scheme[16], host[256];
};

static bool split_url(const char *url, struct address *ret) {
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL;
    bool ok = strlen(url) < URL_MAX && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              strlen(scheme) < sizeof ret->scheme && strlen(host) < sizeof ret->host;
    if (ok) {
        snprintf(ret->scheme, sizeof ret->scheme, "%s", scheme);
        snprintf(ret->host, sizeof ret->host, "%s", host);
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);
    return ok;
}

static bool is_loopback(const char *host) {
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

static int check_url(const char *url, const struct address *from, struct address *ret,
                     struct err *err) {
    struct address a;
    if (!split_url(url, &a))
        return err_set(err, ERR_INVALID, "\"%.200s\" is no valid address", url);
    bool plain = strcmp(a.scheme, "http") == 0;
    if (!plain && strcmp(a.scheme, "https") != 0)
        return err_set(err, ERR_INVALID, "\"%.200s\": only https addresses can be fetched", url);
    if (plain && !is_loopback(a.host))
        return err_set(err, ERR_INVALID, "\"%.200s\": plain http is not safe; use https", url);
    if (plain && from && strcmp(from->scheme, "https") == 0)
        return err_set(err, ERR_INVALID, "a redirect from https to \"%.200s\" is not followed",
                       url);
    *ret = a;
    return 0;
}

/* --- headers -------------------------------------------------------------------------------------
 */

/* The value of header `name` in `line`, without blanks and quotes; false: another header. */
static bool header_value(struct str line, const char *name, struct str *ret) {
    size_t n = strlen(name);
    if (line.n <= n || strncasecmp(line.p, name, n) != 0 || line.p[n] != ':') return false;
    struct str v = str_from(line, n + 1);
    while (v.n && strchr(" \t", v.p[0])) v = str_from(v, 1);
    while (v.n && strchr(" \t\r\n", v.p[v.n - 1])) v.n--;
    *ret = v;
    return true;
}

/* Decimal digits at the start of s; -1: none or too many. */
static int64_t leading_number(struct str s) {
    int64_t v = 0;
    size_t n = 0;
    for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++) {
        if (n == 18) return -1;
        v = v * 10 + (s.p[n] - '0');
    }
    return n ? v : -1;
}

static struct str unquoted(struct str v) {
    if (str_starts(v, STR_LIT("W/"))) v = str_from(v, 2);
    if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"') return (struct str){v.p + 1, v.n - 2};
    return v;
}

static bool is_sha256(struct str s) {
    if (s.n != SHA256_HEX) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789abcdef", s.p[i]) || !s.p[i]) return false;
    return true;
}

static size_t on_header(char *p, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    struct str line = {p, size * count}, v;
    if (str_starts(line, STR_LIT("HTTP/")))
        t->now = (struct response){.range_from = -1, .length = -1};
    if (header_value(line, "etag", &v) && v.n < ETAG_MAX) {
        memcpy(t->now.etag, v.p, v.n);
        t->now.etag[v.n] = '\0';
    } else if (header_value(line, "content-length", &v)) {
        t->now.length = leading_number(v);
    } else if (header_value(line, "content-range", &v) && str_starts(v, STR_LIT("bytes "))) {
        t->now.range_from = leading_number(str_from(v, 6));
    } else if (header_value(line, "x-linked-size", &v)) {
        t->linked_bytes = leading_number(v) > 0 ? leading_number(v) : 0;
    } else if (header_value(line, "x-linked-etag", &v) && is_sha256(unquoted(v))) {
        memcpy(t->linked_sha, unquoted(v).p, SHA256_HEX);
    }
    return line.n;
}

/* --- the body ------------------------------------------------------------------------------------
 */

static int64_t expected_bytes(const struct transfer *t) {
    return t->f->bytes ? t->f->bytes : t->linked_bytes;
}

/* The name under which a part may be continued: a strong ETag. */
static void remember_etag(const struct transfer *t) {
    struct err ignored; /* without it the download begins anew */
    if (t->now.etag[0] == '"')
        file_write_atomic(t->etag_path, str_of(t->now.etag), &ignored);
    else
        file_remove(t->etag_path, &ignored);
}

/* The first bytes of a good response: where do they belong? */
static int begin_body(struct transfer *t) {
    struct err *err = &t->failed;
    bool continues = t->now.status == 206;
    if (continues && (!t->ranged || t->now.range_from != t->have))
        return err_set(err, ERR_CORRUPT, "the server sent the bytes from %lld on, not from %lld",
                       (long long)t->now.range_from, (long long)t->have);
    if (!continues) t->have = 0;
    t->started = true;
    int64_t want = expected_bytes(t), promised = t->now.length < 0 ? -1 : t->have + t->now.length;
    if (want && promised >= 0 && promised != want)
        return err_set(err, ERR_CORRUPT, "the server offers %lld bytes where %lld are expected",
                       (long long)promised, (long long)want);
    if (t->text) {
        buf_clear(t->text);
        return 0;
    }
    remember_etag(t);
    return file_append_open(t->part, t->have, &t->fd, err);
}

static int store(struct transfer *t, struct str data) {
    const struct fetch *f = t->f;
    int64_t most = expected_bytes(t) ? expected_bytes(t) : f->max_bytes;
    if (most && (int64_t)data.n > most - t->have)
        return err_set(&t->failed, ERR_LIMIT, "the server sends more than %lld bytes",
                       (long long)most);
    t->have += (int64_t)data.n;
    if (!t->text) return file_append(t->fd, t->part, data, false, &t->failed);
    buf_str(t->text, data);
    if (buf_ok(t->text)) return 0;
    return err_set(&t->failed, ERR_LIMIT, "the answer is larger than %zu bytes", t->text->max);
}

static size_t on_body(char *p, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t n = size * count;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->now.status);
    if (t->now.status != 200 && t->now.status != 206) return n; /* an error's page */
    if (!t->started && begin_body(t)) return 0;
    return store(t, (struct str){p, n}) ? 0 : n;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t done, curl_off_t a, curl_off_t b) {
    struct transfer *t = ctx;
    (void)done, (void)a, (void)b;
    int64_t all = expected_bytes(t);
    if (!all && t->started && total > 0)
        all = t->now.status == 206 ? t->now.range_from + total : total;
    return t->f->progress && !t->f->progress(t->f->ctx, t->have, all);
}

/* --- one request ---------------------------------------------------------------------------------
 */

static void set_options(struct transfer *t, const char *url, struct curl_slist *headers) {
    CURL *c = t->curl;
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "attune");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 100L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
                     (long)(t->f->stall_seconds ? t->f->stall_seconds : 30));
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value) {
    size_t n = strlen(name) + strlen(value) + 3;
    char *line = mem_alloc(n);
    snprintf(line, n, "%s: %s", name, value);
    list = curl_slist_append(list, line);
    mem_free(line);
    return list;
}

/* Ask for the rest of a part, if it can be told to be the same file. */
static struct curl_slist *add_range(struct transfer *t, struct curl_slist *list) {
    struct err ignored;
    struct buf etag;
    char range[64];
    int64_t have = 0;
    t->ranged = false;
    if (t->text) return list;
    buf_init(&etag, ETAG_MAX);
    bool known =
        file_read(t->etag_path, &etag, &ignored) == 0 && etag.n && !strpbrk(etag.p, "\r\n");
    if (file_exists(t->part)) file_size(t->part, &have, &ignored);
    bool guarded = known || t->f->sha256;
    t->have = guarded ? have : 0;
    if (t->have > 0) {
        t->ranged = true;
        snprintf(range, sizeof range, "bytes=%lld-", (long long)t->have);
        list = add_header(list, "Range", range);
        if (known) list = add_header(list, "If-Range", etag.p);
    }
    buf_release(&etag);
    return list;
}

/* Requests `url`; *ret_next is where it points to, or NULL. */
static CURLcode request(struct transfer *t, const char *url, bool with_token, char **ret_next) {
    struct curl_slist *headers = add_range(t, NULL);
    const char *token = t->f->token;
    if (with_token && token && *token && !strpbrk(token, "\r\n")) {
        size_t n = strlen(token) + 8;
        char *bearer = mem_alloc(n);
        snprintf(bearer, n, "Bearer %s", token);
        headers = add_header(headers, "Authorization", bearer);
        mem_free(bearer);
    }
    t->started = false;
    t->failed.code = 0;
    set_options(t, url, headers);
    CURLcode code = curl_easy_perform(t->curl);
    char *next = NULL;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->now.status);
    curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &next);
    *ret_next = code == CURLE_OK && next ? mem_strdup(next) : NULL;
    bool good = t->now.status == 200 || t->now.status == 206;
    if (code == CURLE_OK && !next && good && !t->started) begin_body(t); /* an empty file */
    if (t->fd >= 0) file_close(t->fd);
    t->fd = -1;
    if (t->have > t->best) t->best = t->have;
    curl_slist_free_all(headers);
    return code;
}

/* Sets err for anything but success. *ret_again: worth another attempt. */
static int judge(struct transfer *t, CURLcode code, const char *url, bool *ret_again,
                 struct err *err) {
    long status = t->now.status;
    *ret_again = false;
    if (t->failed.code) {
        *err = t->failed;
        return err_wrap(err, "fetching \"%.200s\"", url);
    }
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(err, ERR_CANCELLED, "the download of \"%.200s\" was cancelled", url);
    if (code == CURLE_OK && (status == 200 || status == 206)) return 0;
    *ret_again = code != CURLE_OK || status == 429 || status == 408 || status >= 500;
    if (code != CURLE_OK)
        return err_set(err, ERR_IO, "fetching \"%.200s\": %s", url, curl_easy_strerror(code));
    if (status == 401 || status == 403)
        return err_set(
            err, ERR_IO,
            "\"%.200s\" may not be read (%ld); accept the model's licence on its page and set "
            "HF_TOKEN",
            url, status);
    if (status == 404) return err_set(err, ERR_NOT_FOUND, "there is no \"%.200s\" (404)", url);
    return err_set(err, ERR_IO, "\"%.200s\": the server answered %ld", url, status);
}

/* a part that the server cannot continue is dropped */
static void drop_part(struct transfer *t) {
    struct err ignored;
    if (t->text) return;
    file_remove(t->part, &ignored);
    file_remove(t->etag_path, &ignored);
}

/* One request with its redirects. */
static int attempt(struct transfer *t, bool *ret_again, struct err *err) {
    struct address first, from;
    char *url = mem_strdup(t->f->url), *next = NULL;
    int rc = check_url(url, NULL, &first, err);
    from = first;
    *ret_again = false;
    for (int hops = 0; !rc; hops++) {
        CURLcode code = request(t, url, strcmp(from.host, first.host) == 0, &next);
        if (!next) {
            rc = judge(t, code, url, ret_again, err);
            bool unfit = code == CURLE_OK && t->now.status == 416 && t->ranged;
            if (unfit || t->failed.code == ERR_CORRUPT) drop_part(t);
            *ret_again = *ret_again || unfit;
            break;
        }
        if (hops == REDIRECTS_MAX)
            rc = err_set(err, ERR_IO, "\"%.200s\" redirects more than %d times", t->f->url,
                         REDIRECTS_MAX);
        if (!rc) rc = check_url(next, &from, &from, err);
        mem_free(url);
        url = next;
        next = NULL;
    }
    mem_free(next);
    mem_free(url);
    return rc;
}

/* --- attempts ------------------------------------------------------------------------------------
 */

/* Waits in small pieces, so that a cancel is heard; false: cancelled. */
static bool wait_ms(const struct transfer *t, int64_t ms) {
    for (; ms > 0; ms -= 50) {
        if (t->f->progress && !t->f->progress(t->f->ctx, t->have, expected_bytes(t))) return false;
        struct timespec pause = {0, (ms < 50 ? ms : 50) * 1000000};
        nanosleep(&pause, NULL);
    }
    return true;
}

static int attempts(struct transfer *t, struct err *err) {
    int limit = t->f->attempts ? t->f->attempts : 5, rc;
    int64_t pause = t->f->backoff_ms ? t->f->backoff_ms : 500, wait = pause;
    for (int tries = 0;; wait *= 2) {
        int64_t best = t->best;
        bool again;
        rc = attempt(t, &again, err);
        if (!rc || !again) return rc;
        if (t->best > best) {
            tries = 0;
            wait = pause;
        }
        if (++tries >= limit) return rc;
        if (!wait_ms(t, wait)) return err_set(err, ERR_CANCELLED, "the download was cancelled");
    }
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static void transfer_init(struct transfer *t, const struct fetch *f, struct buf *text) {
    pthread_once(&curl_once, curl_start);
    *t = (struct transfer){.f = f, .curl = curl_easy_init(), .fd = -1, .text = text};
    if (!t->curl) abort(); /* out of memory */
}

int fetch_text(const struct fetch *f, struct buf *b, struct err *err) {
    struct transfer t;
    transfer_init(&t, f, b);
    int rc = attempts(&t, err);
    curl_easy_cleanup(t.curl);
    return rc;
}

static char *with_suffix(const char *path, const char *suffix) {
    size_t n = strlen(path) + strlen(suffix) + 1;
    char *p = mem_alloc(n);
    snprintf(p, n, "%s%s", path, suffix);
    return p;
}

static int check_part(const struct transfer *t, struct err *err) {
    const char *want = t->f->sha256 ? t->f->sha256 : t->linked_sha;
    int64_t bytes = 0;
    char hex[SHA256_HEX + 1];
    int rc = file_size(t->part, &bytes, err);
    if (!rc && expected_bytes(t) && bytes != expected_bytes(t))
        rc = err_set(err, ERR_CORRUPT, "\"%.200s\" has %lld bytes where %lld are expected",
                     t->f->url, (long long)bytes, (long long)expected_bytes(t));
    if (rc || !*want) return rc;
    rc = sha256_file(t->part, hex, err);
    if (!rc && strcmp(hex, want) != 0)
        rc =
            err_set(err, ERR_CORRUPT,
                    "\"%.150s\": the SHA-256 of what arrived is %s, expected is %s; fetch it again",
                    t->f->url, hex, want);
    return rc;
}

static int finish(struct transfer *t, struct err *err) {
    struct err ignored;
    int fd = -1;
    int64_t bytes = 0;
    int rc = 0;
    if (!file_exists(t->part))
        rc = file_write_atomic(t->part, STR_LIT(""), err); /* no body at all */
    if (!rc) rc = check_part(t, err);
    if (rc == ERR_CORRUPT) drop_part(t);
    if (!rc) rc = file_size(t->part, &bytes, err);
    if (!rc) rc = file_append_open(t->part, bytes, &fd, err);
    if (!rc) rc = file_append(fd, t->part, STR_LIT(""), true, err);
    file_close(fd);
    if (!rc) rc = file_rename(t->part, t->f->path, err);
    if (!rc) file_remove(t->etag_path, &ignored);
    return rc;
}

int fetch_file(const struct fetch *f, struct err *err) {
    struct transfer t;
    transfer_init(&t, f, NULL);
    t.part = with_suffix(f->path, ".part");
    t.etag_path = with_suffix(f->path, ".part.etag");
    int rc = attempts(&t, err);
    if (!rc) rc = finish(&t, err);
    curl_easy_cleanup(t.curl);
    mem_free(t.part);
    mem_free(t.etag_path);
    return rc;
}
