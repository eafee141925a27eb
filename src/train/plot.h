/* The loss curve of a job as SVG: steps (and their running mean) and held-out losses, from the
 * lines of a metrics file. */
#ifndef TRAIN_PLOT_H
#define TRAIN_PLOT_H

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

struct plot_point {
    double x, y;
};
struct plot {
    const struct plot_point *steps, *valid;
    int64_t step_count, valid_count;
    int64_t best_step; /* 0: none */
    const char *title;
};
void plot_svg(const struct plot *p, struct buf *out);

#endif
