#include "data/version.h"

#include "base/hash.h"

#include <string.h>

/* Keys that are content. The rest of a row (id, metadata, user, ...) is about it. */
static const char *const content_keys[] = {"messages",
                                           "tools",
                                           "functions",
                                           "parallel_tool_calls",
                                           "prompt",
                                           "completion",
                                           "text",
                                           "input",
                                           "preferred_output",
                                           "non_preferred_output",
                                           "preferred_completion",
                                           "non_preferred_completion"};

static int add_to_buf(const char *p, size_t n, void *buf) {
    buf_add(buf, p, n);
    return buf_ok(buf) ? 0 : -1;
}

bool row_content(const json_t *row, struct buf *out) {
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof content_keys / sizeof *content_keys; i++) {
        json_t *v = json_object_get(row, content_keys[i]);
        if (v && !json_is_null(v)) json_object_set(o, content_keys[i], v);
    }
    bool some = json_object_size(o) > 0;
    size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17);
    if (some) some = json_dump_callback(o, add_to_buf, out, flags) == 0;
    json_decref(o);
    return some;
}

void row_hash(struct str content, unsigned char ret[ROW_HASH]) { sha256_raw(content, ret); }

void hash_hex(const unsigned char hash[ROW_HASH], char ret[2 * ROW_HASH + 1]) {
    for (int i = 0; i < ROW_HASH; i++) {
        ret[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    ret[2 * ROW_HASH] = '\0';
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hash_of_hex(struct str hex, unsigned char ret[ROW_HASH]) {
    if (hex.n != 2 * ROW_HASH) return false;
    for (size_t i = 0; i < ROW_HASH; i++) {
        int high = digit(hex.p[2 * i]), low = digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        ret[i] = (unsigned char)(16 * high + low);
    }
    return true;
}

/* --- the tree --- */

void merkle_init(struct merkle *m) { m->parts = 0; }

static void node(const unsigned char *left, const unsigned char *right, unsigned char *ret) {
    unsigned char text[1 + 2 * ROW_HASH] = {1};
    memcpy(text + 1, left, ROW_HASH);
    memcpy(text + 1 + ROW_HASH, right, ROW_HASH);
    sha256_raw((struct str){(const char *)text, sizeof text}, ret);
}

void merkle_add(struct merkle *m, const unsigned char row[ROW_HASH], enum split split) {
    unsigned char text[1 + ROW_HASH + 1] = {0};
    memcpy(text + 1, row, ROW_HASH);
    text[1 + ROW_HASH] = (unsigned char)split;
    sha256_raw((struct str){(const char *)text, sizeof text}, m->part[m->parts].hash);
    m->part[m->parts++].leaves = 1;
    for (; m->parts > 1 && m->part[m->parts - 2].leaves == m->part[m->parts - 1].leaves;
         m->parts--) {
        node(m->part[m->parts - 2].hash, m->part[m->parts - 1].hash, m->part[m->parts - 2].hash);
        m->part[m->parts - 2].leaves *= 2;
    }
}

void merkle_root(const struct merkle *m, unsigned char ret[ROW_HASH]) {
    if (m->parts == 0) {
        sha256_raw(STR_LIT(""), ret);
        return;
    }
    memcpy(ret, m->part[m->parts - 1].hash, ROW_HASH);
    for (int i = m->parts - 2; i >= 0; i--) node(m->part[i].hash, ret, ret);
}

void version_root(const struct merkle *m, struct str settings, unsigned char ret[ROW_HASH]) {
    unsigned char rows[ROW_HASH], recipe[ROW_HASH];
    merkle_root(m, rows);
    sha256_raw(settings, recipe);
    node(rows, recipe, ret);
}
