/* attune data distill: a teacher answers the inputs with a long prompt; the
 * rows carry a short one.
 */
#include "cli/answerers.h"
#include "cli/cli.h"
#include "cli/cmd_data.h"
#include "cli/opts.h"
#include "cli/rounds.h"
#include "cli/synth_seeds.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "model/assets.h"

#include <stdio.h>
#include <string.h>

struct distill {
    /* options */
    const char *teacher_name, *out, *teacher_prompt_arg, *prompt_arg, *schema_path, *student;
    double temperature, top_p;
    int64_t samples, max_tokens, limit, seed;
    int concurrency;
    bool json;
    /* what they come to */
    struct answerers answerers;
    struct answering teacher;
    struct seed_list seeds;
    char *teacher_prompt, *prompt; /* NULL: the rows' own */
    char prompt_sha256[SHA256_HEX + 1];
    json_t *schema;
    json_t **asked; /* (seeds) what the teacher is sent */
};

/* --- one question, one result --- */

static const struct synth_seed *seed_of(const struct distill *d, int64_t i) {
    return &d->seeds.list[i / d->samples];
}

static int question_of(void *ctx, int64_t i, struct question *ret, struct err *err) {
    const struct distill *d = ctx;
    (void)err;
    *ret = (struct question){.messages = d->asked[i / d->samples],
                             .tools = seed_of(d, i)->tools,
                             .schema = d->schema,
                             .max_tokens = d->max_tokens,
                             .temperature = d->temperature,
                             .top_p = d->top_p,
                             .seed = (uint64_t)d->seed * 1000003u + (uint64_t)i + 1};
    return 0;
}

static json_t *result_of(void *ctx, int64_t i, const struct answer *a) {
    const struct distill *d = ctx;
    const struct synth_seed *seed = seed_of(d, i);
    struct str answer = {a->text, a->n};
    const char *refused = synth_refusal(answer, a->finish);
    json_t *result = json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)a->prompt_tokens,
                               "completion_tokens", (json_int_t)a->completion_tokens);
    if (refused) {
        json_object_set_new(result, "refused", json_string(refused));
        json_object_set_new(result, "answer", json_stringn(answer.p, answer.n));
        json_object_set_new(result, "seed_row", json_integer(seed->number));
        return result;
    }
    json_t *question = d->prompt ? synth_with_system(seed->question, str_of(d->prompt))
                                 : json_incref(seed->question);
    struct synth_origin from = {.generator = d->teacher.id,
                                .prompt_sha256 = d->prompt_sha256,
                                .seed_row = seed->number,
                                .temperature = d->temperature};
    json_object_set_new(result, "row", synth_row(question, seed->tools, answer, &from));
    json_decref(question);
    return result;
}

/* --- before and after --- */

static int prepare(struct distill *d, const char *input, struct err *err) {
    int rc = seeds_read(input, d->limit, &d->seeds, err);
    if (!rc && d->teacher_prompt_arg)
        rc = text_option(d->teacher_prompt_arg, &d->teacher_prompt, err);
    if (!rc && d->prompt_arg) rc = text_option(d->prompt_arg, &d->prompt, err);
    if (!rc && d->schema_path) rc = json_read_file(d->schema_path, 1 << 20, &d->schema, err);
    if (rc) return rc;
    sha256_of(str_of(d->teacher_prompt ? d->teacher_prompt : ""), d->prompt_sha256);
    d->asked = mem_zalloc(d->seeds.count, sizeof *d->asked);
    for (size_t i = 0; i < d->seeds.count; i++)
        d->asked[i] = d->teacher_prompt
                          ? synth_with_system(d->seeds.list[i].question, str_of(d->teacher_prompt))
                          : json_incref(d->seeds.list[i].question);
    return answerers_open(&d->answerers, d->teacher_name, &d->teacher, err);
}

static json_t *params_of(const struct distill *d) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:O?, s:f, s:f, s:I, s:I, s:I, s:I}", "command",
                     "distill", "inputs", d->seeds.sha256, "teacher", d->teacher.id,
                     "teacher_prompt", d->prompt_sha256, "prompt", d->prompt, "schema", d->schema,
                     "temperature", d->temperature, "top_p", d->top_p, "samples",
                     (json_int_t)d->samples, "max_tokens", (json_int_t)d->max_tokens, "limit",
                     (json_int_t)d->limit, "seed", (json_int_t)d->seed);
}

static void release(struct distill *d) {
    for (size_t i = 0; d->asked && i < d->seeds.count; i++) json_decref(d->asked[i]);
    mem_free(d->asked);
    asker_close(d->teacher.asker);
    answerers_close(&d->answerers);
    seeds_release(&d->seeds);
    json_decref(d->schema);
    mem_free(d->teacher_prompt);
    mem_free(d->prompt);
}

