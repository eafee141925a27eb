#include "cli/eval_ask.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/rounds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PHASE "answers"
#define WARM_UP 1 /* questions before the clock counts: weights come into memory */

struct asking {
    const struct cases *cases;
    const struct eval_ask *o;
    json_t **messages; /* (cases.n), NULL where the case is a plain prompt */
    struct asker *asker;
};

/* --- questions --- */

static bool is_assistant(const json_t *m) {
    const char *role = json_string_value(json_object_get(m, "role"));
    return role && strcmp(role, "assistant") == 0;
}

/* The conversation up to the last answer, which is the expected one; all of it
 * where "expected" stands beside a conversation that does not end in an answer.
 */
static json_t *messages_of(const json_t *item) {
    const json_t *all = json_object_get(item, "messages");
    size_t last = json_array_size(all);
    json_t *list = json_array();
    while (last > 0 && !is_assistant(json_array_get(all, last - 1))) last--;
    size_t end = last ? last - 1 : json_array_size(all);
    for (size_t i = 0; i < end; i++) json_array_append(list, json_array_get(all, i));
    return list;
}

static int questions_make(struct asking *a, struct err *err) {
    a->messages = mem_zalloc((size_t)a->cases->n + 1, sizeof *a->messages);
    for (int64_t i = 0; i < a->cases->n; i++) {
        const json_t *item = a->cases->items[i];
        if (json_is_array(json_object_get(item, "messages")))
            a->messages[i] = messages_of(item);
        else if (!json_is_string(json_object_get(item, "prompt")))
            return err_set(err, ERR_INVALID,
                           "case \"%.*s\" has neither \"messages\" nor \"prompt\"; "
                           "there is nothing "
                           "to ask a model",
                           STR_ARG(a->cases->ids[i]));
        if (a->messages[i] && !json_array_size(a->messages[i]))
            return err_set(err, ERR_INVALID, "case \"%.*s\" has no message before its answer",
                           STR_ARG(a->cases->ids[i]));
    }
    return 0;
}

static int question_of(void *ctx, int64_t i, struct question *ret, struct err *err) {
    const struct asking *a = ctx;
    const json_t *item = a->cases->items[i];
    (void)err;
    *ret = (struct question){.messages = a->messages[i],
                             .tools = json_object_get(item, "tools"),
                             .schema = a->o->schema,
                             .max_tokens = a->o->max_tokens,
                             .temperature = a->o->temperature,
                             .seed = (uint64_t)a->o->seed};
    if (!a->messages[i]) ret->prompt = json_str(json_object_get(item, "prompt"));
    return 0;
}

static json_t *result_of(void *ctx, int64_t i, const struct answer *answer) {
    const struct asking *a = ctx;
    struct str id = a->cases->ids[i];
    if (answer->rc) return json_pack("{s:s%, s:s}", "id", id.p, id.n, "error", answer->err.msg);
    return json_pack("{s:s%, s:s%, s:s, s:I, s:I, s:f, s:f}", "id", id.p, id.n, "output",
                     answer->text, answer->n, "finish_reason", answer->finish, "prompt_tokens",
                     (json_int_t)answer->prompt_tokens, "completion_tokens",
                     (json_int_t)answer->completion_tokens, "first_s", answer->first_seconds,
                     "total_s", answer->seconds);
}

/* --- the file --- */

static json_t *params_of(const struct eval_ask *o, const struct answering *m, struct err *err) {
    char hex[SHA256_HEX + 1];
    if (sha256_file(o->cases_path, hex, err)) return NULL;
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:O?}", "cases", hex, "model", m->id,
                     "version", m->version, "max_tokens", (json_int_t)o->max_tokens, "seed",
                     (json_int_t)o->seed, "temperature", o->temperature, "schema", o->schema);
}

/* $ATTUNE_HOME/evals/HASH.part, the hash being of what the answers depend on */
static int rounds_for(const json_t *params, bool fresh, struct rounds *ret, struct err *err) {
    char hex[SHA256_HEX + 1], name[SHA256_HEX + 8];
    struct buf b;
    char *home = path_home(), *dir = path_join(home, "evals");
    buf_init(&b, 1 << 24);
    json_write(params, &b);
    sha256_of(buf_view(&b), hex);
    buf_release(&b);
    snprintf(name, sizeof name, "%.32s.part", hex);
    char *path = path_join(dir, name);
    int rc = dir_make(dir, err);
    if (!rc && fresh) rc = file_remove(path, err);
    if (!rc) rc = rounds_open(path, params, ret, err);
    mem_free(path);
    mem_free(dir);
    mem_free(home);
    return rc;
}

