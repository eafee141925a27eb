/* A canary's steps, plan and state, a line each. What is accepted goes on, and reads as the same
 * after it was written. */
#include "jobs/canary.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void go_on(struct canary *s) {
    enum canary_stream which;
    double p95, range[2];
    for (uint64_t i = 0; i < 8; i++)
        canary_add(s, &(struct canary_event){.canary = i & 1,
                                             .sticks = i & 2,
                                             .unit = i << 60,
                                             .share = s->plan.steps[s->step],
                                             .bad = {(signed char)(i >> 2), -1, 0, -1},
                                             .seconds = (double)i});
    if (canary_judge(s, 0, &which) == CANARY_STEP) canary_advance(s);
    canary_p95(s, true, &p95, range);
    canary_is_slower(s);
}

static void write_and_read(struct canary *s) {
    struct err err;
    struct canary again;
    json_t *v = canary_write(s), *w;
    char *text = json_dumps(v, 0);
    canary_init(&again, &s->plan);
    if (!text || canary_read(text, &again, &err)) abort();
    w = canary_write(&again);
    if (!json_equal(v, w)) abort();
    canary_release(&again);
    json_decref(v);
    json_decref(w);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err;
    struct canary_plan p = {0};
    struct canary s;
    char *text = mem_alloc(n + 1), *plan, *state;
    memcpy(text, data, n);
    text[n] = '\0';
    if ((plan = strchr(text, '\n'))) *plan++ = '\0';
    state = plan ? strchr(plan, '\n') : NULL;
    if (state) *state++ = '\0';
    canary_steps_read(text, &p, &err);
    if (state && canary_plan_read(plan, &p, &err) == 0) {
        canary_init(&s, &p);
        if (canary_read(state, &s, &err) == 0) {
            go_on(&s);
            write_and_read(&s);
        }
        canary_release(&s);
    }
    mem_free(text);
    return 0;
}
