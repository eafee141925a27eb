/* Graders: a table of types over the scores of text and JSON; templates are filled here. */
#include "eval/grader.h"

#include "base/mem.h"
#include "data/schema.h"
#include "eval/expression.h"
#include "eval/question.h"
#include "eval/score_json.h"
#include "eval/score_text.h"
#include "eval/similarity.h"

#include <math.h>
#include <string.h>

#define FILLED_MAX ((size_t)64 << 20)
#define CHILDREN_MAX 32

struct kind;
struct grader {
    const struct kind *kind;
    json_t *config; /* owned; strings below point into it */
    struct str name, input, reference;
    double threshold;
    const struct similarity *metric;
    struct str pattern, operation; /* pattern: empty when the reference is it */
    double tolerance, relative;
    bool last;
    struct schema *schema;
    struct grader *children[CHILDREN_MAX];
    struct str keys[CHILDREN_MAX], expression;
    size_t count;
    struct question *question; /* of those that ask a model */
};

struct kind {
    const char *name;
    double threshold; /* by default */
    int (*read)(struct grader *g, const char *where, struct err *err);
    int (*score)(const struct grader *g, struct str in, struct str ref, double *ret,
                 struct err *err); /* NULL: by its parts, or by asking a model */
};

#define SCORE(name)                                                                                \
    static int name(const struct grader *g, struct str in, struct str ref, double *ret,            \
                    struct err *err)

static int no_options(struct grader *g, const char *where, struct err *err) {
    (void)g, (void)where, (void)err;
    return 0;
}

/* --- text --- */

SCORE(score_exact) {
    (void)g, (void)err;
    *ret = text_exact(in, ref);
    return 0;
}
SCORE(score_normalized) {
    (void)g;
    bool same = false;
    int rc = text_normalized(in, ref, &same, err);
    *ret = same;
    return rc;
}
SCORE(score_contains) {
    (void)g, (void)err;
    *ret = text_contains(in, text_trimmed(ref));
    return 0;
}
SCORE(score_regex) {
    bool found = false;
    int rc = text_regex(g->pattern.n ? g->pattern : ref, in, &found, err);
    *ret = found;
    return rc;
}
SCORE(score_numeric) {
    double x, y;
    if (!text_number(ref, false, &y))
        return err_set(err, ERR_INVALID, "the reference \"%.*s\" is no number",
                       ref.n > 60 ? 60 : (int)ref.n, ref.p);
    *ret = text_number(in, g->last, &x) && fabs(x - y) <= fmax(g->tolerance, g->relative * fabs(y));
    return 0;
}
SCORE(score_set_f1) {
    (void)g;
    return text_set_f1(in, ref, ret, err);
}
SCORE(score_edits) {
    (void)g;
    return text_edit_similarity(in, ref, ret, err);
}
SCORE(score_similarity) { return similarity_score(g->metric, in, ref, ret, err); }

SCORE(score_string_check) {
    bool found = false;
    int rc = 0;
    if (str_is(g->operation, "eq"))
        found = str_eq(in, ref);
    else if (str_is(g->operation, "ne"))
        found = !str_eq(in, ref);
    else if (str_is(g->operation, "like"))
        found = text_contains(in, ref);
    else
        rc = text_contains_folded(in, ref, &found, err);
    *ret = found;
    return rc;
}

/* --- JSON --- */

SCORE(score_json) {
    (void)g, (void)ref, (void)err;
    *ret = json_is_valid(in);
    return 0;
}
SCORE(score_json_equal) {
    (void)g, (void)err;
    *ret = json_texts_equal(in, ref);
    return 0;
}
SCORE(score_json_fields) {
    (void)g;
    return json_fields_f1(in, ref, ret, err);
}
SCORE(score_json_schema) {
    (void)ref;
    struct err no;
    char why[SCHEMA_WHY_MAX];
    json_t *v = NULL;
    enum schema_answer a = SCHEMA_INVALID;
    if (json_read(in, "answer", &v, &no) == 0) a = schema_check(g->schema, v, why);
    json_decref(v);
    *ret = a == SCHEMA_VALID;
    return a == SCHEMA_UNKNOWN ? err_set(err, ERR_UNSUPPORTED, "the schema: %s", why) : 0;
}

/* --- what each type reads of its configuration --- */

