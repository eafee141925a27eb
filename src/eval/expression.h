/* calculate_output of multi graders: + - * / ^, parentheses, min max abs floor ceil exp sqrt log
 * over names and numbers. ^ binds most and to the right; log is natural. */
#ifndef EVAL_EXPRESSION_H
#define EVAL_EXPRESSION_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct expression_value {
    struct str name; /* letters, digits and _, no digit first */
    double value;
};

bool expression_is_name(struct str s);
/* ERR_INVALID with the position for what is no expression, an unknown name, or a result that is no
 * finite number; ERR_LIMIT for one that is too deep. */
int expression_eval(struct str text, const struct expression_value *values, size_t count,
                    double *ret, struct err *err);

#endif
