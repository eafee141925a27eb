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
    if (o->data && !o->outputs)
        return err_set(err, ERR_USAGE,
                       "--data needs --outputs NAME=FILE,NAME=FILE: answers given beforehand");
    return 0;
}

static int run(const struct eval_options *o, struct err *err) {
    if (o->pairs) return eval_pairs(o, err);
    return eval_plan(o, err);
}

int cmd_eval(int argc, char **argv) {
    struct eval_options o = {.plan = {.sides = 2, .alpha = 0.05, .power = 0.8}};
    struct given given = {0};
    struct opt list[] = {
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
                      .args = "--pairs FILE | --plan --difference D --discordant Q",
                      .opts = list,
                      .summary = "Compare models over the same cases: difference, interval, and a "
                                 "verdict: better, not worse, worse or inconclusive.",
                      .example = "attune eval --plan --difference 0.05 --discordant 0.2"};
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
