/* Who may: keys, and without keys only this machine's own names. */
#include "api/api.h"

#include "store/keys.h"

#include <strings.h>

/* the part of "Host: [::1]:8080" before the port */
static struct str host_name(const char *host) {
    struct str s = str_of(host);
    const char *end;
    if (s.n && s.p[0] == '[' && (end = memchr(s.p, ']', s.n)))
        return (struct str){s.p + 1, (size_t)(end - s.p) - 1};
    if (s.n && (end = memchr(s.p, ':', s.n))) s.n = (size_t)(end - s.p);
    return s;
}

static bool is_loopback_name(struct str name) {
    size_t digits = 0;
    if (name.n == 9 && strncasecmp(name.p, "localhost", 9) == 0) return true;
    if (str_ends(name, STR_LIT(".localhost")) || str_is(name, "::1")) return true;
    while (digits < name.n && memchr("0123456789.", name.p[digits], 11)) digits++;
    return str_starts(name, STR_LIT("127.")) && digits == name.n;
}

/* A page on the net may call itself evil.example, have that name point here, and then count as the
 * same site: without keys only requests to this machine's own names are answered. */
static int check_host(struct http_request *req, struct http_response *res) {
    const char *host = http_header(req, "Host");
    if (api_of(req)->any_host || !host || is_loopback_name(host_name(host))) return 0;
    return http_error(res, 403, "host_not_allowed", NULL,
                      "Without keys the server answers to localhost alone, not to \"%.100s\"; make "
                      "a key with \"attune key create\".",
                      host);
}

static const struct {
    enum http_scope scope;
    unsigned needs;
    const char *name;
} scopes[] = {{HTTP_INFERENCE, KEY_INFERENCE, "inference"},
              {HTTP_TUNING, KEY_TUNING, "tuning"},
              {HTTP_ADMIN, KEY_ADMIN, "admin"}};

static int check_scope(const struct api_key *key, enum http_scope scope,
                       struct http_response *res) {
    if (scope == HTTP_ANY_KEY) return 0;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        if (scopes[i].scope != scope) continue;
        if (key->scopes & (scopes[i].needs | KEY_ADMIN)) return 0;
        return http_error(res, 403, "insufficient_permissions", NULL,
                          "You have insufficient permissions for this operation. The key lacks the "
                          "scope %s.",
                          scopes[i].name);
    }
    return http_error(res, 403, "insufficient_permissions", NULL, "Not allowed.");
}

int api_authorize(struct http_request *req, enum http_scope scope, struct http_response *res,
                  struct err *err) {
    struct catalog *c = api_of(req)->catalog;
    struct api_key key;
    bool required = true;
    int rc = keys_required(c, &required, err);
    if (rc) return rc;
    if (!required) return check_host(req, res);
    const char *auth = http_header(req, "Authorization");
    if (!auth || strncasecmp(auth, "Bearer", 6) != 0 || strspn(auth + 6, " \t") == 0) {
        http_header_add(req, res, "WWW-Authenticate", STR_LIT("Bearer"));
        return http_error(res, 401, NULL, NULL,
                          "You didn't provide an API key. You need to provide your API key in an "
                          "Authorization header using Bearer auth (i.e. Authorization: Bearer "
                          "YOUR_KEY); \"attune key create\" makes one.");
    }
    auth += 6 + strspn(auth + 6, " \t");
    rc = keys_check(c, str_of(auth), req->arena, &key, err);
    if (rc == ERR_NOT_FOUND)
        return http_error(res, 401, "invalid_api_key", NULL,
                          "Incorrect API key provided: it is not known, has expired or was "
                          "revoked. \"attune key list\" shows those of this server.");
    if (rc) return rc;
    req->key = key.id;
    return check_scope(&key, scope, res);
}
