#include "eval/question.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define FILLED_MAX ((size_t)16 << 20)
#define ANSWER_MAX ((size_t)1 << 20)
#define MESSAGES_MAX 1000
#define LABELS_MAX 1000
/* of the reasoning before a score: a small model would not find its end */
#define STEPS_MAX 4
#define STEP_MAX 200

struct question {
    const json_t *config; /* borrowed */
    struct str model;
    const json_t *input, *passing; /* passing NULL: it scores */
    double low, high;
    json_t *schema; /* of the answer */
};

/* --- messages --- */

static bool is_text_part(const json_t *part) {
    struct str type = json_str(json_object_get(part, "type"));
    bool known = type.p && (str_is(type, "input_text") || str_is(type, "output_text") ||
                            str_is(type, "text"));
    return known && json_is_string(json_object_get(part, "text"));
}

static int part_check(const json_t *part, const char *where, struct err *err) {
    if (!json_is_string(part) && !is_text_part(part))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: content must be text: a string or parts of type \"input_text\" or "
                       "\"output_text\"",
                       where);
    return placeholder_check(json_str(json_is_string(part) ? part : json_object_get(part, "text")),
                             where, err);
}

int messages_check(const json_t *list, const char *where, struct err *err) {
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    size_t n = json_array_size(list);
    int rc = 0;
    if (n == 0 || n > MESSAGES_MAX)
        return err_set(err, ERR_INVALID, "%s: must be a list of 1 to %d messages", where,
                       MESSAGES_MAX);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *m = json_array_get(list, i), *content = json_object_get(m, "content");
        struct str role = json_str(json_object_get(m, "role"));
        char at[160];
        bool known = false;
        snprintf(at, sizeof at, "%.120s[%zu]", where, i);
        for (size_t r = 0; role.p && r < sizeof roles / sizeof *roles; r++)
            known = known || str_is(role, roles[r]);
        if (!known)
            rc = err_set(err, ERR_INVALID,
                         "%s: \"role\" must be user, assistant, system or developer", at);
        else if (!json_is_array(content))
            rc = part_check(content, at, err);
        for (size_t k = 0; !rc && k < json_array_size(content); k++)
            rc = part_check(json_array_get(content, k), at, err);
    }
    return rc;
}

static int part_fill(const json_t *part, const struct placeholder_scope *scope, struct buf *out,
                     struct err *err) {
    struct str text = json_str(json_is_string(part) ? part : json_object_get(part, "text"));
    return placeholder_fill(text, scope, out, err);
}

int messages_fill(const json_t *list, const struct placeholder_scope *scope, json_t **ret,
                  struct err *err) {
    json_t *filled = json_array();
    struct buf text;
    int rc = 0;
    buf_init(&text, FILLED_MAX);
    for (size_t i = 0; !rc && i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *content = json_object_get(m, "content");
        struct str role = json_str(json_object_get(m, "role"));
        buf_clear(&text);
        if (!json_is_array(content)) rc = part_fill(content, scope, &text, err);
        for (size_t k = 0; !rc && k < json_array_size(content); k++)
            rc = part_fill(json_array_get(content, k), scope, &text, err);
        json_t *one = rc ? NULL
                         : json_pack("{s:s%, s:s%}", "role", role.p, role.n, "content",
                                     buf_view(&text).p, text.n);
        if (!rc && !one) rc = err_set(err, ERR_INVALID, "a filled text is not UTF-8");
        if (one) json_array_append_new(filled, one);
    }
    buf_release(&text);
    if (rc)
        json_decref(filled);
    else
        *ret = filled;
    return rc;
}

/* --- configurations --- */

static int question_new(const json_t *config, const char *where, struct question **ret,
                        struct err *err) {
    struct str model = {0};
    char at[160];
    const json_t *sampling = json_object_get(config, "sampling_params");
    int rc = json_get_str(config, "model", where, &model, err);
    if (!rc && !model.n) rc = err_set(err, ERR_INVALID, "%s: \"model\" is missing", where);
    if (!rc && sampling && !json_is_object(sampling) && !json_is_null(sampling))
        rc = err_set(err, ERR_INVALID, "%s: \"sampling_params\" must be an object", where);
    snprintf(at, sizeof at, "%.120s: input", where);
    if (!rc) rc = messages_check(json_object_get(config, "input"), at, err);
    if (rc) return rc;
    struct question *q = *ret = mem_zalloc(1, sizeof *q);
    q->config = config;
    q->model = model;
    q->input = json_object_get(config, "input");
    q->low = 0, q->high = 1;
    return 0;
}

static bool has_label(const json_t *labels, const json_t *one) {
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (json_equal(json_array_get(labels, i), one)) return true;
    return false;
}

