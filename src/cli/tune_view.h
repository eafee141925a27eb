/* What a person sees while a model is tuned: the plan, a live line (plain lines where standard
 * error is no terminal), the end. */
#ifndef CLI_TUNE_VIEW_H
#define CLI_TUNE_VIEW_H

#include "train/train.h"

struct tune_view {
    bool live;          /* a terminal: the progress line is drawn over itself */
    bool line_open;     /* the live line is on the screen */
    double last_valid;  /* NaN before the first validation */
    int64_t last_plain; /* step of the last plain line */
    const char *data, *out;
};

void tune_view_init(struct tune_view *v, const char *data, const char *out);
struct train_events tune_view_events(struct tune_view *v);
void tune_view_end(struct tune_view *v, const struct train_result *r);
/* "3 m 20 s", "1.4 GiB" into text */
void format_seconds(double seconds, char *text, size_t size);
void format_bytes(double bytes, char *text, size_t size);

#endif
