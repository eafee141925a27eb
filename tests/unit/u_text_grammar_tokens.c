/* Grammars over the tokens of real vocabularies: masks against the automaton run token by token,
 * and random walks through random schemas, whose outputs must parse and satisfy the schema as a
 * validator of this file's own sees it. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "text/grammar.h"
#include "text/regex.h"
#include "text/tokenizer.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a validator ---------------------------------------------------------------------------------
 */

static bool valid(const json_t *root, const json_t *schema, const json_t *v);

static bool is_type(const json_t *v, const char *name) {
    double x = json_number_value(v);
    if (!strcmp(name, "null")) return json_is_null(v);
    if (!strcmp(name, "boolean")) return json_is_boolean(v);
    if (!strcmp(name, "string")) return json_is_string(v);
    if (!strcmp(name, "array")) return json_is_array(v);
    if (!strcmp(name, "object")) return json_is_object(v);
    if (!strcmp(name, "number")) return json_is_number(v);
    return json_is_number(v) && x == floor(x);
}

static bool valid_type(const json_t *type, const json_t *v) {
    if (!type) return true;
    if (json_is_string(type)) return is_type(v, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++)
        if (is_type(v, json_string_value(json_array_get(type, i)))) return true;
    return false;
}

static size_t characters(const json_t *v) {
    size_t n = 0;
    for (struct str s = json_str(v); s.n; n++) {
        unsigned cp;
        size_t k = utf8_get(s, &cp);
        s = str_from(s, k ? k : 1);
    }
    return n;
}

static bool matches(const char *pattern, const json_t *v) {
    struct err err;
    struct regex *r;
    size_t from, to;
    if (regex_compile(str_of(pattern), "test", &r, &err)) fail_msg("%s", err.msg);
    struct regex_match *m = regex_match_new(r);
    int rc = regex_find(r, m, json_str(v), 0, &from, &to, &err);
    regex_match_free(m);
    regex_free(r);
    return rc == 1;
}

static bool valid_string(const json_t *s, const json_t *v) {
    const json_t *min = json_object_get(s, "minLength"), *max = json_object_get(s, "maxLength");
    const json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
    size_t n = characters(v);
    if (min && n < (size_t)json_integer_value(min)) return false;
    if (max && n > (size_t)json_integer_value(max)) return false;
    if (pattern && !matches(json_string_value(pattern), v)) return false;
    if (!format) return true;
    const char *name = json_string_value(format);
    return matches(!strcmp(name, "date")   ? "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$"
                   : !strcmp(name, "uuid") ? "^[\\da-fA-F]{8}-([\\da-fA-F]{4}-){3}[\\da-fA-F]{12}$"
                   : !strcmp(name, "ipv4") ? "^\\d{1,3}(\\.\\d{1,3}){3}$"
                                           : "^\\S+@\\S+$",
                   v);
}

static bool valid_number(const json_t *s, const json_t *v) {
    static const char *const names[] = {"minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum"};
    double x = json_number_value(v);
    for (int i = 0; i < 4; i++) {
        const json_t *b = json_object_get(s, names[i]);
        double y = json_number_value(b);
        if (!b) continue;
        if (i == 0 ? x < y : i == 1 ? x > y : i == 2 ? x <= y : x >= y) return false;
    }
    const json_t *step = json_object_get(s, "multipleOf");
    double q = step ? x / json_number_value(step) : 0;
    return fabs(q - nearbyint(q)) <= 1e-9 * fabs(q);
}

static bool valid_array(const json_t *root, const json_t *s, const json_t *v) {
    const json_t *min = json_object_get(s, "minItems"), *max = json_object_get(s, "maxItems");
    const json_t *items = json_object_get(s, "items"), *prefix = json_object_get(s, "prefixItems");
    size_t n = json_array_size(v);
    if (min && n < (size_t)json_integer_value(min)) return false;
    if (max && n > (size_t)json_integer_value(max)) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (own && !valid(root, own, json_array_get(v, i))) return false;
    }
    return true;
}

static bool valid_object(const json_t *root, const json_t *s, const json_t *v) {
    const json_t *properties = json_object_get(s, "properties");
    const json_t *required = json_object_get(s, "required");
    const json_t *further = json_object_get(s, "additionalProperties");
    const char *name;
    json_t *member;
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(v, json_string_value(json_array_get(required, i)))) return false;
    json_object_foreach((json_t *)v, name, member) {
        const json_t *own = json_object_get(properties, name);
        if (!own) own = further;
        if (own && !valid(root, own, member)) return false;
    }
    return true;
}

