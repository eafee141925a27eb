/* attune webhook: who is told when a job or a batch ends. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/base64.h"
#include "store/outbox.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define MEM_MAX ((size_t)64 << 20)
#define SECRET_BYTES 32

static int new_secret(struct buf *out, struct err *err) {
    char bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set(err, ERR_INTERNAL, "the system gave no random bytes");
    buf_z(out, "whsec_");
    base64_encode((struct str){bytes, sizeof bytes}, out);
    return 0;
}

static int add(struct catalog *c, const char *url, const char *secret, struct arena *mem,
               struct err *err) {
    struct webhook made;
    struct buf own;
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_set(err, ERR_USAGE, "\"%.200s\" is no http:// or https:// address", url);
    buf_init(&own, 256);
    int rc = secret ? 0 : new_secret(&own, err);
    if (!rc) rc = webhooks_add(c, url, secret ? secret : own.p, mem, &made, err);
    if (!rc) printf("%s  %s\n", made.id, made.secret);
    buf_release(&own);
    return rc;
}

static int list(struct catalog *c, struct arena *mem, struct err *err) {
    struct webhook_list all;
    int rc = webhooks_list(c, mem, &all, err);
    for (size_t i = 0; !rc && i < all.count; i++)
        printf("%s  %s\n", all.list[i].id, all.list[i].url);
    return rc;
}

#define LOG_MAX 50

/* 2026-11-21T21:58:25Z  we_...  evt_...  batch.completed  200 */
static int show_log(struct catalog *c, struct arena *mem, struct err *err) {
    struct delivery_list all;
    int rc = deliveries_recent(c, LOG_MAX, mem, &all, err);
    for (size_t i = rc ? 0 : all.count; i-- > 0;) {
        const struct delivery *d = &all.list[i];
        char at[40];
        cli_time(d->at, at);
        printf("%s  %s  %s  %s  ", at, d->endpoint, d->event, d->type);
        printf(d->message ? "failed: %s\n" : "delivered%s\n", d->message ? d->message : "");
    }
    return rc;
}

static int run(const char *what, const char *arg, const char *secret, struct err *err) {
    struct catalog *c = NULL;
    struct arena mem;
    bool is_list = strcmp(what, "list") == 0, is_log = strcmp(what, "log") == 0;
    if ((is_list || is_log) == (arg != NULL))
        return err_set(err, ERR_USAGE,
                       arg ? "%s takes nothing more" : "%s needs an address or an id", what);
    int rc = catalog_open(NULL, &c, err);
    arena_init(&mem, MEM_MAX);
    if (!rc && is_list)
        rc = list(c, &mem, err);
    else if (!rc && is_log)
        rc = show_log(c, &mem, err);
    else if (!rc && strcmp(what, "add") == 0)
        rc = add(c, arg, secret, &mem, err);
    else if (!rc && strcmp(what, "remove") == 0)
        rc = webhooks_delete(c, arg, err);
    else if (!rc)
        rc = err_set(err, ERR_USAGE, "add, list, log or remove, not \"%.40s\"", what);
    arena_release(&mem);
    catalog_close(c);
    return rc;
}

int cmd_webhook(int argc, char **argv) {
    const char *secret = NULL;
    struct opt opts[] = {{"secret", "TEXT", OPT_STR, &secret,
                          "to sign with (default: a new one, which is printed)", 0, NULL},
                         {0}};
    struct usage u = {.command = "webhook",
                      .args = "add URL | list | log | remove ID",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 2,
                      .summary = "Addresses that a running server tells when a fine-tuning job or "
                                 "a batch ends, signed as the SDKs check it.",
                      .example = "attune webhook add https://example.com/hooks/attune"};
    struct err err;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    const char *arg = u.positional_count > 1 ? u.positional[1] : NULL;
    return run(u.positional[0], arg, secret, &err) ? cli_fail("webhook", &err) : 0;
}
