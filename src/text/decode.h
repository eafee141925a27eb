/* Decoders of tokenizer.json: a list of steps over the list of a text's tokens. */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "text/normalize.h"

enum decode_kind {
    DECODE_BYTE_LEVEL,
    DECODE_BYTE_FALLBACK,
    DECODE_METASPACE,
    DECODE_FUSE,
    DECODE_REPLACE,
    DECODE_STRIP,
    DECODE_SUFFIX, /* BPEDecoder */
};
struct decode_step {
    enum decode_kind kind;
    struct normalize_step replace;
    struct str content; /* strip, suffix; of metaspace the replacement */
    int64_t start, stop;
    bool drop_first; /* metaspace: the first token's goes */
};

#define DECODE_STEPS 16
struct decoder {
    struct decode_step steps[DECODE_STEPS];
    size_t count;
    bool present; /* without a decoder tokens are joined by spaces */
};

int decoder_read(const json_t *spec, const char *where, struct decoder *ret, struct err *err);
void decoder_release(struct decoder *d);

/* Strings one behind another: string i ends at ends[i]. */
struct pieces {
    struct buf text;
    size_t *ends;
    size_t count, cap;
};
void pieces_init(struct pieces *p, size_t max_bytes);
void pieces_release(struct pieces *p);
void pieces_add(struct pieces *p, struct str s);

/* Consumes `tokens`; appends the text to out. */
int decode_pieces(const struct decoder *d, struct pieces *tokens, struct buf *out, struct err *err);
/* The bytes that one token stands for in the middle of a text. */
int decode_raw(const struct decoder *d, struct str token, struct buf *out, struct err *err);
/* Bytes as text: what is not UTF-8 becomes U+FFFD, one for each maximal part of a character. */
void decode_lossy(struct str bytes, struct buf *out);

#endif