static bool valid(const json_t *root, const json_t *s, const json_t *v) {
    const json_t *list;
    if (json_is_boolean(s)) return json_is_true(s);
    if ((list = json_object_get(s, "$ref"))) {
        const char *at = json_string_value(list) + 1;
        const json_t *target = root;
        if (*at) target = json_object_get(json_object_get(root, "$defs"), strrchr(at, '/') + 1);
        if (!valid(root, target, v)) return false;
    }
    if (!valid_type(json_object_get(s, "type"), v)) return false;
    if ((list = json_object_get(s, "const")) && !json_equal(list, v)) return false;
    bool in = !(list = json_object_get(s, "enum"));
    for (size_t i = 0; i < json_array_size(list) && !in; i++)
        in = json_equal(json_array_get(list, i), v);
    bool any = !(list = json_object_get(s, "anyOf"));
    for (size_t i = 0; i < json_array_size(list) && !any; i++)
        any = valid(root, json_array_get(list, i), v);
    if (!in || !any) return false;
    if (json_is_string(v)) return valid_string(s, v);
    if (json_is_number(v)) return valid_number(s, v);
    if (json_is_array(v)) return valid_array(root, s, v);
    return !json_is_object(v) || valid_object(root, s, v);
}

/* --- random schemas ------------------------------------------------------------------------------
 */

static bool odds(struct rng *r, int percent) { return rng_below(r, 100) < (uint64_t)percent; }

static json_t *random_string(struct rng *r) {
    static const char *const patterns[] = {"^[a-z]{2,5}$", "^\\d{3}-\\d{4}$",  "ab+c",
                                           "^(x|yz)*$",    "^[^\"\\\\]{0,4}$", "^\\S+\\s\\S+$",
                                           "^.{1,20}$"};
    static const char *const formats[] = {"date", "uuid", "ipv4", "email"};
    json_t *s = json_pack("{s:s}", "type", "string");
    if (odds(r, 20)) {
        json_object_set_new(s, "pattern", json_string(patterns[rng_below(r, 7)]));
        return s;
    }
    if (odds(r, 20)) {
        json_object_set_new(s, "format", json_string(formats[rng_below(r, 4)]));
        return s;
    }
    int min = (int)rng_below(r, 4);
    if (odds(r, 30)) json_object_set_new(s, "minLength", json_integer(min));
    if (odds(r, 40)) json_object_set_new(s, "maxLength", json_integer(min + (int)rng_below(r, 30)));
    return s;
}

static json_t *random_number(struct rng *r) {
    static const double steps[] = {1, 2, 5, 7, 0.5, 0.01, 0.25, 1000};
    bool whole = odds(r, 60);
    json_t *s = json_pack("{s:s}", "type", whole ? "integer" : "number");
    double lo = (double)rng_below(r, 4000) - 2000, width = (double)rng_below(r, 3000) + 10;
    if (!whole) lo += (double)rng_below(r, 100) / 100;
    if (odds(r, 40))
        json_object_set_new(s, odds(r, 50) ? "minimum" : "exclusiveMinimum", json_real(lo));
    if (odds(r, 40))
        json_object_set_new(s, odds(r, 50) ? "maximum" : "exclusiveMaximum", json_real(lo + width));
    if (odds(r, 30))
        json_object_set_new(s, "multipleOf", json_real(steps[rng_below(r, whole ? 4 : 7)]));
    return s;
}

static json_t *random_schema(struct rng *r, int depth);

static json_t *random_array(struct rng *r, int depth) {
    json_t *s = json_pack("{s:s}", "type", "array");
    int min = (int)rng_below(r, 3);
    if (odds(r, 80)) json_object_set_new(s, "items", random_schema(r, depth - 1));
    if (odds(r, 20)) {
        json_t *prefix = json_array();
        for (int n = (int)rng_below(r, 3) + 1; n; n--)
            json_array_append_new(prefix, random_schema(r, depth - 1));
        json_object_set_new(s, "prefixItems", prefix);
    }
    if (odds(r, 40)) json_object_set_new(s, "minItems", json_integer(min));
    if (odds(r, 40)) json_object_set_new(s, "maxItems", json_integer(min + (int)rng_below(r, 4)));
    return s;
}

