/* The engine's numbers as Prometheus text, behind those of metrics.h. */
#ifndef API_ENGINE_METRICS_H
#define API_ENGINE_METRICS_H

#include "base/buf.h"
#include "infer/engine.h"

void engine_metrics_write(struct engine *e, struct buf *out);

#endif
