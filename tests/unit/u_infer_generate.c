/* Generation with a small real model: transformers' greedy text, streaming, reuse, stops,
 * cancelling. The expected texts are those that tests/parity/compare_model.py compares with
 * transformers. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "infer/generate.h"
#include "infer/text_stream.h"
#include "model/model_int.h"

#include <stdlib.h>
#include <string.h>

#define DIRECTORY "models/tinystories-656k"
#define TWIN "models/tinystories-656k-gguf/tinystories-656k.gguf"
#define PROMPT "Once upon a time"

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static char *shared(const char *name) {
    const char *root = getenv("ATTUNE_SHARED");
    char *data = path_join(root ? root : "../shared", "data"), *path = path_join(data, name);
    mem_free(data);
    if (!file_exists(path) && !dir_exists(path)) {
        print_message("skipped: %s is not there\n", path);
        mem_free(path);
        skip();
    }
    return path;
}

struct bench {
    struct model *m;
    struct session *s;
    struct num *num;
    struct token_list prompt;
};

static void bench_open(struct bench *b, const char *name, int64_t max_tokens) {
    struct err err;
    char *path = shared(name);
    *b = (struct bench){0};
    check(model_open(path, &(struct model_options){.expand_f32 = true}, &b->m, &err), &err);
    check(session_open(b->m, max_tokens, &b->s, &err), &err);
    b->num =
        num_new(&(struct num_options){.threads = 1, .compute = NUM_F32, .isa = num_isa_best()});
    check(tokenizer_encode(model_tokenizer(b->m), STR_LIT(PROMPT), true, &b->prompt, &err), &err);
    mem_free(path);
}

static void bench_close(struct bench *b) {
    token_list_release(&b->prompt);
    num_free(b->num);
    session_close(b->s);
    model_close(b->m);
}

static struct generate_options greedy(const struct bench *b, int64_t max_tokens) {
    return (struct generate_options){
        .prompt = b->prompt.ids, .prompt_count = b->prompt.n, .max_tokens = max_tokens};
}

static void collect(void *ctx, struct str piece) {
    assert_int_equal(utf8_valid_prefix(piece), piece.n);
    buf_str(ctx, piece);
}

static void greedy_text_is_that_of_transformers(void **state) {
    (void)state;
    static const struct {
        const char *model, *text;
    } cases[] = {
        {DIRECTORY, ", a little girl named Lily lived in a small house with her mom, dad, and her "
                    "dog, Spot, Spot, "
                    "loved to play all day. One day, Lily saw a small bird on the ground. She "
                    "picked it up and tried to "
                    "reach the bird and see what it was.\nLily had an idea. She asked her mom if "
                    "she could help the bird. "
                    "Her mom said, \"Okay, let's go inside and see if you want a new bird.\" "},
        {TWIN, ", a little girl named Lily lived in a small house with her mom. Lily loved to play "
               "with her toys and "
               "make them look nice. One day, Lily saw a small bird on the ground. She picked it "
               "up and showed it to "
               "her mommy.\nLily wanted to show her mom the bird some milk to show her mom the "
               "milk to her friends. "
               "They all wanted to make the milk look nice. Lily "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        struct bench b;
        struct generate_result r;
        struct buf streamed;
        bench_open(&b, cases[i].model, 100);
        buf_init(&streamed, 4096);
        struct generate_options o = greedy(&b, 64);
        o.on_text = collect;
        o.ctx = &streamed;
        check(generate(b.s, b.num, &o, &r, &err), &err);
        assert_string_equal(r.text.p, cases[i].text);
        assert_string_equal(streamed.p, cases[i].text);
        assert_int_equal(r.count, 64);
        assert_int_equal(r.finish, FINISH_LENGTH);
        assert_int_equal(session_length(b.s), b.prompt.n + 63);
        generate_result_release(&r);
        buf_release(&streamed);
        bench_close(&b);
    }
}

static void a_second_turn_reuses_the_first(void **state) {
    (void)state;
    struct err err;
    struct bench b;
    struct generate_result first, again, fresh;
    bench_open(&b, DIRECTORY, 100);
    struct generate_options o = greedy(&b, 20);
    check(generate(b.s, b.num, &o, &first, &err), &err);
    check(generate(b.s, b.num, &o, &again, &err), &err); /* the whole prompt is there already */
    assert_memory_equal(first.ids, again.ids, 20 * sizeof *first.ids);
    for (int i = 0; i < 10; i++) token_list_add(&b.prompt, first.ids[i]);
    token_list_add(&b.prompt, 1000); /* and another way on */
    o = greedy(&b, 20);
    generate_result_release(&again);
    check(generate(b.s, b.num, &o, &again, &err), &err);
    session_rewind(b.s, 0);
    check(generate(b.s, b.num, &o, &fresh, &err), &err);
    assert_memory_equal(again.ids, fresh.ids, 20 * sizeof *fresh.ids);
    assert_string_equal(again.text.p, fresh.text.p);
    generate_result_release(&first);
    generate_result_release(&again);
    generate_result_release(&fresh);
    bench_close(&b);
}