static int read_pattern(struct grader *g, const char *where, struct err *err) {
    bool found;
    int rc = json_get_str(g->config, "pattern", where, &g->pattern, err);
    if (!rc && g->pattern.n) rc = text_regex(g->pattern, STR_LIT(""), &found, err);
    return rc;
}
static int read_numeric(struct grader *g, const char *where, struct err *err) {
    g->relative = 1e-6;
    int rc = json_get_double(g->config, "tolerance", where, &g->tolerance, err);
    if (!rc) rc = json_get_double(g->config, "relative", where, &g->relative, err);
    if (!rc) rc = json_get_bool(g->config, "last", where, &g->last, err);
    if (!rc && !(g->tolerance >= 0 && g->relative >= 0))
        rc = err_set(err, ERR_INVALID, "%s: a tolerance is not below 0", where);
    return rc;
}
static int read_metric(struct grader *g, const char *where, struct err *err) {
    struct str name = {0};
    int rc = json_get_str(g->config, "evaluation_metric", where, &name, err);
    if (!rc && !name.p)
        rc = err_set(err, ERR_INVALID, "%s: \"evaluation_metric\" is missing", where);
    return rc ? rc : similarity_find(name, &g->metric, err);
}
static int read_own_metric(struct grader *g, const char *where, struct err *err) {
    (void)where;
    return similarity_find(json_str(json_object_get(g->config, "type")), &g->metric, err);
}
static int read_operation(struct grader *g, const char *where, struct err *err) {
    int rc = json_get_str(g->config, "operation", where, &g->operation, err);
    if (rc) return rc;
    if (str_is(g->operation, "eq") || str_is(g->operation, "ne") || str_is(g->operation, "like") ||
        str_is(g->operation, "ilike"))
        return 0;
    return err_set(err, ERR_INVALID, "%s: \"operation\" must be eq, ne, like or ilike", where);
}
static int read_schema(struct grader *g, const char *where, struct err *err) {
    const json_t *schema = json_object_get(g->config, "schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return err_set(err, ERR_INVALID, "%s: \"schema\" must be a JSON Schema", where);
    g->schema = schema_new(schema);
    return 0;
}

static int read_label_model(struct grader *g, const char *where, struct err *err) {
    return question_new_label(g->config, where, &g->question, err);
}
static int read_score_model(struct grader *g, const char *where, struct err *err) {
    int rc = question_new_score(g->config, where, &g->question, err);
    if (!rc && !json_is_number(json_object_get(g->config, "pass_threshold")))
        g->threshold = question_middle(g->question);
    return rc;
}

static const struct kind kinds[] = {
    {"exact", 1, no_options, score_exact},
    {"normalized", 1, no_options, score_normalized},
    {"contains", 1, no_options, score_contains},
    {"regex", 1, read_pattern, score_regex},
    {"numeric", 1, read_numeric, score_numeric},
    {"set_f1", 0.5, no_options, score_set_f1},
    {"edit_distance", 0.5, no_options, score_edits},
    {"token_f1", 0.5, read_own_metric, score_similarity},
    {"word_cosine", 0.5, read_own_metric, score_similarity},
    {"json", 1, no_options, score_json},
    {"json_equal", 1, no_options, score_json_equal},
    {"json_fields", 0.5, no_options, score_json_fields},
    {"json_schema", 1, read_schema, score_json_schema},
    {"string_check", 1, read_operation, score_string_check},
    {"text_similarity", 0.5, read_metric, score_similarity},
    {"multi", 0.5, NULL, NULL},
    {"label_model", 1, read_label_model, NULL},
    {"score_model", 0.5, read_score_model, NULL},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)
#define KIND_NAMES                                                                                 \
    "exact, normalized, contains, regex, numeric, set_f1, edit_distance, token_f1, word_cosine, "  \
    "json, json_equal, json_fields, json_schema, string_check, text_similarity (fuzzy_match, "     \
    "bleu, "                                                                                       \
    "gleu, meteor, rouge_1 to rouge_5, rouge_l) or multi"

static bool asks(const struct kind *k) {
    return k->read == read_label_model || k->read == read_score_model;
}

