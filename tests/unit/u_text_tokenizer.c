#include "unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/bpe_train.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

#define CASES "tests/fixtures/tokenizers/cases.jsonl"

/* --- against what the `tokenizers` package gave (tests/parity/make_tokenizers.py)
 * ----------------- */

static void assert_ids(const char *name, const char *text, const struct token_list *got,
                       const json_t *want) {
    bool same = got->n == (int64_t)json_array_size(want);
    for (int64_t i = 0; same && i < got->n; i++)
        same = got->ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (!same) fail_msg("%s: other ids than expected for \"%s\"", name, text);
}

static void check_decoding(const struct tokenizer *t, const char *name,
                           const struct token_list *ids, bool skip, const json_t *want) {
    struct buf out;
    struct err err;
    buf_init(&out, 1 << 20);
    assert_int_equal(tokenizer_decode(t, ids->ids, ids->n, skip, &out, &err), 0);
    if (!str_eq(buf_view(&out), json_str(want)))
        fail_msg("%s: decoded \"%s\", not \"%s\"", name, out.p, json_string_value(want));
    buf_release(&out);
}

static void check_try(const struct tokenizer *t, const char *name, const json_t *each) {
    struct str text = json_str(json_array_get(each, 0));
    struct err err;
    for (int specials = 0; specials < 2; specials++) {
        struct token_list ids = {0};
        if (tokenizer_encode(t, text, specials, &ids, &err)) fail_msg("%s: %s", name, err.msg);
        assert_ids(name, text.p, &ids, json_array_get(each, 1 + (size_t)specials));
        if (specials) {
            check_decoding(t, name, &ids, false, json_array_get(each, 3));
            check_decoding(t, name, &ids, true, json_array_get(each, 4));
        }
        token_list_release(&ids);
    }
}

static void check_tries(const struct tokenizer *t, const char *name, const json_t *tries) {
    size_t i;
    const json_t *each;
    json_array_foreach(tries, i, each) check_try(t, name, each);
}

static struct tokenizer *from_text(struct str json, const char *name) {
    struct tokenizer *t = NULL;
    struct err err;
    if (tokenizer_from_json(json, STR_LIT(""), name, &t, &err)) fail_msg("%s", err.msg);
    return t;
}

static struct tokenizer *written_and_read(const struct tokenizer *t, const char *name) {
    struct buf out;
    struct err err;
    char before[65], after[65];
    buf_init(&out, 1 << 24);
    assert_int_equal(tokenizer_write_json(t, &out, &err), 0);
    struct tokenizer *copy = from_text(buf_view(&out), name);
    tokenizer_hash(t, before);
    tokenizer_hash(copy, after);
    assert_string_equal(before, after);
    buf_release(&out);
    return copy;
}

static void check_case(struct str line) {
    json_t *c = NULL;
    struct err err;
    struct buf json;
    buf_init(&json, 1 << 24);
    assert_int_equal(json_read(line, CASES, &c, &err), 0);
    const char *name = json_string_value(json_object_get(c, "name"));
    json_write(json_object_get(c, "tokenizer"), &json);
    struct tokenizer *t = from_text(buf_view(&json), name);
    struct tokenizer *copy = written_and_read(t, name);
    check_tries(t, name, json_object_get(c, "tries"));
    check_tries(t, name, json_object_get(c, "tries")); /* again: what was learnt changes nothing */
    check_tries(copy, name, json_object_get(c, "tries"));
    tokenizer_free(copy);
    tokenizer_free(t);
    buf_release(&json);
    json_decref(c);
}

static void every_component_as_the_package(void **state) {
    (void)state;
    struct buf file;
    struct err err;
    buf_init(&file, 1 << 24);
    assert_int_equal(file_read(CASES, &file, &err), 0);
    int count = 0;
    for (struct str rest = buf_view(&file); rest.n; count++) {
        const char *end = memchr(rest.p, '\n', rest.n);
        assert_non_null(end);
        check_case((struct str){rest.p, (size_t)(end - rest.p)});
        rest = str_from(rest, (size_t)(end - rest.p) + 1);
    }
    assert_true(count > 30);
    buf_release(&file);
}

