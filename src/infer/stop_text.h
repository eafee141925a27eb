/* Stop sequences in text that comes in pieces. What may be the beginning of a stop sequence is held
 * back until it is decided; neither the sequence nor what follows it comes out. */
#ifndef INFER_STOP_TEXT_H
#define INFER_STOP_TEXT_H

#include "base/buf.h"

struct stop_text {
    const struct str *stop; /* borrowed; none is empty */
    int count;
    struct buf held;
    bool hit; /* a stop sequence came: no more text */
};

void stop_text_init(struct stop_text *ret, const struct str *stop, int count);
void stop_text_release(struct stop_text *s);
/* Appends to out what is certain. */
void stop_text_add(struct stop_text *s, struct str piece, struct buf *out);
void stop_text_end(struct stop_text *s, struct buf *out); /* what is still held back */

#endif
