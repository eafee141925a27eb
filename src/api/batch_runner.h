/* Batches, answered while the server runs: lines of the input file go through the handlers of their
 * endpoint, a few at a time, and the engine puts them into one batch with everybody else's requests
 * under an owner of their own. A batch that the server's end interrupts begins again at the next
 * start; answers become files when all are there. Of servers on one home one runs all batches. */
#ifndef API_BATCH_RUNNER_H
#define API_BATCH_RUNNER_H

#include "api/api.h"
#include "api/background.h"

/* The route that answers a batch's lines; NULL: batches are not for this path. */
const struct http_route *batch_endpoint(struct str path);

/* The oldest batch that waits, to its end; *ret_found false: none waits. *stop, once set, ends it
 * as soon as the lines under way are answered, and leaves it to be begun again. */
int batches_run(struct api *api, const _Atomic int *stop, bool *ret_found, struct err *err);

extern const struct background_work batch_work;

#endif