/* Merges of characters, as the package has it: where a text is cut must not be seen in the ids. */
static void rare_models_as_the_package(void **state) {
    (void)state;
#define MODEL(body) "{\"model\":{\"type\":\"BPE\"," body "}"
#define A_B "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]"
#define ADDED(id) ",\"added_tokens\":[{\"id\":" id ",\"content\":\"<s>\",\"special\":true}]"
#define SOME_BYTES                                                                                 \
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"<0xC3>\":2,\"<0xA9>\":3},\"merges\":[],"                     \
    "\"unk_token\":\"<unk>\",\"byte_fallback\":true"
    static const struct {
        const char *json, *text;
        int32_t ids[8];
        int n;
    } cases[] = {
        /* an added token's id is the vocabulary's, or the next one */
        {MODEL(A_B) ADDED("0") "}", "abab<s>", {2, 2, 3}, 3},
        {MODEL(A_B) ADDED("9") "}", "abab<s>", {2, 2, 3}, 3},
        {MODEL("\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]") ADDED("1") "}", "ab<s>", {0, 2, 1}, 3},
        {MODEL(A_B) ADDED("0") ",\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                               "\"add_prefix_space\":false}}",
         "abab<s>",
         {2, 2, 3},
         3},
        {MODEL("\"vocab\":{\"\":0,\"a\":1,\"b\":2},\"merges\":[[\"\",\"a\"]]") "}",
         "aba",
         {1, 2, 1},
         3},
        /* unknown characters that leave nothing, and those whose token comes late */
        {MODEL(A_B) "}", "a\303\251b", {2}, 1},
        {MODEL(A_B ",\"byte_fallback\":true") "}", "a\303\251\303\251bb", {2, 1}, 2},
        {MODEL(SOME_BYTES) "}", "a\344\270\255\303\251a", {1, 2, 3, 0, 1}, 5},
        {MODEL(SOME_BYTES) "}", "\303\251\344\270\255a\344\270\255", {2, 3, 0, 1, 0}, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer *t = from_text(str_of(cases[i].json), "rare");
        struct token_list ids = {0};
        struct err err;
        assert_int_equal(tokenizer_encode(t, str_of(cases[i].text), true, &ids, &err), 0);
        assert_int_equal(ids.n, cases[i].n);
        assert_memory_equal(ids.ids, cases[i].ids, (size_t)ids.n * sizeof *ids.ids);
        token_list_release(&ids);
        tokenizer_free(t);
    }
}

/* --- real ones
 * ------------------------------------------------------------------------------------ */

static char *shared(const char *name) {
    const char *root = getenv("ATTUNE_SHARED");
    char *data = path_join(root ? root : "../shared", "data");
    char *path = path_join(data, name);
    mem_free(data);
    return path;
}

static void real_tokenizers(void **state) {
    (void)state;
    static const struct {
        const char *path, *text;
        int32_t ids[24];
        int n;
    } cases[] = {
        {"tokenizers/gpt2",
         "Hello world, it's 2024!\n  \303\251 \344\275\240\345\245\275",
         {15496, 995, 11, 340, 338, 48609, 0, 198, 220, 38251, 220, 19526, 254, 25001, 121},
         15},
        {"tokenizers/smollm2",
         "Hello world, it's 2024!\n  \303\251",
         {19556, 905, 28, 357, 506, 216, 34, 32, 34, 36, 17, 3805, 26411},
         13},
        {"tokenizers/qwen2.5",
         "Hello world, it's 2024!\n  \303\251 \344\275\240\345\245\275",
         {9707, 1879, 11, 432, 594, 220, 17, 15, 17, 19, 4894, 220, 3958, 220, 108386},
         15},
        {"tokenizers/llama-spm-32k",
         "Hello world, it's 2024! \344\275\240\345\245\275",
         {22557, 1526, 28725, 378, 28742, 28713, 28705, 28750, 28734, 28750, 28781, 28808, 28705,
          29383, 29530},
         15},
        {"models/tinystories-656k",
         "Once upon a time, there was a little girl.",
         {1, 80, 147, 201, 282, 215, 286, 1890, 10},
         9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = shared(cases[i].path);
        struct tokenizer *t = NULL;
        struct token_list ids = {0};
        struct buf out;
        struct err err;
        buf_init(&out, 1 << 16);
        if (!dir_exists(path)) {
            print_message("skipped: no %s\n", path);
            mem_free(path);
            continue;
        }
        if (tokenizer_open(path, &t, &err)) fail_msg("%s", err.msg);
        assert_int_equal(tokenizer_encode(t, str_of(cases[i].text), true, &ids, &err), 0);
        assert_int_equal(ids.n, cases[i].n);
        assert_memory_equal(ids.ids, cases[i].ids, (size_t)ids.n * sizeof *ids.ids);
        assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, true, &out, &err), 0);
        assert_string_equal(out.p, cases[i].text);
        token_list_release(&ids);
        buf_release(&out);
        tokenizer_free(t);
        mem_free(path);
    }
}

