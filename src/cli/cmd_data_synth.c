/* attune data synth: new rows in the manner of those there are, written by a
 * teacher. */
#include "cli/answerers.h"
#include "cli/cli.h"
#include "cli/cmd_data.h"
#include "cli/opts.h"
#include "cli/rounds.h"
#include "cli/synth_seeds.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 8
#define INPUTS_A_CALL 5
#define CALLS_PER_ROW_MAX 4 /* of what is wanted, before giving up */

struct synth {
    const char *teacher_name, *out, *about_arg;
    double temperature;
    int64_t count, max_tokens, seed, shown;
    int concurrency;
    bool json;
    struct answerers answerers;
    struct answering teacher;
    struct seed_list seeds;
    char *about;
    int64_t calls;
    json_t **asked; /* (calls), then (inputs): what the teacher is sent */
    json_t *schema; /* of the inputs */
    json_t *inputs; /* [{"text","call"}] new ones, different from each other and
                       the seeds */
    int64_t repeated;
    int64_t unreadable; /* calls whose answer was no list of inputs */
};

/* --- which seeds a call shows --- */

static size_t shown_of(const struct synth *s, int64_t call,
                       const struct synth_seed *ret[SHOWN_MAX]) {
    struct rng r;
    size_t n = (size_t)s->shown < s->seeds.count ? (size_t)s->shown : s->seeds.count, got = 0;
    rng_init_stream(&r, (uint64_t)s->seed, (uint64_t)call);
    while (got < n) {
        const struct synth_seed *one = &s->seeds.list[rng_below(&r, s->seeds.count)];
        bool there = false;
        for (size_t i = 0; i < got; i++) there |= ret[i] == one;
        if (!there) ret[got++] = one;
    }
    return n;
}

static int question_of(void *ctx, int64_t i, struct question *ret, struct err *err) {
    const struct synth *s = ctx;
    (void)err;
    *ret = (struct question){.messages = s->asked[i],
                             .schema = s->schema,
                             .max_tokens = s->max_tokens,
                             .temperature = s->temperature,
                             .seed = (uint64_t)s->seed * 1000003u + (uint64_t)i + 1};
    return 0;
}

static void release_asked(struct synth *s, int64_t n) {
    for (int64_t i = 0; s->asked && i < n; i++) json_decref(s->asked[i]);
    mem_free(s->asked);
    s->asked = NULL;
}

/* --- inputs --- */

static json_t *inputs_of(void *ctx, int64_t i, const struct answer *a) {
    struct err err;
    json_t *list = json_array();
    (void)ctx, (void)i;
    int rc = synth_take_inputs((struct str){a->text, a->n}, list, &err);
    json_t *result = json_pack("{s:o}", "inputs", list);
    if (rc) json_object_set_new(result, "refused", json_string(err.msg));
    return result;
}

/* Lower case, letters and digits alone: what differs only in that is the same
 * wish. */
static char *folded(struct str text) {
    struct buf b;
    buf_init(&b, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c + 32);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80) buf_byte(&b, (char)c);
    }
    return b.p ? buf_take(&b) : mem_strdup("");
}

static bool is_new(json_t *seen, struct str text) {
    char *key = folded(text);
    bool fresh = key[0] && !json_object_get(seen, key);
    if (fresh) json_object_set_new(seen, key, json_true());
    mem_free(key);
    return fresh;
}

/* Calls in their order, so that the same seed gives the same rows however the
 * answers came. */
static void pick_inputs(struct synth *s, const struct rounds *run) {
    json_t *seen = json_object();
    s->inputs = json_array();
    for (size_t i = 0; i < s->seeds.count; i++) {
        const json_t *q = s->seeds.list[i].question;
        for (size_t k = 0; k < json_array_size(q); k++)
            is_new(seen, json_str(json_object_get(json_array_get(q, k), "content")));
    }
    s->unreadable = 0;
    for (int64_t call = 0; call < s->calls; call++) {
        const json_t *list = json_object_get(rounds_result(run, "inputs", call), "inputs");
        s->unreadable += json_object_get(rounds_result(run, "inputs", call), "refused") != NULL;
        for (size_t i = 0; i < json_array_size(list); i++) {
            json_t *text = json_array_get(list, i);
            if ((int64_t)json_array_size(s->inputs) == s->count) break;
            if (is_new(seen, json_str(text)))
                json_array_append_new(
                    s->inputs, json_pack("{s:O, s:I}", "text", text, "call", (json_int_t)call));
            else
                s->repeated++;
        }
    }
    json_decref(seen);
}

