/* A line of scores from outside, read and compared: whatever is accepted has a verdict and an
 * interval that holds the difference, or neither. */
#include "eval/pairs.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct pairs_line p;
    struct comparison c;
    struct err err;
    if (pairs_line_read((struct str){(const char *)data, size}, "fuzz", &p, &err)) return 0;
    struct compare_options o = {.draws = 100};
    if (compare_paired(&(struct paired){p.a, p.b, p.cluster, p.n}, &o, &c, &err) == 0) {
        if (isfinite(c.low) && isfinite(c.difference) && fabs(c.difference) < 1e6 &&
            (c.low > c.difference + 1e-6 || c.high < c.difference - 1e-6))
            abort();
        if (c.method == METHOD_NONE && c.verdict != VERDICT_INCONCLUSIVE) abort();
    }
    pairs_line_release(&p);
    return 0;
}
