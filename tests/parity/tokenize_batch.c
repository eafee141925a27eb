/* Encodes and decodes for tests/parity/tokenizers.py:  tokenize_batch DIR|VOCAB.json
 *
 * Requests on standard input: one byte, a little-endian u32 length, that many bytes. 'e' encodes a
 * text without the post-processor's tokens, 'E' with them; the reply is a u32 count and that many
 * i32. 'd' decodes i32 ids, 'D' without specials; 'b' joins tokenizer_bytes; 'w' writes
 * tokenizer.json; the reply is a u32 length and the bytes. 0xFFFFFFFF, length and message: an
 * error. 't' encodes and replies with the nanoseconds that took, as one i32 count of microseconds.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static bool read_all(void *p, size_t n) { return fread(p, 1, n, stdin) == n; }

static void reply(uint32_t count, const void *p, size_t bytes) {
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(p, 1, bytes, stdout);
    fflush(stdout);
}

static void reply_error(const struct err *err) {
    uint32_t mark = UINT32_MAX;
    fwrite(&mark, sizeof mark, 1, stdout);
    reply((uint32_t)strlen(err->msg), err->msg, strlen(err->msg));
}

static void encode(const struct tokenizer *t, char op, struct str text) {
    struct token_list ids = {0};
    struct err err;
    int64_t start = clock_ns();
    int rc = tokenizer_encode(t, text, op == 'E', &ids, &err);
    int32_t micros = (int32_t)((clock_ns() - start) / 1000);
    if (rc)
        reply_error(&err);
    else if (op == 't')
        reply(1, &micros, sizeof micros);
    else
        reply((uint32_t)ids.n, ids.ids, (size_t)ids.n * sizeof *ids.ids);
    token_list_release(&ids);
}

static void decode(const struct tokenizer *t, char op, struct str in) {
    const int32_t *ids = (const int32_t *)(const void *)in.p;
    int64_t n = (int64_t)(in.n / sizeof *ids);
    struct err err;
    struct buf out;
    int rc = 0;
    buf_init(&out, (size_t)1 << 32);
    if (op == 'w')
        rc = tokenizer_write_json(t, &out, &err);
    else if (op != 'b')
        rc = tokenizer_decode(t, ids, n, op == 'D', &out, &err);
    else
        for (int64_t i = 0; i < n; i++) buf_str(&out, tokenizer_bytes(t, ids[i]));
    if (rc)
        reply_error(&err);
    else
        reply((uint32_t)out.n, buf_view(&out).p, out.n);
    buf_release(&out);
}

static struct str *strings_of(const json_t *list) {
    size_t n = json_array_size(list);
    struct str *out = mem_zalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = json_str(json_array_get(list, i));
    return out;
}

static int32_t id_of(const json_t *o, const char *key) {
    const json_t *id = json_object_get(o, key);
    return json_is_integer(id) ? (int32_t)json_integer_value(id) : -1;
}

static int open_vocab(const char *path, struct tokenizer **ret, struct err *err) {
    json_t *o = NULL;
    int rc = json_read_file(path, (size_t)1 << 30, &o, err);
    if (rc) return rc;
    json_t *scores = json_object_get(o, "scores"), *types = json_object_get(o, "types");
    size_t n = json_array_size(json_object_get(o, "tokens"));
    float *score = mem_zalloc(n + 1, sizeof *score);
    int32_t *type = mem_zalloc(n + 1, sizeof *type);
    for (size_t i = 0; i < n; i++) {
        score[i] = (float)json_number_value(json_array_get(scores, i));
        type[i] = (int32_t)json_integer_value(json_array_get(types, i));
    }
    struct tokenizer_vocab v = {
        .model = json_str(json_object_get(o, "model")),
        .pre = json_is_string(json_object_get(o, "pre")) ? json_str(json_object_get(o, "pre"))
                                                         : STR_LIT(""),
        .tokens = strings_of(json_object_get(o, "tokens")),
        .scores = scores ? score : NULL,
        .types = types ? type : NULL,
        .count = (int64_t)n,
        .merges = strings_of(json_object_get(o, "merges")),
        .merge_count = (int64_t)json_array_size(json_object_get(o, "merges")),
        .bos = id_of(o, "bos"),
        .eos = id_of(o, "eos"),
        .unk = id_of(o, "unk"),
        .add_bos = json_is_true(json_object_get(o, "add_bos")),
        .add_eos = json_is_true(json_object_get(o, "add_eos")),
        .add_space_prefix = json_is_true(json_object_get(o, "add_space_prefix")),
    };
    rc = tokenizer_from_vocab(&v, path, ret, err);
    mem_free((void *)(uintptr_t)v.tokens);
    mem_free((void *)(uintptr_t)v.merges);
    mem_free(score);
    mem_free(type);
    json_decref(o);
    return rc;
}

int main(int argc, char **argv) {
    struct tokenizer *t = NULL;
    struct err err;
    if (argc != 2) return 2;
    int64_t start = clock_ns();
    if (dir_exists(argv[1]) ? tokenizer_open(argv[1], &t, &err) : open_vocab(argv[1], &t, &err)) {
        fprintf(stderr, "tokenize_batch: %s\n", err.msg);
        return 1;
    }
    fprintf(stderr, "opened in %.1f ms\n", (double)(clock_ns() - start) / 1e6);
    char op;
    uint32_t n;
    while (read_all(&op, 1) && read_all(&n, sizeof n)) {
        char *p = mem_alloc((size_t)n + 1);
        if (!read_all(p, n)) break;
        if (op == 'e' || op == 'E' || op == 't')
            encode(t, op, (struct str){p, n});
        else
            decode(t, op, (struct str){p, n});
        mem_free(p);
    }
    tokenizer_free(t);
    return 0;
}
