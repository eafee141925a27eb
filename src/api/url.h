/* Request targets: path and query as a client sends them, split and percent-decoded, and matched
 * against the patterns of routes. Nothing fails: a "%" without two hex digits stands for itself.
 * Any bytes are fine; results live in the arena. */
#ifndef API_URL_H
#define API_URL_H

#include "api/http.h"

#define URL_QUERY_MAX 128 /* parameters; more are an error */

/* "/a/b?x=1#f" into "/a/b" and "x=1"; parts of `target`, as sent. */
void url_split(struct str target, struct str *ret_path, struct str *ret_query);
/* `plus`: "+" is a space, as in queries. */
struct str url_decode(struct arena *a, struct str raw, bool plus);
/* ERR_INVALID when there are too many. */
int url_query(struct arena *a, struct str raw, const struct http_pair **ret, size_t *ret_count,
              struct err *err);
/* "/v1models" is "/v1/models"; the rest stays. */
struct str url_versioned(struct arena *a, struct str path);
/* Does the path, as sent, fit the pattern (http.h)? Its parameters are decoded into `param`. Empty
 * segments of the path count for nothing. */
bool url_match(struct arena *a, const char *pattern, struct str path,
               struct str param[HTTP_PARAMS_MAX]);

#endif
