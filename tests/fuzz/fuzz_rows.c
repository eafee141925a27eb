/* A data set from outside: lines of JSON, read and checked. */
#include "data/rows.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct rows rows;
    struct err err;
    if (!rows_from_text((struct str){(const char *)data, size}, "fuzz", &rows, &err))
        rows_release(&rows);
    return 0;
}
