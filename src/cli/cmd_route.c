/* attune route: names that stand for models, so that a program can ask for "production". */
#include "cli/cli.h"
#include "cli/opts.h"

#include "registry/names.h"
#include "store/fallbacks.h"
#include "store/routes.h"
#include "store/splits.h"

#include <stdio.h>
#include <string.h>

#define MEM_MAX ((size_t)64 << 20)

static int print_route(struct catalog *c, const struct route *r, struct arena *mem,
                       struct err *err) {
    struct split s;
    const char *fallbacks[FALLBACKS_MAX];
    size_t n = 0;
    printf("%-24s %s", r->name, r->target);
    int rc = splits_get(c, r->name, mem, &s, err);
    if (!rc) printf(", %g %% to %s", 100 * s.share, s.candidate);
    if (!rc || rc == ERR_NOT_FOUND) rc = fallbacks_get(c, r->name, mem, fallbacks, &n, err);
    for (size_t i = 0; !rc && i < n; i++) printf("%s %s", i ? "," : ", else", fallbacks[i]);
    putchar('\n');
    return rc;
}

static int list(struct catalog *c, struct arena *mem, struct err *err) {
    struct route_list routes;
    int rc = routes_list(c, mem, &routes, err);
    for (size_t i = 0; !rc && i < routes.count; i++) rc = print_route(c, &routes.list[i], mem, err);
    return rc;
}

/* Without --fallback those that are there stay. */
static int set(const struct usage *u, const struct opt_list *fallbacks,
               const struct audit_cause *cause, struct catalog *c, struct arena *mem,
               struct err *err) {
    const char *name = u->positional[1];
    struct named_model m;
    int rc = 0;
    for (size_t i = 0; !rc && i < fallbacks->count; i++) {
        rc = names_resolve(c, fallbacks->values[i], mem, &m, err);
        if (rc == ERR_NOT_FOUND)
            rc = err_set(err, rc, "--fallback \"%.100s\" is no model here", fallbacks->values[i]);
    }
    if (!rc) rc = names_set_alias(c, name, u->positional[2], cause, err);
    if (!rc && fallbacks->count)
        rc = fallbacks_set(c, name, fallbacks->values, fallbacks->count, cause, err);
    return rc;
}

static int wrong_count(const char *what, const char *args, struct err *err) {
    return err_set(err, ERR_USAGE, "%s takes %s", what, args);
}

static int run(const struct usage *u, const struct opt_list *fallbacks,
               const struct audit_cause *cause, struct catalog *c, struct arena *mem,
               struct err *err) {
    const char *what = u->positional[0], *name = u->positional[1];
    int count = u->positional_count - 1;
    if (strcmp(what, "set") == 0)
        return count == 2 ? set(u, fallbacks, cause, c, mem, err)
                          : wrong_count("set", "NAME TARGET", err);
    if (strcmp(what, "list") == 0)
        return count == 0 ? list(c, mem, err) : wrong_count("list", "nothing more", err);
    if (strcmp(what, "remove") == 0)
        return count == 1 ? routes_delete(c, name, cause, err) : wrong_count("remove", "NAME", err);
    return err_set(err, ERR_USAGE, "set, list or remove, not \"%.40s\"", what);
}

int cmd_route(int argc, char **argv) {
    const char *reason = NULL;
    char actor[ACTOR_SIZE];
    struct opt_list fallbacks = {.count = 0};
    struct opt opts[] = {{"fallback", "MODEL", OPT_LIST, &fallbacks,
                          "answers where the target fails; again for more, in this order", 0, NULL},
                         {"reason", "TEXT", OPT_STR, &reason, "why; kept in the log", 0, NULL},
                         {0}};
    struct usage u = {.command = "route",
                      .args = "set NAME TARGET | list | remove NAME",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 3,
                      .summary = "Names that stand for models. A running server follows at once.",
                      .example = "attune route set production ft:starter:local:support:Ab3dE9xY"};
    struct err err;
    struct arena mem;
    struct catalog *c = NULL;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    arena_init(&mem, MEM_MAX);
    int rc = catalog_open(NULL, &c, &err);
    struct audit_cause cause = {.actor = cli_actor(actor), .reason = reason};
    if (!rc) rc = run(&u, &fallbacks, &cause, c, &mem, &err);
    catalog_close(c);
    arena_release(&mem);
    return rc ? cli_fail("route", &err) : 0;
}
