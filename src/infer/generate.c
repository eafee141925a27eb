/* Generation from one session, token by token. A scheduler over many sessions runs the same steps
 * with session_eval_batch in the place of session_eval. */
#include "infer/generate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "infer/text_stream.h"

#define TEXT_MAX ((size_t)64 << 20)
#define PROMPT_PIECE 512 /* tokens between two looks at the cancel flag */

const char *finish_reason_name(enum finish_reason r) {
    switch (r) {
    case FINISH_STOP: return "stop";
    case FINISH_LENGTH: return "length";
    case FINISH_CANCELLED: return "cancelled";
    }
    return "unknown";
}

struct run {
    struct session *s;
    struct num *num;
    const struct generate_options *o;
    struct generate_result *r;
    struct sampler sampler;
    struct text_stream stream;
    float *logits;
};

static bool cancelled(const struct run *g) { return g->o->cancel && *g->o->cancel; }

static int check_prompt(const struct run *g, struct err *err) {
    int64_t n = g->o->prompt_count, room = session_max(g->s);
    if (n < 1)
        return err_set(err, ERR_INVALID,
                       "the prompt is empty, and this model has no token to begin with");
    if (n >= room)
        return err_set(err, ERR_LIMIT,
                       "the prompt has %lld tokens; %lld fit beside one of the answer",
                       (long long)n, (long long)(room - 1));
    return 0;
}

/* leaves the session with the prompt; *done is false when it was cancelled before the end */
static int read_prompt(struct run *g, bool *done, struct err *err) {
    const int32_t *prompt = g->o->prompt, *have = session_ids(g->s);
    int64_t n = g->o->prompt_count, length = session_length(g->s), at = 0;
    while (at < length && at < n - 1 && have[at] == prompt[at]) at++;
    session_rewind(g->s, at);
    int rc = 0;
    for (int64_t piece; !rc && at < n && !cancelled(g); at += piece) {
        piece = n - at < PROMPT_PIECE ? n - at : PROMPT_PIECE;
        rc =
            session_eval(g->s, g->num, prompt + at, piece, at + piece == n ? g->logits : NULL, err);
    }
    *done = at == n;
    return rc;
}

static int take(struct run *g, int32_t id, struct err *err) {
    struct str piece;
    g->r->ids[g->r->count++] = id;
    int rc = text_stream_add(&g->stream, id, &piece, err);
    if (!rc && piece.n && g->o->on_text) g->o->on_text(g->o->ctx, piece);
    return rc;
}

static int decode_loop(struct run *g, int64_t limit, struct err *err) {
    const struct model *m = session_model(g->s);
    while (g->r->count < limit) {
        if (cancelled(g)) {
            g->r->finish = FINISH_CANCELLED;
            return 0;
        }
        int32_t id = sampler_pick(&g->sampler, g->logits, NULL);
        if (id < 0) return err_set(err, ERR_INVALID, "the biases leave no token that may come");
        if (model_is_stop(m, id)) {
            g->r->finish = FINISH_STOP;
            return 0;
        }
        int rc = take(g, id, err);
        if (!rc && g->r->count < limit) rc = session_eval(g->s, g->num, &id, 1, g->logits, err);
        if (rc) return rc;
    }
    g->r->finish = FINISH_LENGTH;
    return 0;
}

/* decode(prompt + ids) without what decode(prompt) gives; a prompt that ends inside a code point
 * shares less than all of its text */
static int whole_text(struct run *g, struct err *err) {
    const struct tokenizer *t = model_tokenizer(session_model(g->s));
    const struct generate_options *o = g->o;
    struct token_list all = {0};
    struct buf before, after;
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    for (int64_t i = 0; i < o->prompt_count; i++) token_list_add(&all, o->prompt[i]);
    for (int64_t i = 0; i < g->r->count; i++) token_list_add(&all, g->r->ids[i]);
    int rc = tokenizer_decode(t, all.ids, o->prompt_count, !o->keep_special, &before, err);
    if (!rc) rc = tokenizer_decode(t, all.ids, all.n, !o->keep_special, &after, err);
    size_t same = 0;
    while (!rc && same < before.n && same < after.n && before.p[same] == after.p[same]) same++;
    while (same > 0 && same < after.n && ((unsigned char)after.p[same] & 0xC0) == 0x80) same--;
    if (!rc) buf_str(&g->r->text, str_from(buf_view(&after), same));
    buf_release(&after);
    buf_release(&before);
    token_list_release(&all);
    return rc;
}

static int run(struct run *g, struct err *err) {
    const struct generate_options *o = g->o;
    int64_t room = session_max(g->s) - o->prompt_count;
    int64_t limit = o->max_tokens < room ? o->max_tokens : room;
    bool done = false;
    double start = clock_seconds();
    int rc = mem_try((size_t)(limit > 0 ? limit : 1), sizeof *g->r->ids, "answer",
                     (void **)&g->r->ids, err);
    if (!rc) rc = read_prompt(g, &done, err);
    if (rc) return rc;
    g->r->prompt_seconds = clock_seconds() - start;
    start = clock_seconds();
    g->r->finish = FINISH_CANCELLED;
    if (done) rc = decode_loop(g, limit, err);
    g->r->decode_seconds = clock_seconds() - start;
    struct str rest = STR_LIT("");
    if (!rc) rc = text_stream_end(&g->stream, &rest, err);
    if (rest.n && o->on_text) o->on_text(o->ctx, rest);
    return rc ? rc : whole_text(g, err);
}

int generate(struct session *s, struct num *num, const struct generate_options *o,
             struct generate_result *ret, struct err *err) {
    const struct model *m = session_model(s);
    struct generate_result result = {0};
    struct run g = {.s = s, .num = num, .o = o, .r = &result};
    buf_init(&result.text, TEXT_MAX);
    size_t vocab = (size_t)model_config(m)->vocab;
    int rc = check_prompt(&g, err);
    if (!rc) rc = sampler_init(&g.sampler, num, &o->sampling, (int64_t)vocab, err);
    if (!rc)
        rc = text_stream_init(&g.stream, model_tokenizer(m), !o->keep_special, o->prompt,
                              o->prompt_count, err);
    if (!rc) rc = mem_try(vocab, sizeof *g.logits, "logits", (void **)&g.logits, err);
    if (!rc) rc = run(&g, err);
    mem_free(g.logits);
    text_stream_release(&g.stream);
    sampler_release(&g.sampler);
    if (rc)
        generate_result_release(&result);
    else
        *ret = result;
    return rc;
}

void generate_result_release(struct generate_result *r) {
    mem_free(r->ids);
    buf_release(&r->text);
    *r = (struct generate_result){0};
}
