/* A tokenizer as tokenizer.json, and the hash of what decides ids. */
#include "text/tokenizer_int.h"

#include "base/hash.h"
#include "base/mem.h"

static void write_member(struct buf *out, const char *key, const json_t *value) {
    buf_printf(out, "\"%s\":", key);
    if (value)
        json_write(value, out);
    else
        buf_z(out, "null");
    buf_z(out, ",\n");
}

static void write_added(const struct tokenizer *t, struct buf *out) {
    buf_z(out, "\"added_tokens\":[");
    for (size_t i = 0; i < t->added_count; i++) {
        const struct added_token *a = &t->added[i];
        buf_printf(out, "%s\n{\"id\":%d,\"content\":", i ? "," : "", a->id);
        json_write_str(out, a->content);
        buf_printf(
            out,
            ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
            a->single_word ? "true" : "false", a->lstrip ? "true" : "false",
            a->rstrip ? "true" : "false", a->normalized ? "true" : "false",
            a->special ? "true" : "false");
    }
    buf_z(out, "],\n");
}

static void write_vocab(const struct tokenizer *t, struct buf *out) {
    bool *outside = mem_zalloc((size_t)t->size + 1, sizeof *outside);
    for (size_t i = 0; i < t->added_count; i++) outside[t->added[i].id] |= t->added[i].outside;
    const char *comma = "";
    buf_z(out, "\"vocab\":{");
    for (int64_t i = 0; i < t->size; i++) {
        if (!t->tokens[i].p || outside[i]) continue;
        buf_z(out, comma);
        json_write_str(out, t->tokens[i]);
        buf_printf(out, ":%lld", (long long)i);
        comma = ",\n";
    }
    buf_z(out, "},\n");
    mem_free(outside);
}

static void write_merges(const struct tokenizer *t, struct buf *out) {
    buf_z(out, "\"merges\":[");
    for (int64_t i = 0; i < t->merge_count; i++) {
        buf_z(out, i ? ",\n[" : "\n[");
        json_write_str(out, t->tokens[t->merges[i].left]);
        buf_byte(out, ',');
        json_write_str(out, t->tokens[t->merges[i].right]);
        buf_byte(out, ']');
    }
    buf_z(out, "]");
}

static void write_model(const struct tokenizer *t, struct buf *out) {
    const json_t *model = json_object_get(t->spec, "model");
    const char *key;
    json_t *value;
    buf_z(out, "\"model\":{\n");
    json_object_foreach((json_t *)(uintptr_t)model, key, value) write_member(out, key, value);
    write_vocab(t, out);
    write_merges(t, out);
    buf_z(out, "}");
}

static void write_all(const struct tokenizer *t, struct buf *out) {
    buf_z(out, "{\n\"version\":\"1.0\",\n\"truncation\":null,\n\"padding\":null,\n");
    write_added(t, out);
    write_member(out, "normalizer", json_object_get(t->spec, "normalizer"));
    write_member(out, "pre_tokenizer", json_object_get(t->spec, "pre_tokenizer"));
    write_member(out, "post_processor", json_object_get(t->spec, "post_processor"));
    write_member(out, "decoder", json_object_get(t->spec, "decoder"));
    write_model(t, out);
    buf_z(out, "}\n");
}

int tokenizer_write_json(const struct tokenizer *t, struct buf *out, struct err *err) {
    if (t->ties)
        return err_set(
            err, ERR_UNSUPPORTED,
            "tokens of this vocabulary share their scores; no tokenizer.json gives its ids");
    write_all(t, out);
    if (buf_ok(out)) return 0;
    return err_set(err, ERR_LIMIT, "tokenizer.json would be longer than %zu bytes", out->max);
}

/* The hash is over the tokenizer.json that tokenizer_write_json gives: the same behaviour from
 * other files (vocab.json + merges.txt) has the same hash. */
void tokenizer_hash(const struct tokenizer *t, char hex[65]) {
    struct buf b;
    buf_init(&b, SIZE_MAX);
    write_all(t, &b);
    if (t->ties) buf_z(&b, "leftmost of equal scores");
    sha256_of(buf_view(&b), hex);
    buf_release(&b);
}
