/* A schema and a walk. Input: the schema's JSON up to a NUL, then bytes that choose among what the
 * automaton allows next; what it allows must be accepted, and the text stays completable. Whole
 * texts must be JSON. Then the text is cut into pieces for the reader of tool calls. */
#include "base/mem.h"
#include "text/grammar.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

#include <stdlib.h>

#define STEPS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* bytes as tokens, and some longer ones */
static struct grammar_vocab *vocabulary(struct tokenizer **ret) {
    static const char *const words[] = {"{\"",  "\":", "\",",   "\"}",     "\"a", "ab",
                                        "12",   "},{", "[[",    "]]",      "tr",  "ue",
                                        "null", ",\"", "\\u00", "\xC3\xA9"};
    static struct str tokens[256 + 1 + 16];
    static int32_t types[256 + 1 + 16];
    static float scores[256 + 1 + 16];
    static char names[256][8];
    struct tokenizer_vocab v = {.model = STR_LIT("llama"),
                                .tokens = tokens,
                                .types = types,
                                .scores = scores,
                                .count = 257 + 16,
                                .bos = -1,
                                .eos = 256,
                                .unk = -1};
    struct grammar_vocab *g;
    struct err err;
    for (int i = 0; i < 256; i++) {
        snprintf(names[i], sizeof names[i], "<0x%02X>", i);
        tokens[i] = str_of(names[i]);
        types[i] = 6; /* a byte */
    }
    tokens[256] = STR_LIT("</s>");
    types[256] = 3; /* control */
    for (int i = 0; i < 16; i++) {
        tokens[257 + i] = str_of(words[i]);
        types[257 + i] = 1;
    }
    if (tokenizer_from_vocab(&v, "fuzz", ret, &err)) abort();
    int32_t stop = 256;
    if (grammar_vocab_new(*ret, &stop, 1, &g, &err)) abort();
    return g;
}

static void walk(struct grammar *g, struct grammar_vocab *v, const struct tokenizer *t,
                 const uint8_t *choices, size_t n, struct buf *text) {
    struct grammar_state *s;
    struct err err;
    uint64_t bits[5];
    if (grammar_state_new(g, v, &s, &err)) abort();
    for (size_t i = 0; i < n && i < STEPS_MAX; i++) {
        int32_t allowed[320];
        int count = 0;
        grammar_mask(s, bits, 320);
        for (int32_t id = 0; id < 320; id++)
            if (bits[id >> 6] >> (id & 63) & 1) allowed[count++] = id;
        if (!count) abort();
        int32_t id = allowed[(size_t)choices[i] * (size_t)count / 256];
        if (!grammar_accept(s, id)) abort();
        if (id == 256) break;
        buf_str(text, tokenizer_bytes(t, id));
        if (!grammar_accepts_text(g, buf_view(text), false)) abort();
    }
    bool whole = grammar_finished(s);
    if (whole != grammar_accepts_text(g, buf_view(text), true)) abort();
    json_t *value = NULL;
    if (whole && json_read(buf_view(text), "text", &value, &err) &&
        !strstr(err.msg, "duplicate object key"))
        abort();
    json_decref(value);
    grammar_state_free(s);
}

static void ignore(void *ctx, const struct tool_event *e) {
    size_t *bytes = ctx;
    *bytes += e->text.n;
}

static void read_calls(const uint8_t *data, size_t size, bool eager) {
    for (int form = TOOL_JSON; form <= TOOL_MISTRAL_ARGS; form++) {
        size_t bytes = 0;
        struct tool_parser *p = tool_parser_new(&(struct tool_parser_options){
            .form = (enum tool_form)form, .eager = eager, .on_event = ignore, .ctx = &bytes});
        for (size_t at = 0, n; at < size; at += n) {
            n = 1 + data[at] % 7u;
            if (n > size - at) n = size - at;
            tool_parser_add(p, (struct str){(const char *)data + at, n});
        }
        tool_parser_end(p);
        tool_parser_free(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct grammar_vocab *v;
    static struct tokenizer *t;
    struct err err;
    struct grammar *g;
    json_t *schema = NULL;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    if (!v) v = vocabulary(&t);
    read_calls(data, size, false);
    read_calls(data, size, true);
    if (json_read((struct str){(const char *)data, n}, "fuzz", &schema, &err)) return 0;
    grammar_check_strict(schema, "function", STR_LIT("f"), NULL, NULL, &err);
    if (!grammar_compile(schema, NULL, &g, NULL, &err)) {
        struct buf text;
        buf_init(&text, 1 << 20);
        if (nul) walk(g, v, t, nul + 1, size - n - 1, &text);
        buf_release(&text);
        grammar_free(g);
    }
    json_decref(schema);
    return 0;
}