static int kind_find(struct str name, const char *where, bool asking, const struct kind **ret,
                     struct err *err) {
    int n = name.n > 60 ? 60 : (int)name.n;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (!str_is(name, kinds[i].name)) continue;
        if (asks(&kinds[i]) && !asking)
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: a grader of type \"%.*s\" needs a model, which is not connected "
                           "here; the server's evals have one",
                           where, n, name.p);
        *ret = &kinds[i];
        return 0;
    }
    if (str_is(name, "python"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: a grader of type \"python\" runs code, which is switched off here",
                       where);
    return err_set(err, ERR_INVALID, "%s: unknown grader \"%.*s\"; use " KIND_NAMES, where, n,
                   name.p);
}

/* --- multi --- */

static int make(const json_t *config, const char *where, bool asking, struct grader **ret,
                struct err *err);

static int child_add(struct grader *g, struct str key, const json_t *config, const char *where,
                     bool asking, struct err *err) {
    struct grader *child = NULL;
    if (!expression_is_name(key))
        return err_set(err, ERR_INVALID,
                       "%s: graders: \"%.*s\" is no name for calculate_output; use letters, digits "
                       "and _",
                       where, key.n > 60 ? 60 : (int)key.n, key.p);
    if (g->count == CHILDREN_MAX)
        return err_set(err, ERR_LIMIT, "%s: at most %d graders", where, CHILDREN_MAX);
    if (str_is(json_str(json_object_get(config, "type")), "multi"))
        return err_set(err, ERR_INVALID, "%s: multi graders do not nest", where);
    int rc = make(config, where, asking, &child, err);
    if (rc) return rc;
    g->keys[g->count] = key;
    g->children[g->count++] = child;
    return 0;
}

/* a map by name, one grader, or a list: the latter two go by their own names */
static int read_multi(struct grader *g, const char *where, bool asking, struct err *err) {
    const json_t *list = json_object_get(g->config, "graders");
    const char *key;
    size_t length;
    json_t *x;
    double value;
    int rc = json_get_str(g->config, "calculate_output", where, &g->expression, err);
    if (rc) return rc;
    if (json_is_array(list)) {
        for (size_t i = 0; !rc && i < json_array_size(list); i++) {
            x = json_array_get(list, i);
            rc = child_add(g, json_str(json_object_get(x, "name")), x, where, asking, err);
        }
    } else if (json_is_string(json_object_get(list, "type"))) {
        rc = child_add(g, json_str(json_object_get(list, "name")), list, where, asking, err);
    } else {
        json_object_keylen_foreach((json_t *)list, key, length, x) {
            if (!rc) rc = child_add(g, (struct str){key, length}, x, where, asking, err);
        }
    }
    if (rc) return rc;
    if (!g->count) return err_set(err, ERR_INVALID, "%s: \"graders\" is missing or empty", where);
    struct expression_value values[CHILDREN_MAX];
    for (size_t i = 0; i < g->count; i++) values[i] = (struct expression_value){g->keys[i], 0.5};
    rc = expression_eval(g->expression, values, g->count, &value, err);
    return rc ? err_wrap(err, "%s: calculate_output", where) : 0;
}

static int grade_multi(const struct grader *g, const struct placeholder_scope *scope,
                       const struct grader_asking *asking, double *ret, struct err *err) {
    struct expression_value values[CHILDREN_MAX];
    for (size_t i = 0; i < g->count; i++) {
        struct grade one;
        int rc = grader_grade_asking(g->children[i], scope, asking, &one, err);
        if (rc) return rc;
        if (asking && asking->part) asking->part(asking->ctx, g->keys[i], one.score);
        values[i] = (struct expression_value){g->keys[i], one.score};
    }
    return expression_eval(g->expression, values, g->count, ret, err);
}

/* --- any --- */

static int texts_read(struct grader *g, const char *where, struct err *err) {
    int rc = json_get_str(g->config, "input", where, &g->input, err);
    if (!rc) rc = json_get_str(g->config, "reference", where, &g->reference, err);
    if (!rc) rc = placeholder_check(g->input, where, err);
    if (!rc) rc = placeholder_check(g->reference, where, err);
    return rc;
}