int question_new_label(const json_t *config, const char *where, struct question **ret,
                       struct err *err) {
    const json_t *labels = json_object_get(config, "labels");
    const json_t *passing = json_object_get(config, "passing_labels");
    size_t n = json_array_size(labels);
    int rc = 0;
    if (n == 0 || n > LABELS_MAX)
        return err_set(err, ERR_INVALID, "%s: \"labels\" must be a list of 1 to %d texts", where,
                       LABELS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(labels, i)))
            return err_set(err, ERR_INVALID, "%s: \"labels\" must be texts", where);
    if (!json_is_array(passing))
        return err_set(err, ERR_INVALID, "%s: \"passing_labels\" must be a list of labels", where);
    for (size_t i = 0; i < json_array_size(passing); i++)
        if (!has_label(labels, json_array_get(passing, i)))
            return err_set(err, ERR_INVALID, "%s: passing_labels[%zu] is none of the labels", where,
                           i);
    rc = question_new(config, where, ret, err);
    if (rc) return rc;
    (*ret)->passing = passing;
    (*ret)->schema =
        json_pack("{s:s, s:{s:{s:s, s:O}}, s:[s], s:b}", "type", "object", "properties", "label",
                  "type", "string", "enum", labels, "required", "label", "additionalProperties", 0);
    return 0;
}

int question_new_score(const json_t *config, const char *where, struct question **ret,
                       struct err *err) {
    const json_t *range = json_object_get(config, "range");
    double low = 0, high = 1;
    if (range && !json_is_null(range)) {
        low = json_number_value(json_array_get(range, 0));
        high = json_number_value(json_array_get(range, 1));
        if (json_array_size(range) != 2 || !json_is_number(json_array_get(range, 0)) ||
            !json_is_number(json_array_get(range, 1)) || !(low < high))
            return err_set(err, ERR_INVALID,
                           "%s: \"range\" must be two numbers, the smaller one first", where);
    }
    int rc = question_new(config, where, ret, err);
    if (rc) return rc;
    (*ret)->low = low;
    (*ret)->high = high;
    json_t *text = json_pack("{s:s, s:i}", "type", "string", "maxLength", STEP_MAX);
    json_t *step = json_pack("{s:s, s:{s:O, s:o}, s:[s, s], s:b}", "type", "object", "properties",
                             "description", text, "conclusion", text, "required", "description",
                             "conclusion", "additionalProperties", 0);
    (*ret)->schema = json_pack("{s:s, s:{s:{s:s, s:o, s:i}, s:{s:s}}, s:[s, s], s:b}", "type",
                               "object", "properties", "steps", "type", "array", "items", step,
                               "maxItems", STEPS_MAX, "result", "type", "number", "required",
                               "steps", "result", "additionalProperties", 0);
    return 0;
}

void question_free(struct question *q) {
    if (!q) return;
    json_decref(q->schema);
    mem_free(q);
}

struct str question_model(const struct question *q) {
    return q->model;
}

double question_middle(const struct question *q) { return (q->low + q->high) / 2; }

/* --- asking --- */

/* What the answer must look like, for the model to know; the schema sees to it in any case. */
static void instruct(const struct question *q, json_t *messages) {
    struct buf b;
    json_t *first = json_array_get(messages, 0);
    struct str role = json_str(json_object_get(first, "role"));
    bool system = str_is(role, "system") || str_is(role, "developer");
    buf_init(&b, FILLED_MAX + ANSWER_MAX);
    if (system) {
        buf_str(&b, json_str(json_object_get(first, "content")));
        buf_z(&b, "\n\n");
    }
    if (q->passing) {
        buf_z(&b, "Answer in JSON: {\"label\": one of ");
        json_write(json_object_get(q->config, "labels"), &b);
        buf_z(&b, "}");
    } else {
        buf_printf(&b,
                   "Answer in JSON: {\"steps\": [{\"description\", \"conclusion\"}], \"result\": a "
                   "number from %g to %g}",
                   q->low, q->high);
    }
    json_t *text = json_stringn(buf_view(&b).p, b.n);
    if (system)
        json_object_set_new(first, "content", text);
    else
        json_array_insert_new(messages, 0,
                              json_pack("{s:s, s:o}", "role", "system", "content", text));
    buf_release(&b);
}

static double score_of(const struct question *q, struct str answer) {
    struct err no;
    json_t *v = NULL;
    double score = 0;
    if (json_read(answer, "answer", &v, &no)) return 0; /* cut off, say */
    if (q->passing) {
        score = has_label(q->passing, json_object_get(v, "label"));
    } else {
        const json_t *result = json_object_get(v, "result");
        score = json_is_number(result) ? fmin(fmax(json_number_value(result), q->low), q->high) : 0;
    }
    json_decref(v);
    return score;
}

int question_score(const struct question *q, const struct placeholder_scope *scope,
                   const struct grader_asking *asking, double *ret, struct err *err) {
    struct buf answer;
    json_t *messages = NULL;
    if (!asking) return err_set(err, ERR_UNSUPPORTED, "there is no model to ask");
    int rc = messages_fill(q->input, scope, &messages, err);
    if (rc) return rc;
    instruct(q, messages);
    const json_t *sampling = json_object_get(q->config, "sampling_params");
    struct grader_question asked = {.model = q->model,
                                    .messages = messages,
                                    .schema = q->schema,
                                    .sampling = json_is_object(sampling) ? sampling : NULL};
    buf_init(&answer, ANSWER_MAX);
    rc = asking->ask(asking->ctx, &asked, &answer, err);
    if (!rc) *ret = score_of(q, buf_view(&answer));
    buf_release(&answer);
    json_decref(messages);
    return rc;
}
