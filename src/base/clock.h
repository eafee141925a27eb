#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ns(void);     /* monotonic, for durations */
double clock_seconds(void); /* the same in seconds */
int64_t clock_unix(void);   /* wall clock, seconds since 1970 */
int64_t clock_unix_ms(void);

#endif
