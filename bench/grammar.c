/* What constrained decoding costs: time of compiling a schema, of a vocabulary, and of a mask, over
 * random walks, in processor time, as CSV. "first" is the first walk, which fills the caches;
 * "next" the walks after.
 *
 *     build/release/bench-grammar TOKENIZER_DIRECTORY [SCHEMA.json]
 */
#include "base/mem.h"
#include "base/rng.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name, *schema;
} cases[] = {
    {"flat",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\"},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"kind\":{"
     "\"enum\":["
     "\"person\",\"place\",\"thing\"]}},\"required\":[\"name\",\"age\",\"tags\",\"kind\"],"
     "\"additionalProperties\":false}"},
    {"tree",
     "{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"},\"left\":{\"anyOf\":[{"
     "\"$ref\":\"#\"},{\"type\":\"null\"}]},\"right\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":"
     "\"null\"}]"
     "}},\"required\":[\"value\",\"left\",\"right\"],\"additionalProperties\":false}"},
    {"lengths",
     "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"minLength\":8,"
     "\"maxLength\":"
     "12},\"text\":{\"type\":\"string\",\"maxLength\":300}},\"required\":[\"id\",\"text\"],"
     "\"additionalProperties\":false}"},
    {"patterns",
     "{\"type\":\"object\",\"properties\":{\"email\":{\"type\":\"string\",\"format\":\"email\"},"
     "\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"text\":{\"type\":\"string\","
     "\"pattern\":"
     "\"^.{1,80}$\"}},\"required\":[\"email\",\"when\",\"text\"],\"additionalProperties\":false}"},
    {"any object", "{\"type\":\"object\"}"},
};

/* of this thread: other work on the machine does not count */
static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct times {
    double sum, most, accept;
    long count;
};

static int32_t pick(struct rng *r, const uint64_t *bits, int64_t size) {
    int32_t chosen = -1;
    uint64_t seen = 0;
    for (int64_t w = 0; w < (size + 63) / 64; w++)
        for (uint64_t x = bits[w]; x; x &= x - 1)
            if (rng_below(r, ++seen) == 0) chosen = (int32_t)(w * 64 + __builtin_ctzll(x));
    return chosen;
}

static int walk(struct grammar *g, struct grammar_vocab *v, const struct tokenizer *t, int32_t stop,
                int32_t quote, uint64_t seed, struct times *out, struct err *err) {
    struct grammar_state *s;
    struct rng r;
    int64_t size = tokenizer_size(t);
    uint64_t *bits = mem_zalloc((size_t)size / 64 + 1, 8);
    rng_init(&r, seed);
    int rc = grammar_state_new(g, v, &s, err);
    for (int step = 0; !rc && step < 200; step++) {
        double start = cpu_seconds();
        grammar_mask(s, bits, size);
        double spent = cpu_seconds() - start;
        out->sum += spent;
        out->count++;
        if (spent > out->most) out->most = spent;
        bool close = rng_below(&r, 8) == 0 && bits[quote >> 6] >> (quote & 63) & 1;
        int32_t id = close ? quote : pick(&r, bits, size);
        if (id == stop) break;
        start = cpu_seconds();
        if (!grammar_accept(s, id)) abort();
        out->accept += cpu_seconds() - start;
    }
    if (!rc) grammar_state_free(s);
    mem_free(bits);
    return rc;
}

static int measure(const char *name, const json_t *schema, struct grammar_vocab *v,
                   const struct tokenizer *t, struct err *err) {
    struct grammar *g;
    int32_t stop = tokenizer_eos(t), quote = 0;
    while (quote < tokenizer_size(t) && !str_is(tokenizer_bytes(t, quote), "\"")) quote++;
    double start = cpu_seconds();
    int rc = grammar_compile(schema, NULL, &g, NULL, err);
    if (rc) return rc;
    double compile = cpu_seconds() - start;
    struct times first = {0}, next = {0};
    rc = walk(g, v, t, stop, quote, 1, &first, err);
    for (uint64_t i = 2; i < 22 && !rc; i++) rc = walk(g, v, t, stop, quote, i, &next, err);
    if (!rc)
        printf("%s,%.3f,%ld,%.4f,%.4f,%ld,%.4f,%.4f,%.4f\n", name, compile * 1e3, first.count,
               first.sum / (double)first.count * 1e3, first.most * 1e3, next.count,
               next.sum / (double)next.count * 1e3, next.most * 1e3,
               next.accept / (double)next.count * 1e3);
    grammar_free(g);
    return rc;
}

static int run(const char *dir, const char *file, struct err *err) {
    struct tokenizer *t;
    struct grammar_vocab *v;
    int rc = tokenizer_open(dir, &t, err);
    if (rc) return rc;
    int32_t stop = tokenizer_eos(t);
    double start = cpu_seconds();
    rc = grammar_vocab_new(t, &stop, 1, &v, err);
    if (rc) return rc;
    printf("# %lld tokens, vocabulary in %.1f ms; times in ms\n", (long long)tokenizer_size(t),
           (cpu_seconds() - start) * 1e3);
    printf("schema,compile,first_masks,first_mean,first_most,next_masks,next_mean,next_most,"
           "accept_mean\n");
    json_t *schema;
    for (size_t i = 0; !rc && !file && i < sizeof cases / sizeof *cases; i++) {
        rc = json_read(str_of(cases[i].schema), cases[i].name, &schema, err);
        if (!rc) rc = measure(cases[i].name, schema, v, t, err);
    }
    if (file) rc = json_read_file(file, 1 << 24, &schema, err);
    if (!rc && file) rc = measure(file, schema, v, t, err);
    grammar_vocab_free(v);
    tokenizer_free(t);
    return rc;
}

int main(int argc, char **argv) {
    struct err err;
    if (argc < 2) {
        fprintf(stderr, "usage: bench-grammar TOKENIZER_DIRECTORY [SCHEMA.json]\n");
        return 2;
    }
    if (!run(argv[1], argc > 2 ? argv[2] : NULL, &err)) return 0;
    fprintf(stderr, "%s\n", err.msg);
    return 1;
}