static int make(const json_t *config, const char *where, bool asking, struct grader **ret,
                struct err *err) {
    struct str type = {0};
    struct grader *g = mem_zalloc(1, sizeof *g);
    int rc = json_is_object(config)
                 ? json_get_str(config, "type", where, &type, err)
                 : err_set(err, ERR_INVALID, "%s: a grader is an object with a type", where);
    if (!rc && !type.p) rc = err_set(err, ERR_INVALID, "%s: \"type\" is missing", where);
    if (!rc) rc = kind_find(type, where, asking, &g->kind, err);
    if (rc) {
        mem_free(g);
        return rc;
    }
    g->config = json_deep_copy(config);
    g->name = json_str(json_object_get(g->config, "type"));
    g->input = STR_LIT("{{sample.output_text}}");
    /* what looks at the answer alone needs no reference in the case */
    bool alone = g->kind->score == score_json || g->kind->score == score_json_schema ||
                 (g->kind->score == score_regex && json_object_get(g->config, "pattern"));
    g->reference = alone ? STR_LIT("") : STR_LIT("{{item.expected}}");
    g->threshold = g->kind->threshold;
    rc = json_get_str(g->config, "name", where, &g->name, err);
    if (!rc) rc = json_get_double(g->config, "pass_threshold", where, &g->threshold, err);
    if (!rc && !asks(g->kind)) rc = texts_read(g, where, err);
    if (!rc) rc = g->kind->read ? g->kind->read(g, where, err) : read_multi(g, where, asking, err);
    if (rc)
        grader_free(g);
    else
        *ret = g;
    return rc;
}

int grader_new(const json_t *config, const char *where, struct grader **ret, struct err *err) {
    return make(config, where, false, ret, err);
}

int grader_new_asking(const json_t *config, const char *where, struct grader **ret,
                      struct err *err) {
    return make(config, where, true, ret, err);
}

int grader_named(struct str name, struct grader **ret, struct err *err) {
    const struct similarity *metric;
    struct err no;
    if (str_is(name, "cosine")) return similarity_find(name, &metric, err);
    json_t *config = json_pack("{s:s%}", "type", name.p, name.n);
    if (config && similarity_find(name, &metric, &no) == 0)
        json_object_update_new(config, json_pack("{s:s,s:s%,s:s%}", "type", "text_similarity",
                                                 "evaluation_metric", name.p, name.n, "name",
                                                 name.p, name.n));
    int rc = config ? grader_new(config, "grader", ret, err)
                    : err_set(err, ERR_INVALID, "a grader's name is not UTF-8");
    json_decref(config);
    return rc;
}

void grader_free(struct grader *g) {
    if (!g) return;
    for (size_t i = 0; i < g->count; i++) grader_free(g->children[i]);
    schema_free(g->schema);
    question_free(g->question);
    json_decref(g->config);
    mem_free(g);
}

struct str grader_name(const struct grader *g) {
    return g->name;
}

struct str grader_model(const struct grader *g, size_t i) {
    if (g->question) return i == 0 ? question_model(g->question) : (struct str){0};
    for (size_t k = 0; k < g->count; k++)
        if (g->children[k]->question && i-- == 0) return question_model(g->children[k]->question);
    return (struct str){0};
}

int grader_grade(const struct grader *g, const struct placeholder_scope *scope, struct grade *ret,
                 struct err *err) {
    return grader_grade_asking(g, scope, NULL, ret, err);
}

int grader_grade_asking(const struct grader *g, const struct placeholder_scope *scope,
                        const struct grader_asking *asking, struct grade *ret, struct err *err) {
    struct buf in, ref;
    double score = 0;
    int rc = 0;
    buf_init(&in, FILLED_MAX);
    buf_init(&ref, FILLED_MAX);
    if (g->question) {
        rc = question_score(g->question, scope, asking, &score, err);
    } else if (g->kind->score) {
        rc = placeholder_fill(g->input, scope, &in, err);
        if (!rc) rc = placeholder_fill(g->reference, scope, &ref, err);
        if (!rc) rc = g->kind->score(g, buf_view(&in), buf_view(&ref), &score, err);
    } else {
        rc = grade_multi(g, scope, asking, &score, err);
    }
    buf_release(&in);
    buf_release(&ref);
    if (!rc) *ret = (struct grade){score, score >= g->threshold};
    return rc;
}

json_t *grader_sample(struct str output) {
    struct err no;
    json_t *value = NULL, *sample = json_object();
    json_t *text = json_stringn(output.p, output.n);
    json_object_set_new(sample, "output_text", text ? text : json_string(""));
    if (json_read(output, "answer", &value, &no) == 0)
        json_object_set_new(sample, "output_json", value);
    return sample;
}