/* --- what was made --- */

struct tally {
    int64_t rows, refused, repeated, teacher_tokens;
};

/* The same answer to the same question twice teaches nothing more. */
static bool seen_before(json_t *seen, const json_t *row) {
    char hex[SHA256_HEX + 1];
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    json_write(json_object_get(row, "messages"), &b);
    sha256_of(buf_view(&b), hex);
    buf_release(&b);
    if (json_object_get(seen, hex)) return true;
    json_object_set_new(seen, hex, json_true());
    return false;
}

static void add_line(struct buf *b, const json_t *v) {
    json_write(v, b);
    buf_byte(b, '\n');
}

static int write_rows(const struct distill *d, const struct rounds *run, struct tally *t,
                      struct err *err) {
    struct buf rows, refused, path;
    json_t *seen = json_object();
    buf_init(&rows, (size_t)4 << 30);
    buf_init(&refused, (size_t)4 << 30);
    buf_init(&path, 1 << 16);
    for (int64_t i = 0; i < (int64_t)d->seeds.count * d->samples; i++) {
        const json_t *result = rounds_result(run, "answers", i);
        const json_t *row = json_object_get(result, "row");
        t->teacher_tokens += json_integer_value(json_object_get(result, "prompt_tokens"));
        if (!row) {
            t->refused++;
            add_line(&refused, result);
        } else if (seen_before(seen, row)) {
            t->repeated++;
        } else {
            t->rows++;
            add_line(&rows, row);
        }
    }
    buf_printf(&path, "%s.rejected", d->out);
    int rc = refused.n ? file_write_atomic(path.p, buf_view(&refused), err) : 0;
    if (!rc && t->rows) rc = file_write_atomic(d->out, buf_view(&rows), err);
    if (!rc && !t->rows)
        rc = err_set(err, ERR_INVALID, "every answer was rejected; %s says why", path.p);
    buf_release(&path);
    buf_release(&refused);
    buf_release(&rows);
    json_decref(seen);
    return rc;
}

static int count_tokens(const struct distill *d, const struct chat_template *t,
                        const struct tokenizer *tok, int64_t *ret, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < d->seeds.count; i++) {
        const struct synth_seed *seed = &d->seeds.list[i];
        struct token_list ids = {0};
        struct buf text;
        json_t *q = d->prompt ? synth_with_system(seed->question, str_of(d->prompt))
                              : json_incref(seed->question);
        json_t *vars = json_pack("{s:o}", "messages", q);
        buf_init(&text, (size_t)64 << 20);
        rc = assets_render(t, tok, vars, true, &text, err);
        if (!rc) rc = tokenizer_encode(tok, buf_view(&text), false, &ids, err);
        *ret += ids.n;
        token_list_release(&ids);
        buf_release(&text);
        json_decref(vars);
    }
    return rc;
}

/* Tokens of all prompts as the student will get them; -1 where no student is
 * named. */
static int student_tokens(const struct distill *d, int64_t *ret, struct err *err) {
    struct tokenizer *tok = NULL;
    struct chat_template *t = NULL;
    char *path = NULL;
    *ret = -1;
    if (!d->student) return 0;
    int rc = cli_model_path(d->student, &path, err);
    if (!rc) rc = assets_tokenizer(path, &tok, err);
    if (!rc) rc = assets_template(path, false, &t, err);
    if (!rc && !t) rc = assets_plain_template(&t, err);
    if (!rc) *ret = 0;
    if (!rc) rc = count_tokens(d, t, tok, ret, err);
    template_free(t);
    tokenizer_free(tok);
    mem_free(path);
    return rc;
}

static void report(const struct distill *d, const struct tally *t, int64_t student) {
    double per = d->seeds.count
                     ? (double)t->teacher_tokens / (double)d->samples / (double)d->seeds.count
                     : 0;
    double after = student < 0 ? -1 : (double)student / (double)d->seeds.count;
    if (d->json) {
        json_t *o =
            json_pack("{s:I, s:I, s:I, s:I, s:f, s:s}", "rows", (json_int_t)t->rows, "rejected",
                      (json_int_t)t->refused, "repeated", (json_int_t)t->repeated, "skipped",
                      (json_int_t)d->seeds.skipped, "teacher_prompt_tokens", per, "out", d->out);
        if (after >= 0) json_object_set_new(o, "student_prompt_tokens", json_real(after));
        cli_print_json(o);
        json_decref(o);
        return;
    }
    printf("%lld rows in %s", (long long)t->rows, d->out);
    if (t->repeated) printf(", %lld repeated ones left out", (long long)t->repeated);
    if (t->refused)
        printf(", %lld answers rejected (%s.rejected says why)", (long long)t->refused, d->out);
    putchar('\n');
    if (d->seeds.skipped)
        printf("%lld input rows were skipped, the first: %s\n", (long long)d->seeds.skipped,
               d->seeds.first_skip);
    printf("the teacher read %.0f prompt tokens a question", per);
    if (after >= 0)
        printf("; the tuned model will read %.0f, %.0f %% less", after,
               per > 0 ? 100 * (1 - after / per) : 0.0);
    printf("\nnext: attune data check %s\n", d->out);
}

