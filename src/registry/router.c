#include "registry/router.h"

#include "base/buf.h"
#include "base/hash.h"
#include "store/fallbacks.h"
#include "store/routes.h"

#include <stdlib.h>
#include <string.h>

#define ALIAS_STEPS_MAX 8
#define WHO_MAX ((size_t)1 << 20)

int router_sticky_read(const char *text, enum router_sticky *ret, struct err *err) {
    static const char *const names[] = {"key", "user", "none"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum router_sticky)i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "\"%.40s\": sticky is key, user or none", text);
}

uint64_t router_unit(const char *salt, enum router_sticky sticky, const struct router_who *who,
                     bool *ret_sticks) {
    char hex[SHA256_HEX + 1];
    struct buf b;
    bool user = sticky != ROUTER_NONE && who->user.n;
    bool key = !user && sticky == ROUTER_KEY && who->key && who->key[0];
    struct str of = user ? who->user : str_of(key ? who->key : who->request);
    if (of.n > WHO_MAX / 2) of.n = WHO_MAX / 2;
    buf_init(&b, WHO_MAX);
    buf_printf(&b, "%.100s\n%s\n", salt, user ? "user" : key ? "key" : "request");
    buf_str(&b, of);
    sha256_of(buf_view(&b), hex);
    buf_release(&b);
    hex[16] = '\0';
    *ret_sticks = user || key;
    return strtoull(hex, NULL, 16);
}

bool router_picks(uint64_t unit, double share) { return (double)(unit >> 11) * 0x1p-53 < share; }

/* The split on the way from the alias to its model, and who is on which side. */
static int choose(struct catalog *c, const char *at, const struct router_who *who,
                  struct arena *mem, struct routed *ret, const char **ret_candidate,
                  struct err *err) {
    struct split s;
    enum router_sticky sticky = ROUTER_KEY;
    int rc = splits_get(c, at, mem, &s, err);
    if (!rc) rc = router_sticky_read(s.sticky, &sticky, err);
    if (rc) return rc;
    ret->alias = s.alias;
    ret->run = s.run;
    ret->share = s.share;
    ret->unit = router_unit(s.salt, sticky, who, &ret->sticks);
    ret->canary = router_picks(ret->unit, s.share);
    *ret_candidate = ret->canary ? s.candidate : NULL;
    return 0;
}

int router_resolve(struct catalog *c, const char *name, const struct router_who *who,
                   struct arena *mem, struct routed *ret, struct err *err) {
    const char *at = name, *candidate = NULL;
    struct err none;
    *ret = (struct routed){0};
    int rc = names_resolve(c, name, mem, &ret->model, err);
    if (rc || strcmp(ret->model.id, name) == 0) return rc;
    ret->alias = arena_strndup(mem, name, strlen(name));
    for (int steps = 0; steps <= ALIAS_STEPS_MAX; steps++) {
        struct route r;
        rc = choose(c, at, who, mem, ret, &candidate, &none);
        if (rc == ERR_NOT_FOUND) rc = routes_get(c, at, mem, &r, &none);
        if (rc || ret->run) break;
        at = r.target;
    }
    if (rc == ERR_NOT_FOUND) return 0; /* no split on the way */
    if (rc) return err_set(err, rc, "%s", none.msg);
    return candidate ? names_resolve(c, candidate, mem, &ret->model, err) : 0;
}

int router_fallback(struct catalog *c, const char *name, size_t n, struct arena *mem,
                    struct routed *ret, struct err *err) {
    const char *at = name, *list[FALLBACKS_MAX];
    size_t count = 0;
    for (int steps = 0; steps <= ALIAS_STEPS_MAX; steps++) {
        struct route r;
        int rc = fallbacks_get(c, at, mem, list, &count, err);
        if (!rc && count) break;
        if (!rc) rc = routes_get(c, at, mem, &r, err);
        if (rc) return rc;
        at = r.target;
    }
    if (n >= count) return err_set(err, ERR_NOT_FOUND, "\"%.100s\" has no more fallbacks", name);
    return names_resolve(c, list[n], mem, &ret->model, err);
}
