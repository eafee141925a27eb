#include "api/log.h"

#include "base/clock.h"

#include <time.h>

#define CONTENT_MAX ((size_t)64 << 10)
#define PATH_MAX_SHOWN ((size_t)500)

static void quoted(struct buf *out, const char *name, struct str s, size_t max) {
    if (s.n > max) s.n = max;
    buf_printf(out, " %s=", name);
    json_write_str(out, s);
}

void http_log_write(const struct http_log *line, bool content, struct buf *out) {
    const struct http_request *q = line->req;
    time_t now = (time_t)clock_unix();
    struct tm tm;
    char stamp[40];
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_printf(out, "time=%s request=%s client=%s", stamp, q->id, line->client);
    if (q->key[0]) buf_printf(out, " key=%s", q->key);
    quoted(out, "method", str_of(q->method), 32);
    quoted(out, "path", q->path, PATH_MAX_SHOWN);
    buf_printf(out, " status=%d ms=%.1f in=%lld out=%lld", line->status, (double)line->micros / 1e3,
               (long long)line->received, (long long)line->sent);
    if (q->note[0]) buf_byte(out, ' ');
    for (const char *c = q->note; *c; c++) buf_byte(out, (unsigned char)*c < 0x20 ? '?' : *c);
    if (content && q->json) quoted(out, "body", q->body, CONTENT_MAX);
    buf_byte(out, '\n');
}
