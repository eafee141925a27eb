/* A handler's answer to a JSON body without a connection: how batches are answered. */
#ifndef API_HTTP_CALL_H
#define API_HTTP_CALL_H

#include "api/http.h"

struct http_called {
    int status;
    char request_id[HTTP_REQUEST_ID];
    json_t *body; /* json_decref; null where the answer is no JSON */
};
/* user: as of the server's options. Waits until the answer is whole; a stream is read to its end
 * and is no JSON. */
void http_call(http_handler *handle, const json_t *body, void *user, struct http_called *ret);

#endif
