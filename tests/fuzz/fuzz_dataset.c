/* What a home's datasets are read from (packs, places, lists of rows), and records of requests and
 * answers from outside: the first byte says which. */
#include "base/json.h"
#include "data/manifest.h"
#include "data/pack.h"
#include "data/production.h"

#include <stdlib.h>
#include <string.h>

static void take_pack(struct str bytes) {
    struct pack p;
    struct str row;
    struct err err;
    if (pack_open(bytes, &p, &err)) return;
    for (size_t i = 0; i < p.rows && i < 100; i++)
        if (pack_find(&p, p.index + i * 44, &row) && row.n && row.p[0] == row.p[row.n - 1])
            continue; /* all of it is there to be read */
}

static void take_list(struct str bytes) {
    struct row_list l = {.left = bytes};
    json_t *line = NULL;
    struct err err;
    while (row_list_next(&l, &line, &err) == 1) {
        if (strlen(line_text(line, "row")) > bytes.n) abort();
        json_decref(line);
    }
}

static void take_record(struct str bytes) {
    struct err err;
    json_t *record = NULL;
    if (json_read(bytes, "fuzz", &record, &err)) return;
    json_t *row = production_row(record);
    if (row && !json_is_array(json_object_get(row, "messages"))) abort();
    json_decref(row);
    json_decref(record);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static const unsigned char hash[ROW_HASH] = {1};
    if (!size) return 0;
    struct str rest = {(const char *)data + 1, size - 1};
    switch (data[0] & 3) {
    case 0: take_pack(rest); break;
    case 1: take_list(rest); break;
    case 2: take_record(rest); break;
    default: place_find(rest, hash);
    }
    return 0;
}
