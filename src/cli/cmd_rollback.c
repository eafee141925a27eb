/* attune rollback: an alias leads again to what it led to before. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/arena.h"
#include "registry/lifecycle.h"

#include <stdio.h>

#define MEM_MAX ((size_t)64 << 20)

int cmd_rollback(int argc, char **argv) {
    const char *reason = NULL;
    struct opt opts[] = {{"reason", "TEXT", OPT_STR, &reason, "why; kept in the log", 0, NULL},
                         {0}};
    struct usage u = {.command = "rollback",
                      .args = "[ALIAS]",
                      .opts = opts,
                      .args_max = 1,
                      .summary = "An alias (production, unless named) leads again to what it led "
                                 "to before. A running server follows with the next request.",
                      .example = "attune rollback production --reason \"wrong dates\""};
    struct err err;
    struct arena mem;
    struct catalog *c = NULL;
    char actor[ACTOR_SIZE];
    const char *model = NULL;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    const char *alias = u.positional_count ? u.positional[0] : "production";
    struct audit_cause cause = {.actor = cli_actor(actor), .reason = reason};
    arena_init(&mem, MEM_MAX);
    int rc = catalog_open(NULL, &c, &err);
    if (!rc) rc = lifecycle_rollback(c, alias, &cause, &mem, &model, &err);
    if (!rc) printf("%s leads to %s again\n", alias, model);
    catalog_close(c);
    arena_release(&mem);
    return rc ? cli_fail("rollback", &err) : 0;
}
