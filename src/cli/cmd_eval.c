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
    if (o->data && o->models)
        return err_set(err, ERR_UNSUPPORTED,
                       "--models is not there yet: answers come from --outputs NAME=FILE,...");
    if (o->data && !o->outputs)
        return err_set(err, ERR_USAGE,
                       "--data needs --outputs NAME=FILE,NAME=FILE: answers given beforehand");
    return 0;
}

static int run(const struct eval_options *o, struct err *err) {
    if (o->data) return eval_outputs(o, err);
    if (o->pairs) return eval_pairs(o, err);
    return eval_plan(o, err);
}

int cmd_eval(int argc, char **argv) {
    struct eval_options o = {.plan = {.sides = 2, .alpha = 0.05, .power = 0.8}};
    struct given given = {0};
    struct opt list[] = {
        {"data", "CASES", OPT_STR, &o.data,
         "rows with \"id\"; the last assistant message is the expected answer", 0, NULL},
        {"outputs", "A=FILE,B=FILE", OPT_STR, &o.outputs,
         "answers given beforehand: {\"id\",\"output\"} or {\"id\",\"score\"} a line", 0, NULL},
        {"models", "A,B", OPT_STR, &o.models, NULL, 0, NULL},
        {"grader", "G", OPT_STR, &o.graders,
         "exact (default), given, normalized, contains, numeric, json_fields, rouge_l, ... or "
         "FILE.json; several by commas",
         0, NULL},
        {"cluster", "FIELD", OPT_STR, &o.cluster,
         "cases with the same value of this field belong together", 0, NULL},
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
    struct usage u = {.command = "eval",
                      .args = "--data CASES --outputs A=FILE,B=FILE | --pairs FILE | --plan",
                      .opts = list,
                      .summary = "Compare models over the same cases: difference, interval, and a "
                                 "verdict: better, not worse, worse or inconclusive.",
                      .example = "attune eval --data cases.jsonl --outputs base=base.jsonl,"
                                 "tuned=tuned.jsonl --grader exact"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err = {0};
    o.compare.alpha = o.plan.alpha;
    o.compare.power = o.plan.power;
    o.compare.difference = o.plan.difference;
    if (given.margin && o.compare.margin == 0) o.compare.margin = -1; /* none at all */
    int rc = form_check(&o, &given, &err);
    if (!rc) rc = run(&o, &err);
    return rc < 0 ? cli_fail("eval", &err) : rc;
}
