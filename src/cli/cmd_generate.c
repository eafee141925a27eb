#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "infer/generate.h"

#include <stdio.h>

static void print_piece(void *ctx, struct str piece) {
    (void)ctx;
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
}

static void print_result(const struct generate_result *r, int64_t prompt_tokens) {
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    buf_z(&b, "{\"text\":");
    json_write_str(&b, buf_view(&r->text));
    buf_z(&b, ",\"ids\":[");
    for (int64_t i = 0; i < r->count; i++) buf_printf(&b, "%s%d", i ? "," : "", r->ids[i]);
    buf_printf(&b,
               "],\"finish_reason\":\"%s\",\"prompt_tokens\":%lld,\"prompt_seconds\":%.6f,"
               "\"decode_seconds\":%.6f}\n",
               finish_reason_name(r->finish), (long long)prompt_tokens, r->prompt_seconds,
               r->decode_seconds);
    fwrite(b.p, 1, b.n, stdout);
    buf_release(&b);
}

static int run(struct cli_engine *e, struct str prompt, struct generate_options *o, bool json,
               struct err *err) {
    struct token_list ids = {0};
    struct session *s = NULL;
    struct generate_result result = {0};
    int rc = tokenizer_encode(model_tokenizer(e->model), prompt, true, &ids, err);
    if (!rc && ids.n == 0)
        rc = err_set(err, ERR_INVALID, "the prompt is empty: give --prompt some text");
    if (!rc) rc = session_open(e->model, ids.n + o->max_tokens, &s, err);
    if (!rc) {
        session_set_adapter(s, e->adapter);
        o->prompt = ids.ids;
        o->prompt_count = ids.n;
        if (!json) o->on_text = print_piece;
        rc = generate(s, e->num, o, &result, err);
    }
    if (!rc && json)
        print_result(&result, ids.n);
    else if (!rc)
        putchar('\n');
    generate_result_release(&result);
    session_close(s);
    token_list_release(&ids);
    return rc;
}

int cmd_generate(int argc, char **argv) {
    struct cli_engine_options eo = {0};
    struct generate_options o = {.max_tokens = 128, .sampling = {.temperature = 0, .seed = 42}};
    const char *prompt = NULL;
    bool json = false;
    struct opt list[] = {
        {"model", "MODEL", OPT_STR, &eo.model, "directory, GGUF file or known name", 0, NULL},
        {"adapter", "DIR", OPT_STR, &eo.adapter, "PEFT adapter over it", 0, NULL},
        {"prompt", "TEXT", OPT_STR, &prompt, "raw text: no chat template is applied", 0, NULL},
        {"max-tokens", "N", OPT_I64, &o.max_tokens, "default: 128", 1, NULL},
        {"temperature", "X", OPT_DOUBLE, &o.sampling.temperature,
         "0 (default): always the likeliest token", 0, NULL},
        {"top-p", "X", OPT_DOUBLE, &o.sampling.top_p, "keep the likeliest tokens up to this mass",
         0, NULL},
        {"top-k", "N", OPT_I64, &o.sampling.top_k, "keep the N likeliest tokens", 0, NULL},
        {"min-p", "X", OPT_DOUBLE, &o.sampling.min_p, "keep tokens at least X times the likeliest",
         0, NULL},
        {"seed", "S", OPT_U64, &o.sampling.seed, "default: 42", 0, NULL},
        {"dtype", "f32|bf16", OPT_STR, &eo.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"threads", "N", OPT_INT, &eo.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &json, "text, ids, finish reason and times as one JSON line", 0,
         NULL},
        {0}};
    struct usage u = {
        .command = "generate",
        .args = "--model MODEL --prompt TEXT",
        .opts = list,
        .summary = "Continue a raw prompt.",
        .example = "attune generate --model starter --prompt 'Once upon a time' --max-tokens 40",
        .required = "model prompt"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct cli_engine e = {0};
    cli_catch_interrupt();
    o.cancel = &cli_interrupted;
    int rc = cli_engine_open(&eo, &e, &err);
    if (!rc) rc = run(&e, str_of(prompt), &o, json, &err);
    cli_engine_close(&e);
    return rc ? cli_fail("generate", &err) : 0;
}