static json_t *random_object(struct rng *r, int depth) {
    static const char *const names[] = {
        "a", "name",  "na", "x y", "\"q\"", "\xC3\xA9t\xC3\xA9", "nested_value",
        "1", "A/b~c", "t\n"};
    json_t *s = json_pack("{s:s}", "type", "object"), *properties = json_object();
    json_t *required = json_array();
    for (int n = (int)rng_below(r, 5); n; n--) {
        const char *name = names[rng_below(r, 10)];
        if (json_object_get(properties, name)) continue;
        json_object_set_new(properties, name, random_schema(r, depth - 1));
        if (odds(r, 60)) json_array_append_new(required, json_string(name));
    }
    json_object_set_new(s, "properties", properties);
    json_object_set_new(s, "required", required);
    if (odds(r, 60))
        json_object_set_new(s, "additionalProperties", json_false());
    else if (odds(r, 50))
        json_object_set_new(s, "additionalProperties", random_schema(r, depth - 1));
    return s;
}

static json_t *random_values(struct rng *r) {
    static const char *const lists[] = {"[\"red\",\"green\",\"blue\"]",
                                        "[1,2,12]",
                                        "[\"a\",null,3,true]",
                                        "[\"\",\"\xF0\x9F\x98\x80\"]",
                                        "[\"tab\\t\\\"\"]",
                                        "[{\"k\":[1,\"v\"]},[],{}]",
                                        "[-1.5,\"x\"]"};
    struct err err;
    json_t *v;
    if (json_read(str_of(lists[rng_below(r, 7)]), "list", &v, &err)) fail_msg("%s", err.msg);
    if (odds(r, 70)) return json_pack("{s:o}", "enum", v);
    json_t *one = json_pack("{s:O}", "const", json_array_get(v, 0));
    json_decref(v);
    return one;
}

static json_t *random_schema(struct rng *r, int depth) {
    int kind = (int)rng_below(r, depth > 0 ? 12 : 6);
    json_t *s;
    switch (kind) {
    case 0:
    case 1: return random_string(r);
    case 2:
    case 3: return random_number(r);
    case 4: return random_values(r);
    case 5: return json_pack("{s:[s,s]}", "type", "null", "boolean");
    case 6:
    case 7: return random_array(r, depth);
    case 8:
    case 9: return random_object(r, depth);
    case 10:
        s = json_array();
        for (int n = 2 + (int)rng_below(r, 2); n; n--)
            json_array_append_new(s, random_schema(r, depth - 1));
        return json_pack("{s:o}", "anyOf", s);
    default:
        return odds(r, 50) ? json_pack("{s:s}", "$ref", odds(r, 50) ? "#/$defs/d" : "#")
                           : json_object();
    }
}

static json_t *random_root(struct rng *r) {
    json_t *s = random_object(r, 3);
    json_object_set_new(s, "$defs", json_pack("{s:o}", "d", random_schema(r, 2)));
    return s;
}

/* --- walks ---------------------------------------------------------------------------------------
 */

struct vocab {
    struct tokenizer *tokenizer;
    struct grammar_vocab *v;
    int64_t size;
    int32_t stop, enders[16]; /* tokens that tend to end things */
    int ender_count;
};

static bool open_vocab(const char *dir, struct vocab *ret) {
    struct err err;
    *ret = (struct vocab){0};
    if (!dir_exists(dir)) return false;
    if (tokenizer_open(dir, &ret->tokenizer, &err)) fail_msg("%s", err.msg);
    ret->stop = tokenizer_eos(ret->tokenizer);
    if (ret->stop < 0) ret->stop = tokenizer_bos(ret->tokenizer);
    if (grammar_vocab_new(ret->tokenizer, &ret->stop, 1, &ret->v, &err)) fail_msg("%s", err.msg);
    ret->size = tokenizer_size(ret->tokenizer);
    for (const char *c = "\"}]0159,:a{"; *c; c++)
        for (int32_t id = 0; id < ret->size; id++)
            if (str_eq(tokenizer_bytes(ret->tokenizer, id), (struct str){c, 1})) {
                ret->enders[ret->ender_count++] = id;
                break;
            }
    return true;
}