/* --- what it took --- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *sorted, int64_t n, double q) {
    if (!n) return 0;
    int64_t at = (int64_t)(q * (double)n);
    return sorted[at < n ? at : n - 1];
}

static void spend(const struct outputs *out, int64_t n, struct eval_spending *s) {
    double *first = mem_zalloc((size_t)n + 1, sizeof *first);
    double *total = mem_zalloc((size_t)n + 1, sizeof *total);
    for (int64_t i = 0; i < n; i++) {
        const json_t *line = out->lines[i];
        const char *failed = json_string_value(json_object_get(line, "error"));
        if (failed && !s->failed++)
            snprintf(s->first_failure, sizeof s->first_failure, "%s", failed);
        if (failed) continue;
        first[s->answered] = json_number_value(json_object_get(line, "first_s"));
        total[s->answered++] = json_number_value(json_object_get(line, "total_s"));
        s->prompt_tokens += json_integer_value(json_object_get(line, "prompt_tokens"));
        s->completion_tokens += json_integer_value(json_object_get(line, "completion_tokens"));
    }
    qsort(first, (size_t)s->answered, sizeof *first, by_value);
    qsort(total, (size_t)s->answered, sizeof *total, by_value);
    s->first_p50 = quantile(first, s->answered, 0.5);
    s->first_p95 = quantile(first, s->answered, 0.95);
    s->total_p50 = quantile(total, s->answered, 0.5);
    s->total_p95 = quantile(total, s->answered, 0.95);
    mem_free(first);
    mem_free(total);
}

/* --- asking --- */

static void warm_up(struct asking *a) {
    struct err none;
    for (int64_t i = 0; i < WARM_UP && i < a->cases->n; i++) {
        struct question q;
        struct answer answer;
        question_of(a, i, &q, &none);
        q.max_tokens = 1;
        asker_ask(a->asker, &q, &answer);
        answer_release(&answer);
    }
}

static int ask_round(struct asking *a, struct rounds *r, const char *model, struct err *err) {
    struct round round = {.phase = PHASE,
                          .n = a->cases->n,
                          .asker = a->asker,
                          .concurrency = a->o->concurrency,
                          .ctx = a,
                          .question = question_of,
                          .result = result_of,
                          .keep_errors = true};
    bool all_there = true;
    for (int64_t i = 0; i < a->cases->n; i++) all_there &= rounds_result(r, PHASE, i) != NULL;
    if (all_there) {
        fprintf(stderr, "%s: all answers are there from before; --fresh asks again\n", model);
        return 0;
    }
    fprintf(stderr, "asking %s\n", model);
    warm_up(a);
    return rounds_ask(r, &round, err);
}

static int take_outputs(const struct rounds *r, int64_t n, struct outputs *ret) {
    ret->lines = mem_zalloc((size_t)n + 1, sizeof *ret->lines);
    for (int64_t i = 0; i < n; i++)
        ret->lines[i] = json_incref((json_t *)rounds_result(r, PHASE, i));
    return 0;
}

int eval_ask(struct answerers *a, const char *model, const struct cases *cases,
             const struct eval_ask *o, struct outputs *ret, struct eval_spending *spending,
             const char **ret_id, struct err *err) {
    struct asking asking = {.cases = cases, .o = o};
    struct rounds r;
    struct answering m = {0};
    json_t *params = NULL;
    double begun = clock_seconds();
    *spending = (struct eval_spending){0};
    int rc = questions_make(&asking, err);
    if (!rc) rc = answerers_open(a, model, &m, err);
    asking.asker = m.asker;
    *ret_id = m.id;
    if (!rc && !(params = params_of(o, &m, err))) rc = err->code;
    if (!rc) rc = rounds_for(params, o->fresh, &r, err);
    if (!rc) {
        rc = ask_round(&asking, &r, model, err);
        if (!rc) rc = take_outputs(&r, cases->n, ret);
        rounds_close(&r, false);
    }
    if (!rc) spend(ret, cases->n, spending);
    spending->seconds = clock_seconds() - begun;
    json_decref(params);
    for (int64_t i = 0; asking.messages && i < cases->n; i++) json_decref(asking.messages[i]);
    mem_free(asking.messages);
    asker_close(asking.asker);
    return rc;
}
