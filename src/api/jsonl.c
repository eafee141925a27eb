#include "api/jsonl.h"

#include "base/json.h"

#include <stdio.h>

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r') return false;
    return true;
}

static int check_line(struct str line, long long number, struct err *err) {
    char where[40];
    json_t *v = NULL;
    snprintf(where, sizeof where, "Line %lld", number);
    int rc = json_read(line, where, &v, err);
    if (!rc && !json_is_object(v)) rc = err_set(err, ERR_INVALID, "%s is not a JSON object", where);
    json_decref(v);
    return rc;
}

int jsonl_check(struct str text, struct err *err) {
    long long number = 0, objects = 0;
    int rc = 0;
    if (str_starts(text, STR_LIT("\xEF\xBB\xBF"))) text = str_from(text, 3);
    while (!rc && text.n) {
        const char *nl = memchr(text.p, '\n', text.n);
        struct str line = {text.p, nl ? (size_t)(nl - text.p) : text.n};
        text = str_from(text, line.n + (nl != NULL));
        number++;
        if (is_blank(line)) continue;
        objects++;
        rc = check_line(line, number, err);
    }
    return rc || objects ? rc : err_set(err, ERR_INVALID, "There is no line with an object");
}