/* --- a small one made here
 * ------------------------------------------------------------------------ */

static struct tokenizer *trained(int32_t vocab, bool specials_last) {
    static const struct str specials[] = {{"<|end|>", 7}, {"<|user|>", 8}};
    struct bpe_train_options o = {.vocab_size = vocab,
                                  .specials = specials,
                                  .special_count = 2,
                                  .specials_last = specials_last,
                                  .split_digits = true};
    struct buf text, json;
    struct err err;
    buf_init(&text, 1 << 20);
    buf_init(&json, 1 << 20);
    for (int i = 0; i < 50; i++) buf_z(&text, "<|user|>the cat sat on the mat, 42 times.<|end|>\n");
    assert_int_equal(bpe_train(buf_view(&text), &o, &json, &err), 0);
    struct tokenizer *t = from_text(buf_view(&json), "trained");
    buf_release(&text);
    buf_release(&json);
    return t;
}

static void training_merges_the_most_frequent(void **state) {
    (void)state;
    struct tokenizer *t = trained(300, false), *last = trained(300, true);
    assert_true(tokenizer_size(t) <= 300 && tokenizer_size(t) > 260);
    assert_int_equal(tokenizer_find(t, STR_LIT("<|end|>")), 0);
    assert_int_equal(tokenizer_find(last, STR_LIT("<|user|>")), tokenizer_size(last) - 1);
    assert_true(tokenizer_is_special(t, 1));
    assert_false(tokenizer_is_special(t, 2));
    assert_true(tokenizer_find(t, STR_LIT("\xC4\xA0the")) > 0); /* " the" */
    assert_int_equal(tokenizer_find(t, STR_LIT("42")), -1);     /* digits stay single */
    struct token_list ids = {0};
    struct err err;
    assert_int_equal(tokenizer_encode(t, STR_LIT("<|user|> the cat<|end|>"), false, &ids, &err), 0);
    assert_int_equal(ids.n, 4);
    assert_int_equal(ids.ids[0], 1);
    assert_int_equal(ids.ids[3], 0);
    assert_true(str_is(tokenizer_bytes(t, ids.ids[1]), " the"));
    assert_true(str_is(tokenizer_bytes(t, ids.ids[3]), "<|end|>"));
    token_list_release(&ids);
    tokenizer_free(t);
    tokenizer_free(last);
}

static double seconds_for(const struct tokenizer *t, struct str text) {
    struct token_list ids = {0};
    struct err err;
    double start = clock_seconds();
    assert_int_equal(tokenizer_encode(t, text, false, &ids, &err), 0);
    double took = clock_seconds() - start;
    token_list_release(&ids);
    return took;
}

/* Quadratic work on 1 MB would take minutes; on two cores in use this has 5 s. */
static void long_runs_are_not_quadratic(void **state) {
    (void)state;
    struct tokenizer *t = trained(300, false);
    static const char runs[] = "a 7\n.\xE4";
    for (size_t r = 0; r < sizeof runs - 1; r++) {
        size_t n = 1 << 20;
        char *p = mem_alloc(n);
        memset(p, runs[r], n);
        if (r == sizeof runs - 2)
            for (size_t i = 0; i + 3 <= n; i += 3) memcpy(p + i, "\xE4\xB8\xAD", 3);
        assert_true(seconds_for(t, (struct str){p, n / 3 * 3}) < 5);
        mem_free(p);
    }
    tokenizer_free(t);
}

