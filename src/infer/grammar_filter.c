#include "infer/grammar_filter.h"

static int mask(void *ctx, uint64_t *allowed, int64_t vocab, struct err *err) {
    (void)err;
    grammar_mask(ctx, allowed, vocab);
    return 0;
}

static int accept(void *ctx, int32_t id, struct err *err) {
    if (!grammar_accept(ctx, id))
        return err_set(err, ERR_INTERNAL, "token %d came where the grammar forbids it", id);
    return grammar_must_stop(ctx) ? 1 : 0;
}

static void release(void *ctx) { grammar_state_free(ctx); }

int grammar_filter(struct grammar *g, struct grammar_vocab *v, struct engine_filter *ret,
                   struct err *err) {
    struct grammar_state *state = NULL;
    int rc = grammar_state_new(g, v, &state, err);
    if (!rc)
        *ret = (struct engine_filter){
            .ctx = state, .mask = mask, .accept = accept, .release = release};
    return rc;
}

void grammar_filter_release(struct engine_filter *f) {
    if (f->ctx) f->release(f->ctx);
    *f = (struct engine_filter){0};
}
