/* Text of tokens as they come, whole code points at a time. A token's text depends on its
 * neighbours (byte fallback, a space that only a first token lacks), so a short window of tokens is
 * decoded with and without the new ones, and the difference is the new text. A character spelled in
 * byte tokens waits for the end of its run of such tokens, which a bad byte would change to U+FFFD,
 * or for 16 of them. Costs do not grow with the text. */
#ifndef INFER_TEXT_STREAM_H
#define INFER_TEXT_STREAM_H

#include "text/tokenizer.h"

struct text_stream {
    const struct tokenizer *tokenizer;
    bool skip_special;
    struct token_list ids;    /* what has come, from the context on */
    int64_t window;           /* first token that is decoded again */
    int64_t settled;          /* the text up to this token has been handed out */
    struct buf before, after; /* the window without and with what is held back */
};

/* context: the tokens before the first (at most the last few are looked at). */
int text_stream_init(struct text_stream *ret, const struct tokenizer *t, bool skip_special,
                     const int32_t *context, int64_t n, struct err *err);
void text_stream_release(struct text_stream *s);
/* One more token. *ret: the text that became whole (maybe empty), valid until the next call. */
int text_stream_add(struct text_stream *s, int32_t id, struct str *ret, struct err *err);
/* What is still held back, at the end; *ret as above. */
int text_stream_end(struct text_stream *s, struct str *ret, struct err *err);

#endif
