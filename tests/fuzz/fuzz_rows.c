/* A data set from outside: lines of JSON, read and checked. Both sides of a pair that passed are
 * messages with content. */
#include "data/rows.h"

#include <stdlib.h>

static void take_pairs(const struct rows *rows) {
    for (int64_t i = 0; rows->kind == ROW_PAIR && i < rows->count; i++)
        for (enum pair_side side = 0; side < PAIR_SIDES; side++)
            if (!json_object_get(pair_output(rows->list[i].json, side), "content")) abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct rows rows;
    struct err err;
    if (rows_from_text((struct str){(const char *)data, size}, "fuzz", &rows, &err)) return 0;
    take_pairs(&rows);
    rows_release(&rows);
    return 0;
}
