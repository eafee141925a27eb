/* What is left becomes a version: the rows that no pack of this home has yet, the list of all rows,
 * the places, the root. */
#include "data/build_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* raised when the same rows would come out otherwise */
#define RULES 1

static int write_row(struct build *b, const struct record *r, const struct pack_set *packs,
                     struct pack_writer *pack, struct err *err) {
    struct str about = record_about(b, r), there;
    char hex[2 * ROW_HASH + 1];
    struct buf line;
    hash_hex(r->hash, hex);
    buf_init(&line, 2 * BUILD_ROW_MAX);
    buf_printf(&line, "{\"row\":\"%s\",\"split\":\"%s\",", hex, split_name((enum split)r->split));
    buf_str(&line, str_from(about, 1));
    buf_byte(&line, '\n');
    int rc = buf_ok(&line)
                 ? blob_writer_add(b->manifest, line.p, line.n, err)
                 : err_set(err, ERR_LIMIT, "a row of more than %zu bytes", 2 * BUILD_ROW_MAX);
    buf_release(&line);
    if (!rc && !pack_set_find(packs, r->hash, &there)) {
        rc = pack_add(pack, r->hash, record_content(b, r), err);
        b->new_rows++;
    }
    return rc;
}

static int write_place(struct build *b, const void *hash, int8_t split, struct err *err) {
    char place[PLACE_SIZE];
    memcpy(place, hash, ROW_HASH);
    place[ROW_HASH] = (char)split;
    return blob_writer_add(b->new_places, place, sizeof place, err);
}

/* Those of before, and the new rows': both by hash. */
static int write_places(struct build *b, struct err *err) {
    struct str old = {(const char *)b->places.p, b->places.n - b->places.n % PLACE_SIZE};
    int rc = 0;
    for (size_t i = 0; !rc && i < b->count; i++) {
        const struct record *r = &b->records[i];
        if (r->dropped || r->before != SPLIT_NEW) continue;
        for (; !rc && old.n && memcmp(old.p, r->hash, ROW_HASH) < 0;
             old = str_from(old, PLACE_SIZE))
            rc = blob_writer_add(b->new_places, old.p, PLACE_SIZE, err);
        if (!rc) rc = write_place(b, r->hash, r->split, err);
    }
    if (!rc && old.n) rc = blob_writer_add(b->new_places, old.p, old.n, err);
    return rc;
}

static int write_rows(struct build *b, const struct pack_set *packs, struct pack_writer *pack,
                      struct merkle *tree, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < b->count; i++) {
        const struct record *r = &b->records[i];
        if (r->dropped) continue;
        merkle_add(tree, r->hash, (enum split)r->split);
        b->inputs[r->input].kept++;
        rc = write_row(b, r, packs, pack, err);
    }
    return rc;
}

int build_write(struct build *b, struct err *err) {
    unsigned char root[ROW_HASH];
    struct pack_set packs = {0};
    struct pack_writer pack = {0};
    struct merkle tree;
    struct buf settings;
    merkle_init(&tree);
    buf_init(&settings, (size_t)64 << 20);
    int rc = pack_set_open(b->c, &packs, err);
    if (!rc) rc = pack_begin(&pack, b->pack, err);
    if (!rc) rc = write_rows(b, &packs, &pack, &tree, err);
    if (!rc) rc = pack_end(&pack, err);
    if (!rc) rc = write_places(b, err);
    if (!rc) {
        build_settings_text(b, &settings);
        version_root(&tree, buf_view(&settings), root);
        hash_hex(root, b->root);
    }
    buf_release(&settings);
    pack_release(&pack);
    pack_set_close(&packs);
    return rc;
}

/* --- settings, recipe --- */

static json_t *settings_json(const struct build *b) {
    static const char *const pii[] = {"drop", "mask", "pseudonym", "report"};
    static const char *const strata[] = {"auto", "label", "source", "none"};
    const struct build_settings *s = &b->set;
    json_t *restored = json_object(), *o, *v;
    const char *row;
    json_object_foreach(b->restored, row, v) json_object_set_new(restored, row, json_true());
    o = json_pack("{s:i, s:f, s:f, s:f, s:I, s:s, s:s, s:s, s:o}", "rules", RULES, "valid",
                  s->valid, "test", s->test, "near", s->near, "salt", (json_int_t)s->salt, "pii",
                  pii[s->pii], "stratify", strata[s->stratify], "against", s->against, "restored",
                  restored);
    if (s->min_feedback >= -1) json_object_set_new(o, "min_feedback", json_real(s->min_feedback));
    return o;
}

