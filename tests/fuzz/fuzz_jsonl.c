/* Any bytes as an uploaded file; what passes has an object on each line that is not blank. */
#include "api/jsonl.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct str text = {(const char *)data, size};
    int rc = jsonl_check(text, &err);
    assert(rc == 0 || (rc == ERR_INVALID && err.msg[0]));
    if (rc == 0) assert(size && memchr(text.p, '{', text.n) && memchr(text.p, '}', text.n));
    return 0;
}
