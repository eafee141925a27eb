#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    err->code = code;
    return code;
}

static int code_of_errno(int errnum) {
    switch (errnum) {
    case ENOSPC:
    case EDQUOT: return ERR_FULL;
    case ENOENT: return ERR_NOT_FOUND;
    case ENOMEM: return ERR_LIMIT;
    default: return ERR_IO;
    }
}

int err_sys(struct err *err, int errnum, const char *fmt, ...) {
    char what[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    char reason[128];
    const char *text = strerror_r(errnum, reason, sizeof reason);
    return err_set(err, code_of_errno(errnum), "%s: %s", what, text);
}

int err_wrap(struct err *err, const char *fmt, ...) {
    char inner[sizeof err->msg];
    memcpy(inner, err->msg, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    size_t at = (size_t)n < sizeof err->msg ? (size_t)n : sizeof err->msg - 1;
    size_t room = sizeof err->msg - at;
    snprintf(err->msg + at, room, ": %.*s", (int)room, inner);
    return err->code;
}

const char *err_name(int code) {
    switch (code) {
    case ERR_OK: return "OK";
#define X(name, value, exit_code, http, text)                                                      \
    case name: return #name;
        ERR_MAP(X)
#undef X
    default: return "ERR_UNKNOWN";
    }
}

int err_exit_code(int code) {
    switch (code) {
    case ERR_OK: return 0;
#define X(name, value, exit_code, http, text)                                                      \
    case name: return exit_code;
        ERR_MAP(X)
#undef X
    default: return 1;
    }
}

int err_http_status(int code) {
    switch (code) {
    case ERR_OK: return 200;
#define X(name, value, exit_code, http, text)                                                      \
    case name: return http;
        ERR_MAP(X)
#undef X
    default: return 500;
    }
}
