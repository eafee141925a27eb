/* What is due by the clock: files and uploads whose time is over go. A thread of its own, which
 * looks once a minute; nothing is answered from what has expired in between. */
#ifndef API_KEEPER_H
#define API_KEEPER_H

#include "store/catalog.h"

struct keeper;
int keeper_start(struct catalog *c, struct keeper **ret, struct err *err);
void keeper_stop(struct keeper *k); /* NULL is fine */

/* One look, as of `now` in Unix seconds. */
int keeper_look(struct catalog *c, int64_t now, struct err *err);

#endif