static int run(struct distill *d, const char *input, struct err *err) {
    struct rounds run;
    struct tally t = {0};
    int64_t student = -1;
    int rc = prepare(d, input, err);
    if (!rc) rc = student_tokens(d, &student, err);
    if (rc) return rc;
    json_t *params = params_of(d);
    rc = rounds_open_for(d->out, params, &run, err);
    json_decref(params);
    if (rc) return rc;
    struct round round = {.phase = "answers",
                          .n = (int64_t)d->seeds.count * d->samples,
                          .asker = d->teacher.asker,
                          .concurrency = d->concurrency,
                          .ctx = d,
                          .question = question_of,
                          .result = result_of};
    rc = rounds_ask(&run, &round, err);
    bool asked = !rc; /* all of it: the same command would bring the same */
    if (!rc) rc = write_rows(d, &run, &t, err);
    rounds_close(&run, !rc || (asked && !t.rows));
    if (!rc) report(d, &t, student);
    return rc;
}

int cmd_data_distill(int argc, char **argv) {
    struct distill d = {.samples = 1, .max_tokens = 1024, .concurrency = 8, .seed = 1};
    struct opt list[] = {
        {"teacher", "MODEL", OPT_STR, &d.teacher_name, "a model here, or http(s)://HOST/v1#NAME", 0,
         NULL},
        {"out", "FILE", OPT_STR, &d.out, "the rows; must not exist", 0, NULL},
        {"teacher-prompt", "TEXT|@FILE", OPT_STR, &d.teacher_prompt_arg,
         "system prompt the teacher gets (default: the rows' own)", 0, NULL},
        {"prompt", "TEXT|@FILE", OPT_STR, &d.prompt_arg,
         "system prompt the rows carry, may be empty (default: their own)", 0, NULL},
        {"schema", "FILE", OPT_STR, &d.schema_path, "answers are JSON of this JSON Schema", 0,
         NULL},
        {"student", "MODEL", OPT_STR, &d.student, "counts what its prompts will cost", 0, NULL},
        {"temperature", "T", OPT_DOUBLE, &d.temperature, "default: 0", 0, NULL},
        {"top-p", "P", OPT_DOUBLE, &d.top_p, "default: 1", 0, NULL},
        {"samples", "N", OPT_I64, &d.samples, "answers to each input (default: 1)", 1, NULL},
        {"max-tokens", "N", OPT_I64, &d.max_tokens, "of one answer (default: 1024)", 1, NULL},
        {"limit", "N", OPT_I64, &d.limit, "only the first N inputs", 1, NULL},
        {"seed", "S", OPT_I64, &d.seed, "default: 1", 0, NULL},
        {"concurrency", "N", OPT_INT, &d.concurrency, "questions at a time (default: 8)", 1, NULL},
        {"dtype", "f32|bf16", OPT_STR, &d.answerers.dtype, "arithmetic of a local teacher", 0,
         NULL},
        {"threads", "N", OPT_INT, &d.answerers.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &d.json, "one JSON line at the end", 0, NULL},
        {0}};
    struct usage u = {.command = "data distill",
                      .args = "INPUTS --teacher MODEL --out FILE",
                      .opts = list,
                      .args_min = 1,
                      .args_max = 1,
                      .required = "teacher out",
                      .summary =
                          "A teacher answers your inputs with its long prompt; the rows carry "
                          "the short one, so that a small model learns to do without it. "
                          "Ctrl-C stops; the same command goes on.",
                      .example = "attune data distill inputs.jsonl --teacher "
                                 "https://api.example.com/v1#big-model --teacher-prompt @long.txt "
                                 "--prompt \"Answer as JSON.\" --out rows.jsonl"};
    struct err err = {0};
    answerers_init(&d.answerers);
    int code = opts_parse(&u, argc, argv);
    if (code < 0) {
        d.answerers.batch = d.concurrency;
        cli_catch_interrupt();
        int rc = run(&d, u.positional[0], &err);
        code = rc ? cli_fail("data distill", &err) : 0;
    }
    release(&d);
    return code;
}