static void bytes_join_to_any_text(void **state) {
    (void)state;
    struct tokenizer *t = trained(300, false);
    struct rng rng;
    rng_init(&rng, unit_seed());
    for (int round = 0; round < 200; round++) {
        struct buf text, joined;
        struct token_list ids = {0};
        struct err err;
        buf_init(&text, 1 << 16);
        buf_init(&joined, 1 << 16);
        for (int i = 0; i < 40; i++) {
            unsigned cp = (unsigned)rng_below(&rng, round % 2 ? 0x250 : 0x30000);
            if (cp < 0xD800 || cp > 0xDFFF) buf_utf8(&text, cp);
        }
        assert_int_equal(tokenizer_encode(t, buf_view(&text), false, &ids, &err), 0);
        for (int64_t i = 0; i < ids.n; i++) buf_str(&joined, tokenizer_bytes(t, ids.ids[i]));
        assert_true(str_eq(buf_view(&text), buf_view(&joined)));
        token_list_release(&ids);
        buf_release(&text);
        buf_release(&joined);
    }
    tokenizer_free(t);
}

/* --- what is refused
 * ------------------------------------------------------------------------------ */

static void bad_files_are_named(void **state) {
    (void)state;
#define LONG "#################################################################"
    static const struct {
        const char *json, *says;
        int code;
    } cases[] = {
        {"[]", "must be an object", ERR_INVALID},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "\"WordPiece\" is not supported", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "has the id -1",
         ERR_INVALID},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999},\"merges\":[]}}", "99999999",
         ERR_INVALID},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "\"b\"",
         ERR_INVALID},
        {MODEL("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]") "}",
         "\"b\" has the id 0 of token \"a\"", ERR_INVALID},
        {MODEL("\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]") ADDED("0") "}",
         "\"<s>\" has the id 0 of token \"a\"", ERR_INVALID},
        {MODEL(A_B ",\"continuing_subword_prefix\":\"" LONG "\"") "}",
         "\"continuing_subword_prefix\" has 65 bytes; at most 64", ERR_LIMIT},
        {MODEL(A_B ",\"end_of_word_suffix\":\"" LONG "\"") "}",
         "\"end_of_word_suffix\" has 65 bytes; at most 64", ERR_LIMIT},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 0",
         ERR_INVALID},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", "dropout",
         ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"normalizer\":{\"type\":"
         "\"Nmt\"}}",
         "\"Nmt\"", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"pre_tokenizer\":{\"type\":"
         "\"Split\","
         "\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}}",
         "regular expression", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"decoder\":{\"type\":\"CTC\"}}",
         "\"CTC\"", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer *t = NULL;
        struct err err;
        assert_int_equal(
            tokenizer_from_json(str_of(cases[i].json), STR_LIT(""), "t.json", &t, &err),
            cases[i].code);
        assert_non_null(strstr(err.msg, cases[i].says));
        assert_null(t);
    }
}

static void text_that_is_not_utf8_is_refused_with_its_offset(void **state) {
    (void)state;
    struct tokenizer *t = trained(260, false);
    struct token_list ids = {0};
    struct err err;
    assert_int_equal(tokenizer_encode(t, STR_LIT("abc\xFFz"), false, &ids, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "offset 3"));
    token_list_release(&ids);
    tokenizer_free(t);
}

/* --- vocabularies of GGUF files
 * -------------------------------------------------------------------- */