static void close_vocab(struct vocab *v) {
    grammar_vocab_free(v->v);
    tokenizer_free(v->tokenizer);
}

static bool bit(const uint64_t *bits, int32_t id) { return bits[id >> 6] >> (id & 63) & 1; }

static int32_t pick(struct rng *r, const struct vocab *v, const uint64_t *bits, bool closing) {
    int32_t chosen = -1;
    int64_t seen = 0;
    if (closing && bit(bits, v->stop)) return v->stop;
    for (int i = 0; closing && i < v->ender_count; i++)
        if (bit(bits, v->enders[i])) return v->enders[i];
    for (int64_t w = 0; w < (v->size + 63) / 64; w++)
        for (uint64_t x = bits[w]; x; x &= x - 1)
            if (rng_below(r, (uint64_t)++seen) == 0)
                chosen = (int32_t)(w * 64 + __builtin_ctzll(x));
    return chosen;
}

static void compare_with_automaton(const struct vocab *v, const struct grammar_state *s,
                                   const uint64_t *bits, const char *where) {
    for (int32_t id = 0; id < v->size; id++) {
        struct grammar_state *c = grammar_state_copy(s);
        bool ok = grammar_accept(c, id);
        grammar_state_free(c);
        if (ok != bit(bits, id))
            fail_msg("%s: token %d \"%.*s\": mask %d, automaton %d", where, id,
                     STR_ARG(tokenizer_bytes(v->tokenizer, id)), bit(bits, id), ok);
    }
}

/* The text of one walk; false when it was not whole after so many tokens. */
static bool walk(struct rng *r, const struct vocab *v, struct grammar *g, int compare,
                 struct buf *text) {
    struct err err;
    struct grammar_state *s;
    uint64_t *bits = mem_zalloc((size_t)v->size / 64 + 1, 8);
    int soft = (int)rng_below(r, 40);
    bool whole = false;
    if (grammar_state_new(g, v->v, &s, &err)) fail_msg("%s", err.msg);
    for (int step = 0; step < 400 && !whole; step++) {
        grammar_mask(s, bits, v->size);
        if (bit(bits, v->stop) != grammar_finished(s)) fail_msg("stop token and finished differ");
        if (compare && step % compare == 0) compare_with_automaton(v, s, bits, buf_view(text).p);
        int32_t id = pick(r, v, bits, step > soft && !odds(r, 20));
        if (id < 0) fail_msg("nothing may follow \"%s\"", buf_view(text).p);
        if (!grammar_accept(s, id)) fail_msg("token %d of the mask is not accepted", id);
        whole = id == v->stop;
        if (!whole) buf_str(text, tokenizer_bytes(v->tokenizer, id));
    }
    grammar_state_free(s);
    mem_free(bits);
    return whole;
}

static void check_text(const json_t *schema, const struct grammar *g, struct str text) {
    struct err err;
    json_t *v;
    int rc = json_read(text, "output", &v, &err);
    if (rc && strstr(err.msg, "duplicate object key")) return; /* free names may repeat */
    if (rc) fail_msg("%s in %.*s", err.msg, STR_ARG(text));
    if (!valid(schema, schema, v)) {
        char *s = json_dumps(schema, JSON_COMPACT);
        fail_msg("%.*s does not satisfy %s", STR_ARG(text), s);
    }
    json_decref(v);
    if (!grammar_accepts_text(g, text, true)) fail_msg("not accepted: %.*s", STR_ARG(text));
}

static void walk_many(const char *dir, int schemas, int walks, int compare) {
    struct vocab v;
    struct rng r;
    int whole = 0, compiled = 0;
    if (!open_vocab(dir, &v)) {
        print_message("skipped: no %s\n", dir);
        return;
    }
    rng_init_stream(&r, unit_seed(), 7);
    for (int i = 0; i < schemas; i++) {
        struct err err;
        struct grammar *g;
        json_t *schema = random_root(&r);
        if (!grammar_compile(schema, NULL, &g, NULL, &err)) {
            compiled++;
            for (int k = 0; k < walks; k++) {
                struct buf text;
                buf_init(&text, 1 << 20);
                if (walk(&r, &v, g, compare, &text)) {
                    whole++;
                    check_text(schema, g, buf_view(&text));
                }
                buf_release(&text);
            }
            grammar_free(g);
        } else if (!strstr(err.msg, "no value")) {
            fail_msg("%s", err.msg);
        }
        json_decref(schema);
    }
    print_message("%s: %d schemas, %d of %d walks came to an end\n", dir, compiled, whole,
                  compiled * walks);
    assert_true(compiled > schemas / 2);
    assert_true(whole > compiled * walks / 2);
    close_vocab(&v);
}

