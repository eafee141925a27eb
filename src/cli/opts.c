#include "cli/opts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool size_parse(const char *text, size_t *ret) {
    char *end;
    errno = 0;
    double x = strtod(text, &end);
    if (end == text || errno || !(x >= 0)) return false;
    static const char units[] = "KMGT";
    double factor = 1;
    if (*end) {
        const char *u = strchr(units, *end >= 'a' ? *end - 32 : *end);
        if (!u) return false;
        factor = pow(1024, (double)(u - units + 1));
        end++;
        if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0) end = "";
    }
    if (*end || x * factor > 1e18) return false;
    *ret = (size_t)(x * factor);
    return true;
}

static int help(const struct usage *u) {
    printf("%s\n\nusage: attune %s%s%s\n", u->summary, u->command, u->args ? " " : "",
           u->args ? u->args : "");
    if (u->opts[0].name) printf("\noptions:\n");
    for (const struct opt *o = u->opts; o->name; o++) {
        if (!o->help) continue;
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-28s %s\n", left, o->help);
    }
    if (u->example) printf("\nexample:\n  %s\n", u->example);
    return 0;
}

static int wrong(const struct usage *u, const char *what, const char *value) {
    fprintf(stderr, "attune %s: %s%s%s%s; see \"attune %s --help\"\n", u->command, what,
            value ? " \"" : "", value ? value : "", value ? "\"" : "", u->command);
    return 2;
}

static const struct opt *find(const struct usage *u, const char *name, size_t n) {
    for (const struct opt *o = u->opts; o->name; o++)
        if (strlen(o->name) == n && strncmp(o->name, name, n) == 0) return o;
    return NULL;
}

static bool number(const char *text, double min, double *ret) {
    char *end;
    errno = 0;
    *ret = strtod(text, &end);
    return end != text && !*end && !errno && isfinite(*ret) && *ret >= min;
}

static bool whole(const char *text, double min, long long *ret) {
    char *end;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return end != text && !*end && !errno && (double)*ret >= min;
}

static bool list_add(struct opt_list *list, const char *value) {
    if (list->count == OPT_LIST_MAX) return false;
    list->values[list->count++] = value;
    return true;
}

bool opt_assign(const struct opt *o, const char *value) {
    long long i;
    char *end;
    switch (o->kind) {
    case OPT_STR: *(const char **)o->to = value; return true;
    case OPT_DOUBLE: return number(value, o->min, o->to);
    case OPT_SIZE: return size_parse(value, o->to) && (double)*(size_t *)o->to >= o->min;
    case OPT_U64:
        errno = 0;
        *(uint64_t *)o->to = strtoull(value, &end, 10);
        return *value != '-' && end != value && !*end && !errno;
    case OPT_FLAG:
    case OPT_BOOL:
        if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0) return false;
        *(bool *)o->to = value[0] == '1';
        return true;
    case OPT_I64:
        if (!whole(value, o->min, &i)) return false;
        *(int64_t *)o->to = i;
        return true;
    case OPT_INT:
        if (!whole(value, o->min, &i) || i > 1000000) return false;
        *(int *)o->to = (int)i;
        return true;
    case OPT_LIST: return list_add(o->to, value);
    }
    return false;
}

/* argv[*i] is an option; moves *i over its value */
static int option(const struct usage *u, int argc, char **argv, int *i) {
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    const struct opt *o = find(u, name, eq ? (size_t)(eq - name) : strlen(name));
    if (!o) return wrong(u, "no such option:", argv[*i]);
    if (o->seen) *o->seen = true;
    if (o->kind == OPT_FLAG) {
        if (eq) return wrong(u, "takes no value:", argv[*i]);
        *(bool *)o->to = true;
        return -1;
    }
    if (!eq && *i + 1 >= argc) return wrong(u, "needs a value:", argv[*i]);
    const char *value = eq ? eq + 1 : argv[++*i];
    if (opt_assign(o, value)) return -1;
    char what[128];
    snprintf(what, sizeof what, "--%s takes %s%s, not", o->name, o->arg,
             o->min > 0 ? " (positive)" : "");
    return wrong(u, what, value);
}

static int required_check(const struct usage *u, int argc, char **argv) {
    const char *at = u->required;
    while (at && *at) {
        size_t n = strcspn(at, " ");
        bool given = false;
        for (int i = 1; i < argc; i++)
            given |= strncmp(argv[i], "--", 2) == 0 && strncmp(argv[i] + 2, at, n) == 0 &&
                     (argv[i][2 + n] == '\0' || argv[i][2 + n] == '=');
        if (!given) {
            char what[64];
            snprintf(what, sizeof what, "--%.*s is missing", (int)n, at);
            return wrong(u, what, NULL);
        }
        at += n + (at[n] == ' ');
    }
    return -1;
}

int opts_parse(struct usage *u, int argc, char **argv) {
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        if (!only_args && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
            return help(u);
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && strncmp(argv[i], "--", 2) == 0) {
            int rc = option(u, argc, argv, &i);
            if (rc >= 0) return rc;
        } else if (u->positional_count == u->args_max) {
            return wrong(u, "unexpected argument", argv[i]);
        } else {
            u->positional[u->positional_count++] = argv[i];
        }
    }
    if (u->positional_count < u->args_min) return wrong(u, "an argument is missing", NULL);
    return required_check(u, argc, argv);
}
