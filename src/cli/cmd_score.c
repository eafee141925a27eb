#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"

#include <stdio.h>

static void print_line(const struct tokenizer *t, int32_t id, const float *logprob) {
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_printf(&b, "{\"id\":%d,\"token\":", id);
    json_write_str(&b, tokenizer_token(t, id));
    if (logprob)
        buf_printf(&b, ",\"logprob\":%.9g}\n", (double)*logprob);
    else
        buf_z(&b, ",\"logprob\":null}\n");
    fwrite(b.p, 1, b.n, stdout);
    buf_release(&b);
}

static int score(struct cli_engine *e, struct str text, struct err *err) {
    const struct tokenizer *t = model_tokenizer(e->model);
    struct token_list ids = {0};
    struct session *s = NULL;
    float *logprob = NULL;
    int rc = tokenizer_encode(t, text, true, &ids, err);
    if (!rc) rc = session_open(e->model, ids.n > 0 ? ids.n : 1, &s, err);
    if (!rc)
        rc = mem_try((size_t)ids.n + 1, sizeof *logprob, "log-probabilities", (void **)&logprob,
                     err);
    if (!rc) session_set_adapter(s, e->adapter);
    if (!rc && ids.n > 1)
        rc = session_score(s, e->num, ids.ids, ids.n - 1, ids.ids + 1, logprob, err);
    for (int64_t i = 0; !rc && i < ids.n; i++)
        print_line(t, ids.ids[i], i ? &logprob[i - 1] : NULL);
    mem_free(logprob);
    session_close(s);
    token_list_release(&ids);
    return rc;
}

int cmd_score(int argc, char **argv) {
    struct cli_engine_options o = {0};
    struct opt list[] = {
        {"model", "MODEL", OPT_STR, &o.model, "directory, GGUF file or known name", 0, NULL},
        {"adapter", "DIR", OPT_STR, &o.adapter, "PEFT adapter over it", 0, NULL},
        {"dtype", "f32|bf16", OPT_STR, &o.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"threads", "N", OPT_INT, &o.threads, "default: all cores", 1, NULL},
        {0}};
    struct usage u = {
        .command = "score",
        .args = "--model MODEL [--adapter DIR] < text",
        .opts = list,
        .summary = "Print the log-probability of each token of standard input, a JSON line each.",
        .example = "printf 'The sky is blue.' | attune score --model starter",
        .required = "model"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct buf text;
    struct cli_engine e = {0};
    int rc = cli_stdin(&text, &err);
    if (!rc) rc = cli_engine_open(&o, &e, &err);
    if (!rc) rc = score(&e, buf_view(&text), &err);
    cli_engine_close(&e);
    buf_release(&text);
    return rc ? cli_fail("score", &err) : 0;
}
