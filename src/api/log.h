/* The line for each request: words of the form name=value, those that clients choose in quotes and
 * escaped as in JSON, so that a line stays a line. */
#ifndef API_LOG_H
#define API_LOG_H

#include "api/http.h"

/* With its line end. `content`: the request's JSON body too, cut at 64 KiB. */
void http_log_write(const struct http_log *line, bool content, struct buf *out);

#endif