static void walks_give_valid_json(void **state) {
    (void)state;
    walk_many("models/starter", 1000, 1, 0);
}

static void walks_with_other_vocabularies(void **state) {
    (void)state;
    walk_many("../shared/data/tokenizers/gpt2", 20, 2, 0);
    walk_many("../shared/data/tokenizers/llama-spm-32k", 20, 2, 0);
    walk_many("../shared/data/tokenizers/qwen2.5", 20, 2, 0);
}

static void masks_are_what_the_automaton_accepts(void **state) {
    (void)state;
    walk_many("models/starter", 40, 1, 5);
}

static int32_t find(const struct vocab *v, const char *bytes) {
    int32_t id = 0;
    while (id < v->size && !str_is(tokenizer_bytes(v->tokenizer, id), bytes)) id++;
    return id;
}

static void a_state_knows_when_it_may_and_must_stop(void **state) {
    (void)state;
    static const struct {
        const char *token;
        bool may, must;
    } steps[] = {{"{", false, false},  {"\"", false, false}, {"a", false, false},
                 {"\"", false, false}, {":", false, false},  {"1", false, false},
                 {"}", true, true}};
    struct vocab v;
    struct grammar *g;
    struct grammar_state *s;
    struct err err;
    uint64_t bits[100];
    assert_true(open_vocab("models/starter", &v));
    assert_true(v.size + 64 <= 6400);
    if (grammar_json_object(&g, &err)) fail_msg("%s", err.msg);
    if (grammar_state_new(g, v.v, &s, &err)) fail_msg("%s", err.msg);
    grammar_free(g); /* the state holds it */
    assert_false(grammar_accept(s, v.stop));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_true(grammar_accept(s, find(&v, steps[i].token)));
        assert_int_equal(grammar_finished(s), steps[i].may);
        assert_int_equal(grammar_must_stop(s), steps[i].must);
    }
    assert_false(grammar_accept(s, find(&v, "}")));
    assert_false(grammar_accept(s, -1));
    assert_false(grammar_accept(s, (int32_t)v.size));
    grammar_mask(s, bits, v.size + 64); /* a head wider than the vocabulary */
    int count = 0;
    for (int64_t i = 0; i < (v.size + 64 + 63) / 64; i++) count += __builtin_popcountll(bits[i]);
    assert_int_equal(count, 1);
    assert_true(bit(bits, v.stop));
    grammar_state_free(s);
    close_vocab(&v);
}

/* --- threads, poor vocabularies ------------------------------------------------------------------
 */

struct worker {
    const struct vocab *v;
    struct grammar *g;
    uint64_t seed;
    struct buf text;
};

static void *work(void *ctx) {
    struct worker *w = ctx;
    struct rng r;
    rng_init(&r, w->seed);
    walk(&r, w->v, w->g, 0, &w->text);
    return NULL;
}

static json_t *read_schema(const char *text) {
    struct err err;
    json_t *v;
    if (json_read(str_of(text), "schema", &v, &err)) fail_msg("%s", err.msg);
    return v;
}

/* Walks of one grammar at the same time give what they give alone. */
static void threads_share_a_grammar(void **state) {
    (void)state;
    struct vocab v;
    struct err err;
    struct worker alone[4], together[4];
    pthread_t threads[4];
    struct grammar *g[2];
    assert_true(open_vocab("models/starter", &v));
    json_t *schema =
        read_schema("{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
                    "\"a\":{\"type\":\"string\"},\"b\":{\"$ref\":\"#\"}}}}");
    for (int i = 0; i < 2; i++)
        if (grammar_compile(schema, NULL, &g[i], NULL, &err)) fail_msg("%s", err.msg);
    for (int i = 0; i < 4; i++) {
        alone[i] = (struct worker){&v, g[0], (uint64_t)i + 1, {0}};
        together[i] = (struct worker){&v, g[1], (uint64_t)i + 1, {0}};
        buf_init(&alone[i].text, 1 << 20);
        buf_init(&together[i].text, 1 << 20);
        work(&alone[i]);
    }
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, &together[i]);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(alone[i].text.n > 0);
        assert_true(str_eq(buf_view(&alone[i].text), buf_view(&together[i].text)));
        buf_release(&alone[i].text);
        buf_release(&together[i].text);
    }
    json_decref(schema);
    grammar_free(g[0]);
    grammar_free(g[1]);
    close_vocab(&v);
}

