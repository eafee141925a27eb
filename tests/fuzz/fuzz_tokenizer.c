/* Input: a tokenizer.json, a NUL byte, a text. */
#include "base/mem.h"
#include "text/tokenizer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct tokenizer *t, struct str text) {
    struct token_list ids = {0};
    struct buf out;
    struct err err;
    char hash[65];
    buf_init(&out, 1 << 24);
    if (!tokenizer_encode(t, text, true, &ids, &err)) {
        tokenizer_decode(t, ids.ids, ids.n, false, &out, &err);
        for (int64_t i = 0; i < ids.n; i++) buf_str(&out, tokenizer_bytes(t, ids.ids[i]));
    }
    tokenizer_hash(t, hash);
    token_list_release(&ids);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct str json = {(const char *)data, nul ? (size_t)(nul - data) : size};
    struct str text =
        nul ? str_from((struct str){(const char *)data, size}, json.n + 1) : STR_LIT("a 1");
    struct tokenizer *t = NULL;
    struct err err;
    if (tokenizer_from_json(json, (struct str){"", 0}, "fuzz", &t, &err)) return 0;
    use(t, text);
    tokenizer_free(t);
    return 0;
}
