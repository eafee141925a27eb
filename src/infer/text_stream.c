/* Incremental decoding over a window that begins where text was last handed out. */
#include "infer/text_stream.h"

#include "base/utf8.h"

#include <string.h>

#define CONTEXT_TOKENS 16
#define HELD_MAX 16 /* tokens held back before broken bytes are handed out as they are */
#define TEXT_MAX ((size_t)16 << 20)

static bool begins_inside_code_point(const struct tokenizer *t, int32_t id) {
    struct str bytes = tokenizer_bytes(t, id);
    return bytes.n > 0 && ((unsigned char)bytes.p[0] & 0xC0) == 0x80;
}

static int decode(const struct text_stream *s, int64_t end, struct buf *out, struct err *err) {
    buf_clear(out);
    return tokenizer_decode(s->tokenizer, s->ids.ids + s->window, end - s->window, s->skip_special,
                            out, err);
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
    int rc = decode(&s, s.settled, &s.before, err);
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

/* from the first character that is not out yet */
static struct str fresh_text(const struct text_stream *s) {
    struct str before = buf_view(&s->before), after = buf_view(&s->after);
    size_t same = 0;
    while (same < before.n && same < after.n && before.p[same] == after.p[same]) same++;
    while (same > 0 && same < after.n && ((unsigned char)after.p[same] & 0xC0) == 0x80) same--;
    return str_from(after, same);
}

/* everything so far is out: the next window begins with the tokens that made the last piece */
static int settle(struct text_stream *s, struct err *err) {
    s->window = s->settled;
    s->settled = s->ids.n;
    return decode(s, s->settled, &s->before, err);
}

/* "<0xE4>": the decoder judges a run of these as a whole, so that one bad byte spoils all of it */
static bool is_byte(const struct tokenizer *t, int32_t id) {
    struct str token = tokenizer_token(t, id);
    return token.n == 6 && str_starts(token, STR_LIT("<0x")) && tokenizer_bytes(t, id).n == 1;
}

static bool held_are_whole_characters(const struct text_stream *s) {
    char bytes[HELD_MAX + 4];
    struct str all = {bytes, 0};
    for (int64_t i = s->settled; i < s->ids.n; i++) {
        struct str one = tokenizer_bytes(s->tokenizer, s->ids.ids[i]);
        if (one.n != 1 || all.n == sizeof bytes) return false;
        bytes[all.n++] = one.p[0];
    }
    return all.n >= HELD_MAX && utf8_valid_prefix(all) == all.n;
}

/* Out, or without text: the tokens go, and what follows stands behind the same context. */
static int forget_held(struct text_stream *s, struct err *err) {
    if (s->window == s->settled) return settle(s, err);
    s->ids.n = s->settled;
    return 0;
}

int text_stream_add(struct text_stream *s, int32_t id, struct str *ret, struct err *err) {
    *ret = STR_LIT("");
    if (s->skip_special && tokenizer_is_special(s->tokenizer, id)) return 0;
    token_list_add(&s->ids, id);
    bool in_run = is_byte(s->tokenizer, id), full = s->ids.n - s->settled >= HELD_MAX;
    if (in_run && !(full && held_are_whole_characters(s))) return 0;
    int rc = decode(s, s->ids.n, &s->after, err);
    if (rc) return rc;
    struct str fresh = fresh_text(s);
    bool broken =
        str_ends(fresh, STR_LIT("\xEF\xBF\xBD")); /* what a decoder makes of half a code point */
    if ((fresh.n == 0 || broken) && !full) return 0;
    *ret = fresh;
    return in_run || fresh.n == 0 ? forget_held(s, err) : settle(s, err);
}

int text_stream_end(struct text_stream *s, struct str *ret, struct err *err) {
    *ret = STR_LIT("");
    if (s->ids.n == s->settled) return 0;
    int rc = decode(s, s->ids.n, &s->after, err);
    if (!rc) *ret = fresh_text(s);
    s->settled = s->ids.n;
    return rc;
}