static int add_to_buf(const char *p, size_t n, void *buf) {
    buf_add(buf, p, n);
    return 0;
}

void build_settings_text(const struct build *b, struct buf *out) {
    json_t *o = settings_json(b);
    json_dump_callback(o, add_to_buf, out,
                       (size_t)(JSON_COMPACT | JSON_SORT_KEYS) | JSON_REAL_PRECISION(17));
    json_decref(o);
}

json_t *build_recipe(const struct build *b) {
    json_t *inputs = json_array(), *cuts = json_array();
    for (size_t i = 0; i < b->input_count; i++) {
        const struct build_input *in = &b->inputs[i];
        json_t *o =
            json_pack("{s:s, s:s, s:s, s:s}", "source",
                      in->against ? "against" : build_source_name(in->source), "name", in->name,
                      "sha256", in->sha256, "format", source_format_name(in->read.format));
        const char *const columns[] = {in->read.prompt_column, in->read.answer_column,
                                       in->read.system_column};
        if (columns[0] || columns[1] || columns[2])
            json_object_set_new(o, "columns",
                                json_pack("[s?, s?, s?]", columns[0], columns[1], columns[2]));
        json_array_append_new(inputs, o);
    }
    for (size_t i = 0; i < b->cuts.count; i++) {
        const struct split_cut *c = &b->cuts.list[i];
        json_array_append_new(cuts, json_pack("[I, I, I]", (json_int_t)c->stratum,
                                              (json_int_t)c->test, (json_int_t)c->valid));
    }
    return json_pack("{s:o, s:o, s:o, s:O, s:I}", "settings", settings_json(b), "inputs", inputs,
                     "cuts", cuts, "restored", b->restored, "parent", (json_int_t)b->parent);
}

/* --- counts --- */

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Short answers, and how many different ones. */
static json_t *labels_json(const struct build *b) {
    uint64_t *list = mem_zalloc(b->count + 1, sizeof *list);
    size_t n = 0, labels = 0;
    for (size_t i = 0; i < b->count; i++)
        if (!b->records[i].dropped && b->records[i].label) list[n++] = b->records[i].label;
    if (n) qsort(list, n, sizeof *list, by_value);
    for (size_t i = 0; i < n; i++) labels += i == 0 || list[i] != list[i - 1];
    mem_free(list);
    return json_pack("{s:I, s:I}", "rows", (json_int_t)n, "different", (json_int_t)labels);
}

static json_t *splits_json(const struct build *b, int input) {
    int64_t n[SPLITS] = {0};
    for (size_t i = 0; i < b->count; i++)
        if (!b->records[i].dropped && (input < 0 || b->records[i].input == input))
            n[b->records[i].split]++;
    return json_pack("{s:I, s:I, s:I}", "train", (json_int_t)n[SPLIT_TRAIN], "valid",
                     (json_int_t)n[SPLIT_VALID], "test", (json_int_t)n[SPLIT_TEST]);
}

json_t *build_counts(const struct build *b) {
    json_t *sources = json_array(), *kinds = json_object();
    int64_t rows = 0;
    for (size_t i = 0; i < b->input_count; i++) {
        const struct build_input *in = &b->inputs[i];
        if (!in->against) rows += in->kept;
        json_array_append_new(
            sources, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "source",
                               in->against ? "against" : build_source_name(in->source), "name",
                               in->name, "format", source_format_name(in->read.format), "reason",
                               in->reason ? in->reason : "", "read", (json_int_t)in->rows, "kept",
                               (json_int_t)in->kept, "dropped", (json_int_t)in->dropped, "edited",
                               (json_int_t)in->edited, "splits", splits_json(b, (int)i)));
    }
    for (size_t i = 0; i < b->kind_count; i++) {
        const struct kind_count *k = &b->kinds[i];
        json_object_set_new(kinds, k->kind,
                            json_pack("{s:I, s:I, s:I}", "dropped", (json_int_t)k->dropped,
                                      "edited", (json_int_t)k->edited, "reported",
                                      (json_int_t)k->reported));
    }
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "rows", (json_int_t)rows, "splits",
                     splits_json(b, -1), "sources", sources, "kinds", kinds, "labels",
                     labels_json(b), "corrections", (json_int_t)b->corrections, "left_out",
                     (json_int_t)b->left_out, "new_rows", (json_int_t)b->new_rows);
}
