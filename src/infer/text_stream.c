/* Incremental decoding over a window that begins where text was last handed out. */
#include "infer/text_stream.h"

#include <string.h>

#define CONTEXT_TOKENS 16
#define HELD_MAX 16 /* tokens held back before broken bytes are handed out as they are */
#define TEXT_MAX ((size_t)16 << 20)

static bool begins_inside_code_point(const struct tokenizer *t, int32_t id) {
    struct str bytes = tokenizer_bytes(t, id);
    return bytes.n > 0 && ((unsigned char)bytes.p[0] & 0xC0) == 0x80;
}

int text_stream_init(struct text_stream *ret, const struct tokenizer *t, bool skip_special,
                     const int32_t *context, int64_t n, struct err *err) {
    struct text_stream s = {.tokenizer = t, .skip_special = skip_special};
    int64_t from = n > CONTEXT_TOKENS ? n - CONTEXT_TOKENS : 0;
    while (from < n && begins_inside_code_point(t, context[from])) from++;
    for (int64_t i = from; i < n; i++) token_list_add(&s.ids, context[i]);
    s.settled = s.ids.n;
    buf_init(&s.before, TEXT_MAX);
    buf_init(&s.after, TEXT_MAX);
    int rc = tokenizer_decode(t, s.ids.ids, s.settled, skip_special, &s.before, err);
    if (rc) {
        text_stream_release(&s);
        return rc;
    }
    *ret = s;
    return 0;
}

void text_stream_release(struct text_stream *s) {
    token_list_release(&s->ids);
    buf_release(&s->before);
    buf_release(&s->after);
}

static struct str fresh_text(const struct text_stream *s) {
    struct str before = buf_view(&s->before), after = buf_view(&s->after);
    return str_starts(after, before) ? str_from(after, before.n) : STR_LIT("");
}

/* everything so far is out: the next window begins with the tokens that made the last piece */
static int settle(struct text_stream *s, struct err *err) {
    s->window = s->settled;
    s->settled = s->ids.n;
    buf_clear(&s->before);
    return tokenizer_decode(s->tokenizer, s->ids.ids + s->window, s->settled - s->window,
                            s->skip_special, &s->before, err);
}

int text_stream_add(struct text_stream *s, int32_t id, struct str *ret, struct err *err) {
    token_list_add(&s->ids, id);
    buf_clear(&s->after);
    int rc = tokenizer_decode(s->tokenizer, s->ids.ids + s->window, s->ids.n - s->window,
                              s->skip_special, &s->after, err);
    if (rc) return rc;
    struct str fresh = fresh_text(s);
    bool broken =
        str_ends(fresh, STR_LIT("\xEF\xBF\xBD")); /* what a decoder makes of half a code point */
    *ret = STR_LIT("");
    if (fresh.n == 0 || (broken && s->ids.n - s->settled < HELD_MAX)) return 0;
    *ret = fresh;
    return settle(s, err);
}

struct str text_stream_end(struct text_stream *s) {
    struct str rest = s->ids.n > s->settled ? fresh_text(s) : STR_LIT("");
    s->settled = s->ids.n;
    return rest;
}
