/* Circuit breakers: a model that keeps failing is left alone for a while when there is another to
 * ask. Each model has its own; what happens to one never blocks another.
 *
 *   closed     asked; three failures in a row open it
 *   open       not asked, for 1 s, then twice as long each time, up to 60 s, each time 25 % more or
 *              less at random so that servers do not ask in step
 *   half open  after that one request asks; its end closes it or opens it again
 *
 * In memory; a restart begins closed. Any thread. */
#ifndef REGISTRY_BREAKER_H
#define REGISTRY_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breakers;
struct breakers *breakers_new(uint64_t seed);
void breakers_free(struct breakers *b); /* NULL is fine */

/* NULL b: always. now: milliseconds of any clock that does not go back. */
bool breaker_allows(struct breakers *b, const char *model, int64_t now);
void breaker_ended(struct breakers *b, const char *model, bool failed, int64_t now);

#endif
