/* Vocabularies that come without a tokenizer.json. Input: a letter, then fields that end with NUL.
 *   d  a directory's: vocab.json, merges.txt, tokenizer_config.json, added_tokens.json, a text
 *   g, l  a GGUF's, model "gpt2" or "llama": pre, a text, then any number of
 *         m<merge> or t<type, a digit><score, a byte><token> */
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str next_field(struct str *rest) {
    const char *nul = rest->n ? memchr(rest->p, 0, rest->n) : NULL;
    struct str field = {rest->p, nul ? (size_t)(nul - rest->p) : rest->n};
    *rest = str_from(*rest, nul ? field.n + 1 : field.n);
    return field;
}

static void use(struct tokenizer *t, struct str text) {
    struct token_list ids = {0};
    struct buf out;
    struct err err;
    char hash[65];
    buf_init(&out, 1 << 24);
    if (!tokenizer_encode(t, text, true, &ids, &err))
        tokenizer_decode(t, ids.ids, ids.n, false, &out, &err);
    tokenizer_hash(t, hash);
    token_list_release(&ids);
    buf_release(&out);
    tokenizer_free(t);
}

static void write_file(const char *dir, const char *name, struct str content) {
    char *path = path_join(dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(content.p, 1, content.n, f) != content.n || fclose(f)) abort();
    mem_free(path);
}

static char dir[64];

static void remove_dir(void) {
    struct err err;
    dir_remove_all(dir, &err);
}

static void from_directory(struct str rest) {
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "added_tokens.json"};
    struct tokenizer *t = NULL;
    struct err err;
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/attune-fuzz-XXXXXX");
        if (!mkdtemp(dir)) abort();
        atexit(remove_dir);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_file(dir, names[i], next_field(&rest));
    if (!tokenizer_open(dir, &t, &err)) use(t, next_field(&rest));
}

static void from_gguf(struct str model, struct str rest) {
    static struct str tokens[ITEMS_MAX], merges[ITEMS_MAX];
    static float scores[ITEMS_MAX];
    static int32_t types[ITEMS_MAX];
    struct tokenizer_vocab v = {.model = model,
                                .tokens = tokens,
                                .scores = scores,
                                .types = types,
                                .merges = merges,
                                .bos = 1,
                                .eos = 2,
                                .add_bos = true,
                                .add_space_prefix = true};
    struct tokenizer *t = NULL;
    struct err err;
    v.pre = next_field(&rest);
    struct str text = next_field(&rest);
    while (rest.n && v.count < ITEMS_MAX && v.merge_count < ITEMS_MAX) {
        struct str item = next_field(&rest);
        if (item.n && item.p[0] == 'm') merges[v.merge_count++] = str_from(item, 1);
        if (item.n < 3 || item.p[0] != 't') continue;
        types[v.count] = item.p[1] - '0';
        scores[v.count] = (float)item.p[2];
        tokens[v.count++] = str_from(item, 3);
    }
    if (!tokenizer_from_vocab(&v, "fuzz", &t, &err)) use(t, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str rest = {(const char *)data + 1, size - 1};
    if (!size) return 0;
    if (data[0] == 'd')
        from_directory(rest);
    else
        from_gguf(data[0] == 'g' ? STR_LIT("gpt2") : STR_LIT("llama"), rest);
    return 0;
}