/* As many calls as are wanted rows, and more while too few of them are new. */
static int ask_inputs(struct synth *s, struct rounds *run, struct err *err) {
    int rc = 0;
    int64_t at_once = (s->count + INPUTS_A_CALL - 1) / INPUTS_A_CALL;
    s->schema = synth_inputs_schema(INPUTS_A_CALL);
    for (bool more = true; !rc && more;) {
        s->calls += at_once;
        s->asked = mem_zalloc((size_t)s->calls, sizeof *s->asked);
        for (int64_t i = 0; i < s->calls; i++) {
            const struct synth_seed *shown[SHOWN_MAX];
            size_t n = shown_of(s, i, shown);
            s->asked[i] = synth_ask_inputs(shown, n, INPUTS_A_CALL, str_of(s->about));
        }
        struct round round = {.phase = "inputs",
                              .n = s->calls,
                              .asker = s->teacher.asker,
                              .concurrency = s->concurrency,
                              .ctx = s,
                              .question = question_of,
                              .result = inputs_of};
        rc = rounds_ask(run, &round, err);
        release_asked(s, s->calls);
        json_decref(s->inputs);
        s->repeated = 0;
        pick_inputs(s, run);
        more = (int64_t)json_array_size(s->inputs) < s->count &&
               s->calls < at_once * CALLS_PER_ROW_MAX;
    }
    json_decref(s->schema);
    s->schema = NULL;
    return rc;
}

/* --- answers --- */

static const json_t *input_at(const struct synth *s, int64_t i, size_t *ret_shown,
                              const struct synth_seed *shown[SHOWN_MAX]) {
    const json_t *input = json_array_get(s->inputs, (size_t)i);
    *ret_shown = shown_of(s, json_integer_value(json_object_get(input, "call")), shown);
    return json_object_get(input, "text");
}

static json_t *row_of(void *ctx, int64_t i, const struct answer *a) {
    const struct synth *s = ctx;
    const struct synth_seed *shown[SHOWN_MAX];
    size_t n;
    char hex[SHA256_HEX + 1];
    const json_t *text = input_at(s, i, &n, shown);
    struct str answer = {a->text, a->n};
    const char *refused = synth_refusal(answer, a->finish);
    if (refused)
        return json_pack("{s:s, s:O, s:s%}", "refused", refused, "input", text, "answer", answer.p,
                         answer.n);
    sha256_of(str_of(s->about), hex);
    struct synth_origin from = {.generator = s->teacher.id,
                                .prompt_sha256 = hex,
                                .seed_row = shown[0]->number,
                                .temperature = s->temperature};
    json_t *question = synth_question(shown, 0, json_str(text));
    const json_t *first = json_array_get(shown[0]->question, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (role && strcmp(role, "system") == 0) json_array_insert(question, 0, (json_t *)first);
    json_t *result = json_pack("{s:o}", "row", synth_row(question, shown[0]->tools, answer, &from));
    json_decref(question);
    return result;
}

static int ask_answers(struct synth *s, struct rounds *run, struct err *err) {
    int64_t n = (int64_t)json_array_size(s->inputs);
    s->asked = mem_zalloc((size_t)n + 1, sizeof *s->asked);
    for (int64_t i = 0; i < n; i++) {
        const struct synth_seed *shown[SHOWN_MAX];
        size_t count;
        const json_t *text = input_at(s, i, &count, shown);
        s->asked[i] = synth_question(shown, count, json_str(text));
    }
    struct round round = {.phase = "answers",
                          .n = n,
                          .asker = s->teacher.asker,
                          .concurrency = s->concurrency,
                          .ctx = s,
                          .question = question_of,
                          .result = row_of};
    int rc = rounds_ask(run, &round, err);
    release_asked(s, n);
    return rc;
}

/* --- the whole --- */

static void add_line(struct buf *b, const json_t *v) {
    json_write(v, b);
    buf_byte(b, '\n');
}

/* Lists of inputs that were none, and answers that may not be learnt. */
static int64_t gather(const struct synth *s, const struct rounds *run, struct buf *rows,
                      struct buf *refused) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->calls; i++) {
        const json_t *result = rounds_result(run, "inputs", i);
        if (json_object_get(result, "refused")) add_line(refused, result);
    }
    for (int64_t i = 0; i < (int64_t)json_array_size(s->inputs); i++) {
        const json_t *result = rounds_result(run, "answers", i);
        const json_t *row = json_object_get(result, "row");
        add_line(row ? rows : refused, row ? row : result);
        n += row != NULL;
    }
    return n;
}

static int write_rows(const struct synth *s, const struct rounds *run, int64_t *ret_rows,
                      struct err *err) {
    struct buf rows, refused, path;
    buf_init(&rows, (size_t)4 << 30);
    buf_init(&refused, (size_t)4 << 30);
    buf_init(&path, 1 << 16);
    *ret_rows = gather(s, run, &rows, &refused);
    buf_printf(&path, "%s.rejected", s->out);
    int rc = refused.n ? file_write_atomic(path.p, buf_view(&refused), err) : 0;
    if (!rc && *ret_rows) rc = file_write_atomic(s->out, buf_view(&rows), err);
    if (!rc && !*ret_rows)
        rc = err_set(err, ERR_INVALID,
                     "the teacher wrote no row that can be used%s%s; give it more --max-tokens, or "
                     "take a larger teacher",
                     refused.n ? "; what it wrote is in " : "", refused.n ? path.p : "");
    buf_release(&path);
    buf_release(&refused);
    buf_release(&rows);
    return rc;
}

