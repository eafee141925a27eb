#include "jobs/check.h"

#include "data/rows.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>

#define LENGTH_MAX 4096 /* tokens, as in training */

/* --- "auto" --- */

#define TARGET_EPOCHS 3
#define TARGET_EXAMPLES_MIN 100
#define TARGET_EXAMPLES_MAX 25000
#define EPOCHS_MAX 25
#define BATCH_MAX 256

static int64_t auto_epochs(int64_t rows) {
    if (rows * TARGET_EPOCHS < TARGET_EXAMPLES_MIN) {
        int64_t epochs = TARGET_EXAMPLES_MIN / rows;
        return epochs < EPOCHS_MAX ? epochs : EPOCHS_MAX;
    }
    if (rows * TARGET_EPOCHS > TARGET_EXAMPLES_MAX)
        return rows < TARGET_EXAMPLES_MAX ? TARGET_EXAMPLES_MAX / rows : 1;
    return TARGET_EPOCHS;
}

static int64_t auto_batch(int64_t rows) {
    int64_t batch = (rows + 250) / 500;
    return batch < 1 ? 1 : batch > BATCH_MAX ? BATCH_MAX : batch;
}

struct ft_hyper ft_resolve(const struct ft_hyper *given, int64_t rows, bool preference) {
    struct ft_hyper h = *given;
    if (h.epochs <= 0) h.epochs = auto_epochs(rows > 0 ? rows : 1);
    if (h.batch_size <= 0) h.batch_size = auto_batch(rows);
    if (h.rate_multiplier <= 0) h.rate_multiplier = 1;
    if (h.beta <= 0) h.beta = preference ? 0.1 : 0;
    return h;
}

/* --- files --- */

struct file_kind {
    const char *blob, *param, *where, *title, *bad_code;
    int64_t min;
    bool pairs; /* what its rows must be */
};

bool ft_is_preference(const struct ftjob *j) { return strcmp(j->method, "dpo") == 0; }

static void problem_set(struct ft_problem *p, const char *code, const char *param,
                        const char *message) {
    snprintf(p->code, sizeof p->code, "%s", code);
    snprintf(p->message, sizeof p->message, "%s", message);
    p->param = param;
}

/* Adds the tokens that are trained; of a pair, of both sides. */
static int render_row(const struct row *row, enum row_kind kind, const struct render_options *o,
                      int64_t *trained, struct err *err) {
    struct row_tokens t[PAIR_SIDES];
    int sides = kind == ROW_PAIR ? PAIR_SIDES : 1;
    int rc = kind == ROW_PAIR ? row_render_pair(row, o, t, err) : row_render(row, kind, o, t, err);
    for (int i = 0; !rc && i < sides; i++) {
        *trained += t[i].trained;
        row_tokens_release(&t[i]);
    }
    return rc;
}

/* The first row that cannot be rendered is a problem; so are rows that train nothing at all. */
static void render_all(const struct rows *rows, const struct model *m, const struct file_kind *k,
                       struct ft_problem *p) {
    struct render_options o = {
        .tokenizer = model_tokenizer(m), .chat = model_template(m), .max_length = LENGTH_MAX};
    int64_t trained = 0;
    for (int64_t i = 0; i < rows->count; i++) {
        struct err err;
        if (render_row(&rows->list[i], rows->kind, &o, &trained, &err) == 0) continue;
        err_wrap(&err, "%s", k->where);
        problem_set(p, k->bad_code, k->param, err.msg);
        return;
    }
    if (trained > 0) return;
    char text[240];
    snprintf(text, sizeof text,
             "%s: none of its %lld rows holds anything to train on; answers of the assistant with "
             "a weight other than 0 are trained",
             k->where, (long long)rows->count);
    problem_set(p, k->bad_code, k->param, text);
}

static void check_rows(const struct rows *rows, const struct model *m, const struct file_kind *k,
                       struct ft_problem *p) {
    char text[300];
    if (rows->count < k->min) {
        snprintf(text, sizeof text, "%s has %lld example(s), but must have at least %lld examples",
                 k->title, (long long)rows->count, (long long)k->min);
        problem_set(p, "invalid_n_examples", k->param, text);
    } else if ((rows->kind == ROW_PAIR) != k->pairs) {
        snprintf(text, sizeof text, "%s: its rows %s; %s", k->where,
                 k->pairs ? "are no preference pairs" : "are preference pairs",
                 k->pairs ? "for the method \"dpo\" a row has \"input\", \"preferred_output\" and "
                            "\"non_preferred_output\""
                          : "use the method \"dpo\" for them");
        problem_set(p, k->bad_code, k->param, text);
    } else {
        render_all(rows, m, k, p);
    }
}

static int check_file(struct catalog *c, const struct model *m, const struct file_kind *k,
                      int64_t *ret_rows, struct ft_problem *p, struct err *err) {
    struct file_map map;
    struct rows rows;
    struct err bad;
    int rc = blob_map(c, k->blob, &map, err);
    if (rc) return rc;
    if (rows_from_text((struct str){map.p ? (const char *)map.p : "", map.n}, k->where, &rows,
                       &bad)) {
        problem_set(p, k->bad_code, k->param, bad.msg);
    } else {
        *ret_rows = rows.count;
        check_rows(&rows, m, k, p);
        rows_release(&rows);
    }
    file_map_close(&map);
    return 0;
}

int ft_check(struct catalog *c, const struct ftjob *j, const struct named_model *m,
             struct ft_hyper *ret, struct ft_problem *p, struct err *err) {
    char training[160], validation[160];
    snprintf(training, sizeof training, "training file %s", j->training_file);
    snprintf(validation, sizeof validation, "validation file %s",
             j->validation_file ? j->validation_file : "");
    bool pairs = ft_is_preference(j);
    const struct file_kind files[] = {
        {j->training_blob, "training_file", training, "Training file", "invalid_training_file",
         FT_EXAMPLES_MIN, pairs},
        {j->validation_blob, "validation_file", validation, "Validation file",
         "invalid_validation_file", 1, pairs},
    };
    struct model *text = NULL;
    int64_t rows[2] = {0, 0};
    *p = (struct ft_problem){.code = ""};
    if (!pairs && strcmp(j->method, "supervised") != 0) {
        problem_set(p, "unsupported_value", "method",
                    "this kind of fine-tuning is not there; the methods are \"supervised\" and "
                    "\"dpo\"");
        return 0;
    }
    int rc = model_open(m->path, &(struct model_options){.text_only = true}, &text, err);
    for (int i = 0; !rc && !p->code[0] && i < 2; i++)
        if (files[i].blob) rc = check_file(c, text, &files[i], &rows[i], p, err);
    model_close(text);
    if (!rc && !p->code[0]) *ret = ft_resolve(&j->given, rows[0], pairs);
    return rc;
}
