/* calculate_output of a multi grader: what is accepted is a finite number. */
#include "eval/expression.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    const struct expression_value values[] = {{STR_LIT("a"), 0.25}, {STR_LIT("b"), 1}};
    struct err err;
    double x;
    if (expression_eval((struct str){(const char *)data, size}, values, 2, &x, &err) == 0 &&
        !isfinite(x))
        abort();
    return 0;
}
