/* Error codes and the error a function hands back.
 *
 * Every function that can fail returns 0 or a negative code and fills a struct err on the caller's
 * stack (never NULL). The message is complete enough to print as it is: lower case, what and why,
 * the offending value; a hint after "; " says what to do next. Library code never prints or exits.
 *
 *     if (!(f = fopen(...))) return err_sys(err, errno, "could not open \"%s\"", path);
 *     rc = model_open(dir, &m, err);
 *     if (rc) return err_wrap(err, "loading \"%s\"", dir);    // "loading "x": could not open ..."
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

/* name, value, process exit code, HTTP status, meaning */
#define ERR_MAP(X)                                                                                 \
    X(ERR_INVALID, -1, 1, 400, "invalid input")                                                    \
    X(ERR_USAGE, -2, 2, 400, "wrong use")                                                          \
    X(ERR_NOT_FOUND, -3, 1, 404, "not found")                                                      \
    X(ERR_IO, -4, 1, 500, "input/output error")                                                    \
    X(ERR_FULL, -5, 1, 507, "no space left")                                                       \
    X(ERR_LIMIT, -6, 1, 413, "limit exceeded")                                                     \
    X(ERR_UNSUPPORTED, -7, 1, 400, "not supported")                                                \
    X(ERR_CORRUPT, -8, 1, 422, "damaged data")                                                     \
    X(ERR_CANCELLED, -9, 130, 499, "cancelled")                                                    \
    X(ERR_CONFLICT, -10, 1, 409, "conflict")                                                       \
    X(ERR_INTERNAL, -11, 1, 500, "internal error")                                                 \
    X(ERR_BUSY, -12, 1, 429, "too many requests")

enum err_code {
    ERR_OK = 0,
#define X(name, value, exit_code, http, text) name = value,
    ERR_MAP(X)
#undef X
};

struct err {
    int code;
    char msg[480];
};

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Set the message and return `code`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with ": strerror(errnum)" appended; the code follows errnum (ENOSPC gives ERR_FULL). */
int err_sys(struct err *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Put context before the present message; returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

const char *err_name(int code);
int err_exit_code(int code);
int err_http_status(int code);

#endif
