/* attune key: who may use the server. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/clock.h"
#include "store/keys.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEM_MAX ((size_t)64 << 20)

static const struct {
    const char *name;
    unsigned bit;
} scopes[] = {{"inference", KEY_INFERENCE}, {"tuning", KEY_TUNING}, {"admin", KEY_ADMIN}};
#define SCOPE_COUNT (sizeof scopes / sizeof *scopes)

/* "inference,tuning" */
static int scopes_parse(const char *text, unsigned *ret, struct err *err) {
    unsigned bits = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ","), i = 0;
        while (i < SCOPE_COUNT && (strlen(scopes[i].name) != n || strncmp(scopes[i].name, at, n)))
            i++;
        if (i == SCOPE_COUNT)
            return err_set(err, ERR_USAGE,
                           "--scopes is a list of inference, tuning and admin, not \"%.60s\"",
                           text);
        bits |= scopes[i].bit;
        at += n + (at[n] == ',');
    }
    if (!bits) return err_set(err, ERR_USAGE, "--scopes names none");
    *ret = bits;
    return 0;
}

static void scopes_print(unsigned bits) {
    const char *sep = "";
    for (size_t i = 0; i < SCOPE_COUNT; i++) {
        if (!(bits & scopes[i].bit)) continue;
        printf("%s%s", sep, scopes[i].name);
        sep = ",";
    }
}

static void date_print(int64_t t) {
    char text[40];
    cli_time(t, text);
    printf("  %-16s", text);
}

struct key_options {
    const char *name, *scopes;
    double days;
};

static int create(struct catalog *c, const struct key_options *o, struct arena *mem,
                  struct err *err) {
    char secret[KEY_SIZE];
    struct api_key made, new = {.name = o->name};
    int rc = scopes_parse(o->scopes, &new.scopes, err);
    if (o->days > 0) new.expires_at = clock_unix() + (int64_t)(o->days * 86400);
    if (!rc) rc = keys_add(c, &new, secret, mem, &made, err);
    if (rc) return rc;
    printf("%s\n", secret); /* alone on standard output, for scripts */
    fprintf(stderr, "This is %s; it is shown only now. From now on every request needs a key.\n",
            made.id);
    return 0;
}

static int list(struct catalog *c, struct arena *mem, struct err *err) {
    struct key_list keys;
    int rc = keys_list(c, mem, &keys, err);
    if (rc) return rc;
    int64_t now = clock_unix();
    for (size_t i = 0; i < keys.count; i++) {
        const struct api_key *k = &keys.list[i];
        const char *state = k->revoked_at                           ? "revoked"
                            : k->expires_at && k->expires_at <= now ? "expired"
                                                                    : "valid";
        printf("%s  %s  %-7s", k->id, k->hint, state);
        date_print(k->created_at);
        date_print(k->expires_at);
        date_print(k->last_used_at);
        printf("  ");
        scopes_print(k->scopes);
        printf("%s%s\n", k->name ? "  " : "", k->name ? k->name : "");
    }
    return 0;
}

static int run(const char *what, const char *id, const struct key_options *o, struct err *err) {
    struct catalog *c = NULL;
    struct arena mem;
    bool revoke = strcmp(what, "revoke") == 0;
    if (revoke != (id != NULL))
        return err_set(err, ERR_USAGE,
                       revoke ? "revoke needs the id that \"attune key list\" shows"
                              : "unexpected argument");
    int rc = catalog_open(NULL, &c, err);
    arena_init(&mem, MEM_MAX);
    if (!rc && revoke)
        rc = keys_revoke(c, id, err);
    else if (!rc && strcmp(what, "create") == 0)
        rc = create(c, o, &mem, err);
    else if (!rc && strcmp(what, "list") == 0)
        rc = list(c, &mem, err);
    else if (!rc)
        rc = err_set(err, ERR_USAGE, "create, list or revoke, not \"%.40s\"", what);
    arena_release(&mem);
    catalog_close(c);
    return rc;
}

int cmd_key(int argc, char **argv) {
    struct key_options o = {.scopes = "inference,tuning,admin"};
    struct opt opts[] = {
        {"name", "TEXT", OPT_STR, &o.name, "what or whom it is for", 0, NULL},
        {"scopes", "LIST", OPT_STR, &o.scopes, "of inference, tuning, admin (default: all three)",
         0, NULL},
        {"days", "N", OPT_DOUBLE, &o.days, "until it expires (default: never)", 0, NULL},
        {0}};
    struct usage u = {.command = "key",
                      .args = "create | list | revoke ID",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 2,
                      .summary = "Keys of the server. Without any, it answers this machine alone; "
                                 "with one, every request needs one.",
                      .example = "attune key create --name laptop --scopes inference --days 90"};
    struct err err;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    const char *id = u.positional_count > 1 ? u.positional[1] : NULL;
    return run(u.positional[0], id, &o, &err) ? cli_fail("key", &err) : 0;
}