static void report(const struct synth *s, int64_t rows) {
    int64_t rejected = (int64_t)json_array_size(s->inputs) - rows;
    if (s->json) {
        json_t *o =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "rows", (json_int_t)rows, "wanted",
                      (json_int_t)s->count, "repeated", (json_int_t)s->repeated, "rejected",
                      (json_int_t)rejected, "unreadable", (json_int_t)s->unreadable, "out", s->out);
        cli_print_json(o);
        json_decref(o);
        return;
    }
    printf("%lld rows in %s; %lld inputs were repeats, %lld answers were rejected\n",
           (long long)rows, s->out, (long long)s->repeated, (long long)rejected);
    if (s->unreadable)
        printf("%lld of %lld lists of inputs could not be read\n", (long long)s->unreadable,
               (long long)s->calls);
    if (s->unreadable || rejected) printf("%s.rejected says why\n", s->out);
    if (rows < s->count)
        printf("%lld were wanted: raise --max-tokens where answers were cut, --temperature where "
               "they repeat, give more seed rows, or say with --about what to vary\n",
               (long long)s->count);
    printf("next: attune data check %s\n", s->out);
}

static int run(struct synth *s, const char *input, struct err *err) {
    struct rounds r;
    int64_t rows = 0;
    int rc = seeds_read(input, 0, &s->seeds, err);
    if (!rc) rc = text_option(s->about_arg ? s->about_arg : "", &s->about, err);
    if (!rc) rc = answerers_open(&s->answerers, s->teacher_name, &s->teacher, err);
    if (rc) return rc;
    json_t *params = json_pack("{s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:I, s:I}", "command", "synth",
                               "seeds", s->seeds.sha256, "teacher", s->teacher.id, "about",
                               s->about, "temperature", s->temperature, "count",
                               (json_int_t)s->count, "max_tokens", (json_int_t)s->max_tokens,
                               "seed", (json_int_t)s->seed, "shown", (json_int_t)s->shown);
    rc = rounds_open_for(s->out, params, &r, err);
    json_decref(params);
    if (rc) return rc;
    rc = ask_inputs(s, &r, err);
    if (!rc) rc = ask_answers(s, &r, err);
    bool asked = !rc; /* all of it: the same command would bring the same */
    if (!rc) rc = write_rows(s, &r, &rows, err);
    rounds_close(&r, !rc || (asked && !rows));
    if (!rc) report(s, rows);
    return rc;
}

int cmd_data_synth(int argc, char **argv) {
    struct synth s = {
        .count = 50, .max_tokens = 1024, .concurrency = 8, .seed = 1, .shown = 4, .temperature = 1};
    struct opt list[] = {
        {"teacher", "MODEL", OPT_STR, &s.teacher_name, "a model here, or http(s)://HOST/v1#NAME", 0,
         NULL},
        {"out", "FILE", OPT_STR, &s.out, "the rows; must not exist", 0, NULL},
        {"count", "N", OPT_I64, &s.count, "rows wanted (default: 50)", 1, NULL},
        {"about", "TEXT|@FILE", OPT_STR, &s.about_arg, "a wish: what to vary, what to cover", 0,
         NULL},
        {"shown", "N", OPT_I64, &s.shown,
         "seed rows shown in each question, at most 8 (default: 4)", 1, NULL},
        {"temperature", "T", OPT_DOUBLE, &s.temperature, "default: 1", 0, NULL},
        {"max-tokens", "N", OPT_I64, &s.max_tokens, "of one answer (default: 1024)", 1, NULL},
        {"seed", "S", OPT_I64, &s.seed, "default: 1", 0, NULL},
        {"concurrency", "N", OPT_INT, &s.concurrency, "questions at a time (default: 8)", 1, NULL},
        {"dtype", "f32|bf16", OPT_STR, &s.answerers.dtype, "arithmetic of a local teacher", 0,
         NULL},
        {"threads", "N", OPT_INT, &s.answerers.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &s.json, "one JSON line at the end", 0, NULL},
        {0}};
    struct usage u = {.command = "data synth",
                      .args = "SEEDS --teacher MODEL --out FILE",
                      .opts = list,
                      .args_min = 1,
                      .args_max = 1,
                      .required = "teacher out",
                      .summary = "New rows in the manner of yours: a teacher writes inputs like "
                                 "those of the seed rows and answers them. Each row names its "
                                 "teacher and seed row. Ctrl-C stops; the same command goes on.",
                      .example =
                          "attune data synth support.jsonl --teacher "
                          "https://api.example.com/v1#big-model --count 200 --out new.jsonl"};
    struct err err = {0};
    answerers_init(&s.answerers);
    int code = opts_parse(&u, argc, argv);
    if (code < 0) {
        s.answerers.batch = s.concurrency;
        if (s.shown > SHOWN_MAX) s.shown = SHOWN_MAX;
        cli_catch_interrupt();
        int rc = run(&s, u.positional[0], &err);
        code = rc ? cli_fail("data synth", &err) : 0;
    }
    asker_close(s.teacher.asker);
    answerers_close(&s.answerers);
    seeds_release(&s.seeds);
    json_decref(s.inputs);
    mem_free(s.about);
    return code;
}
