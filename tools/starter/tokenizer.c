/* The starter model's tokenizer: starter-tokenizer VOCAB TEXT.jsonl CHAT_TEMPLATE OUT_DIR
 * Byte-level BPE with single digits and the three special tokens of ChatML, from {"text":...} rows.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "text/bpe_train.h"

#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX ((size_t)1 << 30)

static int texts_read(const char *path, struct buf *out, struct err *err) {
    struct buf file;
    buf_init(&file, FILE_MAX);
    int rc = file_read(path, &file, err);
    struct str rest = buf_view(&file);
    while (!rc && rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        rest = str_from(rest, line.n + (end ? 1 : 0));
        json_t *row = NULL;
        struct str text = {"", 0};
        rc = json_read(line, path, &row, err);
        if (!rc) rc = json_get_str(row, "text", path, &text, err);
        buf_str(out, text);
        buf_byte(out, '\n');
        json_decref(row);
    }
    if (!rc && !buf_ok(out)) rc = err_set(err, ERR_LIMIT, "\"%s\" holds too much text", path);
    buf_release(&file);
    return rc;
}

static int train(int32_t vocab, const char *path, const char *template_path, const char *out,
                 struct err *err) {
    static const struct str specials[] = {STR_LIT("<|endoftext|>"), STR_LIT("<|im_start|>"),
                                          STR_LIT("<|im_end|>")};
    struct bpe_train_options o = {
        .vocab_size = vocab, .specials = specials, .special_count = 3, .split_digits = true};
    struct buf text, json, template;
    buf_init(&text, FILE_MAX);
    buf_init(&json, FILE_MAX);
    buf_init(&template, 1 << 16);
    int rc = texts_read(path, &text, err);
    if (!rc) rc = file_read(template_path, &template, err);
    if (!rc) rc = bpe_train(buf_view(&text), &o, &json, err);
    struct tokenizer_roles roles = {.bos = specials[0],
                                    .eos = specials[2],
                                    .pad = specials[0],
                                    .chat_template = buf_view(&template),
                                    .max_length = 1024};
    if (!rc) rc = bpe_train_save(out, buf_view(&json), &roles, err);
    buf_release(&text);
    buf_release(&json);
    buf_release(&template);
    return rc;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: starter-tokenizer VOCAB TEXT.jsonl CHAT_TEMPLATE OUT_DIR\n");
        return 2;
    }
    struct err err;
    int rc = train((int32_t)strtol(argv[1], NULL, 10), argv[2], argv[3], argv[4], &err);
    if (rc) fprintf(stderr, "starter-tokenizer: %s\n", err.msg);
    return rc != 0;
}
