/* JSON byte by byte: whether what has come can still become one JSON value, where it ends, and how
 * it could be closed. Stricter than RFC 8259 in one thing: no \u0000. */
#ifndef TEXT_JSON_SCAN_H
#define TEXT_JSON_SCAN_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define JSON_SCAN_DEPTH 256

struct json_scan {
    uint8_t state, inside; /* inside: of a string, number or literal */
    bool is_key;
    uint16_t depth;
    uint8_t objects[JSON_SCAN_DEPTH]; /* by depth: an object, else an array */
};

void json_scan_init(struct json_scan *s);
/* One more byte. False when no value begins like this, or the value had ended before. */
bool json_scan_byte(struct json_scan *s, unsigned char byte);
/* The value has ended: always known for objects, arrays and strings, never for a bare number. */
bool json_scan_done(const struct json_scan *s);
/* Appends the shortest text that ends the value. */
void json_scan_close(const struct json_scan *s, struct buf *out);

#endif