/* "b" is no token by itself, and "abc" has the best score though "ab" is merged on the way. */
static void scores_rank_merges_as_in_llama_cpp(void **state) {
    (void)state;
    static const struct str tokens[] = {{"<unk>", 5},
                                        {"<s>", 3},
                                        {"</s>", 4},
                                        {"<0x62>", 6},
                                        {"<0xC3>", 6},
                                        {"<0xA9>", 6},
                                        {"\xE2\x96\x81", 3},
                                        {"a", 1},
                                        {"c", 1},
                                        {"ab", 2},
                                        {"abc", 3},
                                        {"\xE2\x96\x81"
                                         "a",
                                         4}};
    static const float scores[] = {0, 0, 0, 0, 0, 0, -9, -9, -9, -2, -1, -3};
    static const int32_t types[] = {2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1};
    struct tokenizer_vocab v = {.model = STR_LIT("llama"),
                                .tokens = tokens,
                                .scores = scores,
                                .types = types,
                                .count = 12,
                                .bos = 1,
                                .eos = 2,
                                .unk = 0,
                                .add_bos = true,
                                .add_space_prefix = true};
    static const struct {
        const char *text;
        int32_t ids[8];
        int n;
    } cases[] = {
        {"abc", {1, 6, 10}, 3}, /* "_" "abc": -1 beats "_a" */
        {"a", {1, 11}, 2},
        {"b", {1, 6, 3}, 3},
        {"c\xC3\xA9", {1, 6, 8, 4, 5}, 5},
        {"a</s>a", {1, 11, 2, 11}, 4}, /* a space in front again after a special token */
    };
    struct tokenizer *t = NULL;
    struct err err;
    if (tokenizer_from_vocab(&v, "x.gguf", &t, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct token_list ids = {0};
        assert_int_equal(tokenizer_encode(t, str_of(cases[i].text), true, &ids, &err), 0);
        assert_int_equal(ids.n, cases[i].n);
        assert_memory_equal(ids.ids, cases[i].ids, (size_t)ids.n * sizeof *ids.ids);
        token_list_release(&ids);
    }
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    tokenizer_free(t);
    v.pre = STR_LIT("no-such");
    v.model = STR_LIT("gpt2");
    assert_int_equal(tokenizer_from_vocab(&v, "x.gguf", &t, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "no-such"));
}

/* Merges of a long token would be looked for at each of its characters. */
static void a_token_too_long_to_merge_is_named(void **state) {
    (void)state;
    char as[1025];
    memset(as, 'a', sizeof as);
    struct str tokens[] = {{"a", 1}, {as, sizeof as}};
    static const float scores[] = {-1, -2};
    struct tokenizer_vocab v = {
        .model = STR_LIT("llama"), .tokens = tokens, .scores = scores, .count = 2};
    struct tokenizer *t = NULL;
    struct err err;
    v.bos = v.eos = v.unk = -1;
    assert_int_equal(tokenizer_from_vocab(&v, "x.gguf", &t, &err), ERR_LIMIT);
    assert_string_equal(err.msg, "x.gguf: token 1 has 1025 bytes; at most 1024 can be merged");
    tokens[1].n--;
    assert_int_equal(tokenizer_from_vocab(&v, "x.gguf", &t, &err), 0);
    tokenizer_free(t);
}

static void write_in(const char *dir, const char *name, const char *text) {
    struct err err;
    char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic(path, str_of(text), &err), 0);
    mem_free(path);
}

static void added_tokens_of_a_directory_follow_their_ids(void **state) {
    (void)state;
    struct tokenizer *t = NULL;
    struct err err;
    char *dir = path_join(unit_dir(), "three-files");
    assert_int_equal(dir_make(dir, &err), 0);
    write_in(dir, "vocab.json", "{\"a\":0,\"b\":1,\"ab\":2}");
    write_in(dir, "merges.txt", "#version: 0.2\na b\n");
    write_in(dir, "added_tokens.json", "{\"<x>\":8,\"<y>\":7,\"b\":9}");
    if (tokenizer_open(dir, &t, &err)) fail_msg("%s", err.msg);
    mem_free(dir);
    assert_int_equal(tokenizer_find(t, STR_LIT("<y>")), 3);
    assert_int_equal(tokenizer_find(t, STR_LIT("<x>")), 4);
    assert_int_equal(tokenizer_find(t, STR_LIT("b")), 1);
    tokenizer_free(t);
}

UNIT_TESTS(text_tokenizer, cmocka_unit_test(every_component_as_the_package),
           cmocka_unit_test(rare_models_as_the_package),
           cmocka_unit_test(a_token_too_long_to_merge_is_named),
           cmocka_unit_test(added_tokens_of_a_directory_follow_their_ids),
           cmocka_unit_test(real_tokenizers), cmocka_unit_test(training_merges_the_most_frequent),
           cmocka_unit_test(long_runs_are_not_quadratic), cmocka_unit_test(bytes_join_to_any_text),
           cmocka_unit_test(bad_files_are_named),
           cmocka_unit_test(text_that_is_not_utf8_is_refused_with_its_offset),
           cmocka_unit_test(scores_rank_merges_as_in_llama_cpp))
