#include "cli/cli.h"
#include "cli/opts.h"

#include "base/file.h"
#include "base/mem.h"
#include "train/export.h"

#include <stdio.h>
#include <string.h>

struct export_request {
    const char *subject, *base, *format, *dtype, *out;
    int threads;
};

static int run(const struct export_request *q, struct export_check *check, struct err *err) {
    bool peft = strcmp(q->format, "peft") == 0, f32 = q->dtype && strcmp(q->dtype, "f32") == 0;
    if (!peft && strcmp(q->format, "safetensors") != 0)
        return err_set(err, ERR_USAGE, "--format is peft or safetensors, not \"%s\"%s", q->format,
                       strcmp(q->format, "gguf") == 0 ? "; this version does not write GGUF" : "");
    bool adapter = cli_is_adapter(q->subject);
    if (peft && !adapter)
        return err_set(err, ERR_USAGE, "\"%s\" is no adapter, and --format peft writes adapters",
                       q->subject);
    if (dir_exists(q->out) || file_exists(q->out))
        return err_set(err, ERR_CONFLICT, "\"%s\" exists already; choose another --out", q->out);
    struct num *num = NULL;
    char *base = NULL;
    int rc = cli_num("f32", q->threads, &num, err);
    if (!rc && adapter && !q->base)
        rc = cli_adapter_base(q->subject, &base, err);
    else if (!rc)
        rc = cli_model_path(adapter ? q->base : q->subject, &base, err);
    if (!rc && peft)
        rc = export_peft(num, base, q->subject, q->out, check, err);
    else if (!rc)
        rc = export_merged(num, base, adapter ? q->subject : NULL, f32 ? NUM_F32 : NUM_BF16, q->out,
                           check, err);
    mem_free(base);
    num_free(num);
    return rc;
}

int cmd_export(int argc, char **argv) {
    struct export_request q = {.format = "safetensors"};
    struct opt list[] = {{"format", "peft|safetensors", OPT_STR, &q.format,
                          "an adapter, or a whole model (default)", 0, NULL},
                         {"out", "PATH", OPT_STR, &q.out, "where it goes; must not exist", 0, NULL},
                         {"base", "MODEL", OPT_STR, &q.base,
                          "of an adapter (default: what the adapter names)", 0, NULL},
                         {"dtype", "bf16|f32", OPT_STR, &q.dtype,
                          "of the matrices written (default: bf16)", 0, NULL},
                         {"threads", "N", OPT_INT, &q.threads, "default: all cores", 1, NULL},
                         {0}};
    struct usage u = {
        .command = "export",
        .args = "MODEL|ADAPTER --format FORMAT --out PATH",
        .opts = list,
        .args_min = 1,
        .args_max = 1,
        .required = "out",
        .summary = "Write an adapter, or a model with its adapter merged, for other programs.\n"
                   "What was written is opened again and compared before it is called done.",
        .example = "attune export mine --format safetensors --out mine-merged"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct export_check check = {0};
    q.subject = u.positional[0];
    int rc = run(&q, &check, &err);
    if (rc) return cli_fail("export", &err);
    if (*check.warning) fprintf(stderr, "attune export: warning: %s\n", check.warning);
    printf("wrote %s\nreloaded and compared: largest logit difference %.2g of the largest logit, "
           "%lld of %lld greedy tokens equal\n",
           q.out, check.logit_difference, (long long)check.tokens_equal, (long long)check.tokens);
    return 0;
}
