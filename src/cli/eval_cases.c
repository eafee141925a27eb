/* attune eval --data CASES with --models or --outputs. */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/eval_run.h"

#define PAGE_MAX ((size_t)64 << 20)

static int write_page(const struct eval_run *r, struct err *err) {
    struct buf b;
    buf_init(&b, PAGE_MAX);
    eval_html(r, &b);
    int rc = buf_ok(&b) ? file_write_atomic(r->o->html, buf_view(&b), err)
                        : err_set(err, ERR_LIMIT, "the page is longer than 64 MiB");
    buf_release(&b);
    return rc;
}

int eval_cases(const struct eval_options *o, struct err *err) {
    struct eval_run *r = mem_zalloc(1, sizeof *r);
    cli_catch_interrupt();
    int rc = eval_run(r, o, err);
    if (!rc && o->html) rc = write_page(r, err);
    if (!rc && o->json) {
        json_t *v = eval_json(r);
        cli_print_json(v);
        json_decref(v);
    } else if (!rc) {
        eval_print(r);
    }
    if (!rc && r->report.inconclusive) rc = 3;
    eval_run_release(r);
    mem_free(r);
    return rc;
}
