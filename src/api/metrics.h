/* Numbers of a running server, rendered as Prometheus text (exposition format 0.0.4). Families are
 * declared once at start; samples appear with their first value. Any thread.
 *
 *     struct metric *m = metric_counter(all, "attune_requests_total", "requests answered");
 *     metric_add(m, "method=\"GET\",status=\"200\"", 1);
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "base/buf.h"

#define METRIC_SAMPLES_MAX 1000 /* label sets of a family; more are counted under overflow="1" */

struct metrics;
struct metric;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *all);
/* name and help are static. */
struct metric *metric_counter(struct metrics *all, const char *name, const char *help);
struct metric *metric_gauge(struct metrics *all, const char *name, const char *help);
/* upper bounds, rising, `count` of them and static; a last bucket without bound is added */
struct metric *metric_histogram(struct metrics *all, const char *name, const char *help,
                                const double *bounds, int count);
/* labels: `a="x",b="y"` or "". Values in it come from fixed sets or metric_label. */
void metric_add(struct metric *m, const char *labels, double x); /* counter, gauge */
void metric_set(struct metric *m, const char *labels, double x); /* gauge */
void metric_observe(struct metric *m, const char *labels, double x);
/* name="value" with the value escaped, after a comma where labels has something */
void metric_label(struct buf *labels, const char *name, struct str value);

void metrics_write(struct metrics *all, struct buf *out);

#endif
