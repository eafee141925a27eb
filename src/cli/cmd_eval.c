/* attune eval: is one model better than another, and by how much? This file is the options and
 * the choice of a form; the forms are in eval_*.c. */
#include "cli/cli.h"
#include "cli/eval_forms.h"
#include "cli/opts.h"

#include <string.h>

struct given {
    bool difference, discordant, margin;
};

static int form_check(const struct eval_options *o, const struct given *given, struct err *err) {
    int forms = (o->data != NULL) + (o->pairs != NULL) + o->is_plan;
    if (forms != 1)
        return err_set(err, ERR_USAGE,
                       "give one of --data CASES, --pairs FILE and --plan; see attune eval --help");
    if (o->is_plan && !(given->difference && given->discordant))
        return err_set(err, ERR_USAGE, "--plan needs --difference D and --discordant Q");
    if (o->data && (o->models != NULL) + (o->outputs != NULL) != 1)
        return err_set(err, ERR_USAGE,
                       "--data needs --models A,B to be asked, or --outputs NAME=FILE,NAME=FILE: "
                       "answers given beforehand");
    return 0;
}

static int run(const struct eval_options *o, struct err *err) {
    if (o->data) return eval_cases(o, err);
    if (o->pairs) return eval_pairs(o, err);
    return eval_plan(o, err);
}

static int checked_run(struct eval_options *o, const struct given *given) {
    struct err err = {0};
    o->compare.alpha = o->plan.alpha;
    o->compare.power = o->plan.power;
    o->compare.difference = o->plan.difference;
    if (given->margin && o->compare.margin == 0) o->compare.margin = -1; /* none at all */
    int rc = form_check(o, given, &err);
    if (!rc) rc = run(o, &err);
    return rc < 0 ? cli_fail("eval", &err) : rc;
}

int cmd_eval(int argc, char **argv) {
    struct eval_options o = {.max_tokens = 512,
                             .seed = 1,
                             .concurrency = 8,
                             .plan = {.sides = 2, .alpha = 0.05, .power = 0.8}};
    struct given given = {0};
    struct opt list[] = {
        {"data", "CASES", OPT_STR, &o.data,
         "rows with \"id\" (else their numbers); the last assistant message is the expected answer",
         0, NULL},
        {"outputs", "A=FILE,B=FILE", OPT_STR, &o.outputs,
         "answers given beforehand: {\"id\",\"output\"} or {\"id\",\"score\"} a line", 0, NULL},
        {"models", "A,B", OPT_STR, &o.models,
         "asked now: known names, directories, adapters, or http(s)://HOST/v1#NAME", 0, NULL},
        {"grader", "G", OPT_STR, &o.graders,
         "exact (default), given, normalized, contains, numeric, json_fields, rouge_l, ... or "
         "FILE.json; several by commas",
         0, NULL},
        {"cluster", "FIELD", OPT_STR, &o.cluster,
         "cases with the same value of this field belong together", 0, NULL},
        {"slice", "FIELD", OPT_LIST, &o.slices,
         "the comparison again for each value of this field; may be given again", 0, NULL},
        {"max-tokens", "N", OPT_I64, &o.max_tokens, "of an answer (default: 512)", 1, NULL},
        {"temperature", "T", OPT_DOUBLE, &o.temperature, "of answers (default: 0)", 0, NULL},
        {"seed", "S", OPT_I64, &o.seed, "of answers (default: 1)", 0, NULL},
        {"schema", "FILE", OPT_STR, &o.schema, "answers are held to this JSON Schema", 0, NULL},
        {"concurrency", "N", OPT_INT, &o.concurrency, "questions at a time (default: 8)", 1, NULL},
        {"fresh", NULL, OPT_FLAG, &o.fresh, "ask again what was answered before", 0, NULL},
        {"price", "MODEL=IN,OUT", OPT_LIST, &o.prices, "per million tokens, for the cost", 0, NULL},
        {"machine-price", "X", OPT_DOUBLE, &o.machine_price, "of an hour of this machine", 0, NULL},
        {"dtype", "f32|bf16", OPT_STR, &o.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"html", "FILE", OPT_STR, &o.html, "the report as a page", 0, NULL},
        {"pairs", "FILE", OPT_STR, &o.pairs,
         "compare scores: {\"id\",\"a\":[..],\"b\":[..],\"cluster\":[..]?} a line", 0, NULL},
        {"plan", NULL, OPT_FLAG, &o.is_plan, "how many cases a comparison needs", 0, NULL},
        {"difference", "D", OPT_DOUBLE, &o.plan.difference,
         "--plan: to be found, such as 0.05; else: what \"needed\" is planned for", 0,
         &given.difference},
        {"discordant", "Q", OPT_DOUBLE, &o.plan.discordant,
         "--plan: share of cases that the two answer differently", 0, &given.discordant},
        {"sides", "1|2", OPT_INT, &o.plan.sides, "--plan: of the test (default: 2)", 1, NULL},
        {"alpha", "P", OPT_DOUBLE, &o.plan.alpha,
         "error of a verdict, one-sided (--plan: on --sides; default: 0.05)", 0, NULL},
        {"power", "P", OPT_DOUBLE, &o.plan.power, "of --plan and \"needed\" (default: 0.8)", 0,
         NULL},
        {"margin", "D", OPT_DOUBLE, &o.compare.margin,
         "what may be lost in \"not worse\" (default: 0.02)", 0, &given.margin},
        {"threads", "N", OPT_INT, &o.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &o.json, "results as JSON", 0, NULL},
        {0}};
    struct usage u = {
        .command = "eval",
        .args = "--data CASES --models A,B | --data CASES --outputs A=FILE,B=FILE | --pairs FILE | "
                "--plan",
        .opts = list,
        .summary = "Compare models over the same cases: difference, interval, and a "
                   "verdict: better, not worse, worse or inconclusive.",
        .example = "attune eval --data examples/bookings.test.jsonl --models "
                   "starter,mine --grader json_equal"};
    int code = opts_parse(&u, argc, argv);
    return code >= 0 ? code : checked_run(&o, &given);
}