/* A vocabulary of whole words and few bytes: é is a token, its second byte is not, nor is 7. */
static void open_poor_vocab(struct vocab *ret) {
    static const char *const words[] = {"{\"", "\":",      "a",  "b",     "1", "2",
                                        "\"",  "{",        "}",  ":",     ",", "[",
                                        "]",   "\xC3\xA9", "17", "\"7\"", "-", "0"};
    enum { WORDS = sizeof words / sizeof *words };
    static struct str tokens[WORDS + 2];
    static int32_t types[WORDS + 2];
    static float scores[WORDS + 2];
    struct tokenizer_vocab v = {.model = STR_LIT("llama"),
                                .tokens = tokens,
                                .types = types,
                                .scores = scores,
                                .count = WORDS + 2,
                                .bos = -1,
                                .eos = WORDS,
                                .unk = -1};
    struct err err;
    for (int i = 0; i < WORDS; i++) {
        tokens[i] = str_of(words[i]);
        types[i] = 1;
    }
    tokens[WORDS] = STR_LIT("</s>");
    types[WORDS] = 3;
    tokens[WORDS + 1] = STR_LIT("<0xC3>"); /* the first byte alone leads nowhere */
    types[WORDS + 1] = 6;
    *ret = (struct vocab){.stop = WORDS, .size = WORDS + 2};
    if (tokenizer_from_vocab(&v, "poor", &ret->tokenizer, &err)) fail_msg("%s", err.msg);
    if (grammar_vocab_new(ret->tokenizer, &ret->stop, 1, &ret->v, &err)) fail_msg("%s", err.msg);
}

static void a_poor_vocabulary_is_never_led_into_a_dead_end(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        bool ok;
    } cases[] = {
        {"{\"enum\":[\"\xC3\xA9\",\"a7\"]}", true}, /* "a7" can be begun but not ended */
        {"{\"enum\":[\"a7\",\"b7b\"]}", false},
        {"{\"type\":\"string\",\"maxLength\":3}", true},
        {"{\"type\":\"string\",\"pattern\":\"^(a\xC3\xA9|\xC3\xA8)+$\"}", true},
        /* 17 is a token, but only bytes and whole characters count as a way out */
        {"{\"type\":\"integer\",\"minimum\":15,\"maximum\":19}", false},
        {"{\"type\":\"array\",\"items\":{\"enum\":[\"ab\",\"7\",1]},\"maxItems\":3}", true},
        {"{\"type\":\"object\",\"properties\":{\"7\":{}},\"required\":[\"7\"]}", false},
    };
    struct vocab v;
    struct rng r;
    rng_init(&r, unit_seed());
    open_poor_vocab(&v);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *g;
        struct grammar_state *s = NULL;
        struct err err;
        json_t *schema = read_schema(cases[i].schema);
        if (grammar_compile(schema, NULL, &g, NULL, &err)) fail_msg("%s", err.msg);
        int rc = grammar_state_new(g, v.v, &s, &err);
        grammar_state_free(s);
        if (!rc != cases[i].ok) fail_msg("%s: %d %s", cases[i].schema, rc, rc ? err.msg : "");
        for (int k = 0; !rc && k < 50; k++) {
            struct buf text;
            buf_init(&text, 1 << 16);
            if (walk(&r, &v, g, 1, &text)) check_text(schema, g, buf_view(&text));
            buf_release(&text);
        }
        json_decref(schema);
        grammar_free(g);
    }
    close_vocab(&v);
}

UNIT_TESTS(text_grammar_tokens, cmocka_unit_test(walks_give_valid_json),
           cmocka_unit_test(walks_with_other_vocabularies),
           cmocka_unit_test(masks_are_what_the_automaton_accepts),
           cmocka_unit_test(a_state_knows_when_it_may_and_must_stop),
           cmocka_unit_test(threads_share_a_grammar),
           cmocka_unit_test(a_poor_vocabulary_is_never_led_into_a_dead_end))