static void a_stop_token_ends_and_is_left_out(void **state) {
    (void)state;
    struct err err;
    struct bench b;
    struct generate_result all, cut;
    bench_open(&b, DIRECTORY, 100);
    struct generate_options o = greedy(&b, 30);
    check(generate(b.s, b.num, &o, &all, &err), &err);
    b.m->config.stops[b.m->config.stop_count++] = all.ids[12];
    check(generate(b.s, b.num, &o, &cut, &err), &err);
    assert_int_equal(cut.finish, FINISH_STOP);
    assert_true(cut.count <= 12 && cut.count > 0);
    assert_memory_equal(cut.ids, all.ids, (size_t)cut.count * sizeof *cut.ids);
    for (int64_t i = 0; i < cut.count; i++) assert_int_not_equal(cut.ids[i], all.ids[12]);
    generate_result_release(&all);
    generate_result_release(&cut);
    bench_close(&b);
}

struct canceller {
    volatile sig_atomic_t flag;
    int pieces;
};

static void cancel_after_three(void *ctx, struct str piece) {
    struct canceller *c = ctx;
    (void)piece;
    if (++c->pieces == 3) c->flag = 1;
}

static void limits_and_cancelling_end_cleanly(void **state) {
    (void)state;
    struct err err;
    struct bench b;
    struct generate_result r;
    struct canceller c = {0};
    bench_open(&b, DIRECTORY, 10);
    struct generate_options o = greedy(&b, 100);
    check(generate(b.s, b.num, &o, &r, &err), &err); /* the session is full */
    assert_int_equal(r.count, 10 - b.prompt.n);
    assert_int_equal(r.finish, FINISH_LENGTH);
    generate_result_release(&r);
    o.max_tokens = 0;
    check(generate(b.s, b.num, &o, &r, &err), &err);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.text.n, 0);
    generate_result_release(&r);
    session_close(b.s);
    check(session_open(b.m, 100, &b.s, &err), &err);
    o.max_tokens = 60;
    o.on_text = cancel_after_three;
    o.ctx = &c;
    o.cancel = &c.flag;
    check(generate(b.s, b.num, &o, &r, &err), &err);
    assert_int_equal(r.finish, FINISH_CANCELLED);
    assert_true(r.count >= 3 && r.count < 10 && r.text.n > 0);
    generate_result_release(&r);
    check(generate(b.s, b.num, &o, &r, &err), &err); /* cancelled before the prompt */
    assert_int_equal(r.finish, FINISH_CANCELLED);
    assert_int_equal(r.count, 0);
    generate_result_release(&r);
    while (b.prompt.n < 100) token_list_add(&b.prompt, 5);
    o = greedy(&b, 5);
    assert_int_equal(generate(b.s, b.num, &o, &r, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "100 tokens; 99 fit"));
    o.prompt_count = 0;
    assert_int_equal(generate(b.s, b.num, &o, &r, &err), ERR_INVALID);
    bench_close(&b);
}

/* Text of several scripts, its tokens one by one: the pieces are whole code points and make up the
 * text that decoding everything at once gives. */
static void streamed_pieces_make_up_the_text(void **state) {
    (void)state;
    static const char text[] =
        " hello, Gr\xC3\xBC\xC3\x9F"
        "e \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x91\xA9\xE2\x80\x8D"
        "\xF0\x9F\x91\xA7  \xD9\x85\xD8\xB1 x\n\n\t1234567 \xEF\xBF\xBD end \xF0\x9F\x98\x80";
    static const char *const models[] = {DIRECTORY, TWIN};
    for (size_t i = 0; i < 2; i++) {
        struct err err;
        struct bench b;
        struct token_list ids = {0};
        bench_open(&b, models[i], 10);
        check(tokenizer_encode(model_tokenizer(b.m), STR_LIT(text), false, &ids, &err), &err);
        for (int64_t split = 1; split < ids.n; split += 3) {
            struct text_stream s;
            struct str piece;
            struct buf streamed, before, after;
            buf_init(&streamed, 4096);
            buf_init(&before, 4096);
            buf_init(&after, 4096);
            check(tokenizer_decode(model_tokenizer(b.m), ids.ids, split, true, &before, &err),
                  &err);
            if (!str_ends(buf_view(&before), STR_LIT("\xEF\xBF\xBD"))) {
                check(tokenizer_decode(model_tokenizer(b.m), ids.ids, ids.n, true, &after, &err),
                      &err);
                check(text_stream_init(&s, model_tokenizer(b.m), true, ids.ids, split, &err), &err);
                for (int64_t k = split; k < ids.n; k++) {
                    check(text_stream_add(&s, ids.ids[k], &piece, &err), &err);
                    collect(&streamed, piece);
                }
                check(text_stream_end(&s, &piece, &err), &err);
                collect(&streamed, piece);
                assert_string_equal(streamed.p, after.p + before.n);
                text_stream_release(&s);
            }
            buf_release(&streamed);
            buf_release(&before);
            buf_release(&after);
        }
        token_list_release(&ids);
        bench_close(&b);
    }
}

UNIT_TESTS(infer_generate, cmocka_unit_test(greedy_text_is_that_of_transformers),
           cmocka_unit_test(a_second_turn_reuses_the_first),
           cmocka_unit_test(a_stop_token_ends_and_is_left_out),
           cmocka_unit_test(limits_and_cancelling_end_cleanly),
           cmocka_unit_test(streamed_pieces_make_up_the_text))
