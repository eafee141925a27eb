/* Streaming over a SentencePiece-style vocabulary, whose decoder judges a run of byte tokens as a
 * whole: what is handed out piece by piece is what decoding everything at once gives. */
#include "unit.h"

#include "base/rng.h"
#include "base/utf8.h"
#include "infer/text_stream.h"

#include <string.h>

#define SPECIAL 256
#define HELLO 257
#define WORLD 258
#define NEVER 259 /* no such token */

static struct tokenizer *byte_fallback(void) {
    struct err err;
    struct tokenizer *t = NULL;
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_z(&b, "{\"added_tokens\":[{\"id\":256,\"content\":\"<s>\",\"special\":true}],"
              "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
              "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
              "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
              "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
              "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"merges\":[],\"vocab\":{");
    for (int i = 0; i < 256; i++) buf_printf(&b, "\"<0x%02X>\":%d,", (unsigned)i, i);
    buf_z(&b, "\"<s>\":256,\"\xE2\x96\x81hello\":257,\"\xE2\x96\x81world\":258}}}");
    if (tokenizer_from_json(buf_view(&b), STR_LIT(""), "test", &t, &err)) fail_msg("%s", err.msg);
    buf_release(&b);
    return t;
}

struct streamed {
    struct buf text;
    int64_t first; /* token that brought the first piece; -1: only the end did */
};

static void stream(const struct tokenizer *t, const int32_t *ids, int64_t n, struct streamed *ret) {
    static const int32_t context[] = {SPECIAL, HELLO};
    struct err err;
    struct text_stream s;
    struct str piece;
    buf_init(&ret->text, 1 << 20);
    ret->first = -1;
    assert_int_equal(text_stream_init(&s, t, true, context, 2, &err), 0);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(text_stream_add(&s, ids[i], &piece, &err), 0);
        assert_int_equal(utf8_valid_prefix(piece), piece.n);
        if (piece.n && ret->first < 0) ret->first = i;
        buf_str(&ret->text, piece);
    }
    assert_int_equal(text_stream_end(&s, &piece, &err), 0);
    buf_str(&ret->text, piece);
    text_stream_release(&s);
}

/* what the ids add to the context's "hello" */
static void expect_whole(const struct tokenizer *t, const int32_t *ids, int64_t n) {
    struct err err;
    struct token_list all = {0};
    struct buf whole;
    struct streamed got;
    buf_init(&whole, 1 << 20);
    token_list_add(&all, HELLO);
    for (int64_t i = 0; i < n; i++) token_list_add(&all, ids[i]);
    assert_int_equal(tokenizer_decode(t, all.ids, all.n, true, &whole, &err), 0);
    stream(t, ids, n, &got);
    assert_string_equal(buf_view(&got.text).p, whole.p + strlen("hello"));
    buf_release(&got.text);
    buf_release(&whole);
    token_list_release(&all);
}

static void one_bad_byte_does_not_silence_the_rest(void **state) {
    (void)state;
    static const int32_t cases[][8] = {
        {0xE4, 0xB8, 0xAD, 0xF0, HELLO, WORLD, HELLO, HELLO},
        {0xE4, 0xB8, 0xAD, SPECIAL, 0xF0, HELLO, WORLD, WORLD},
        {0xE4, SPECIAL, 0xB8, NEVER, 0xAD, WORLD, HELLO, 0xFF},
        {0xF0, WORLD, 0x20, HELLO, 0xC3, 0xBC, 0xC3, 0xBC},
    };
    struct tokenizer *t = byte_fallback();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_whole(t, cases[i], 8);
    tokenizer_free(t);
}

static void any_tokens_stream_as_they_decode(void **state) {
    (void)state;
    static const int32_t likely[] = {0xE4, 0xB8, 0xAD, 0xC3, 0xBC, 0x41, HELLO, WORLD, SPECIAL};
    struct tokenizer *t = byte_fallback();
    struct rng rng;
    rng_init(&rng, unit_seed());
    for (int round = 0; round < 500; round++) {
        int32_t ids[60];
        for (int i = 0, run = 0; i < 60; i++) {
            ids[i] = run < 15 ? likely[rng_below(&rng, 9)] : HELLO;
            run = ids[i] < 256 ? run + 1 : ids[i] == SPECIAL ? run : 0;
        }
        expect_whole(t, ids, 60);
    }
    tokenizer_free(t);
}

static void long_runs_come_in_pieces_and_cost_little(void **state) {
    (void)state;
    enum { RUN = 3 * 20000 };
    static int32_t good[RUN], bad[RUN + 2];
    struct tokenizer *t = byte_fallback();
    struct streamed got;
    for (int i = 0; i < RUN; i++) good[i] = (const int32_t[]){0xE4, 0xB8, 0xAD}[i % 3];
    for (int i = 0; i < RUN; i++) bad[i] = 0xE4;
    bad[RUN] = WORLD;
    bad[RUN + 1] = HELLO;
    stream(t, good, RUN, &got);
    assert_int_equal(got.first, 17);
    assert_int_equal(got.text.n, RUN);
    buf_release(&got.text);
    stream(t, bad, RUN + 2, &got);
    assert_int_equal(got.text.n, 3 * RUN + 12);
    assert_true(str_ends(buf_view(&got.text), STR_LIT("\xBD world hello")));
    buf_release(&got.text);
    tokenizer_free(t);
}

UNIT_TESTS(infer_text_stream, cmocka_unit_test(one_bad_byte_does_not_silence_the_rest),
           cmocka_unit_test(any_tokens_stream_as_they_decode),
           cmocka_unit_test(long_runs_come_in_pieces_and_cost_little))
