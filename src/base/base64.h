/* Base64 of RFC 4648 with padding, over libcrypto. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_encode(struct str bytes, struct buf *out);
/* False, and out as before, when the text is no base64. */
bool base64_decode(struct str text, struct buf *out);

#endif
