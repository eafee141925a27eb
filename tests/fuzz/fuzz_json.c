/* json_read on any bytes; what it reads must come back the same after json_write. */
#include "base/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err;
    json_t *v;
    if (json_read((struct str){(const char *)data, size}, "input", &v, &err)) return 0;
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    json_write(v, &b);
    json_t *again = NULL;
    int rc = json_read(buf_view(&b), "written", &again, &err);
    assert(rc == 0 && json_equal(v, again));
    json_decref(again);
    json_decref(v);
    buf_release(&b);
    return 0;
}
