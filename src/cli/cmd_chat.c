/* attune chat: a conversation in the terminal. Lines that begin with "/" are commands; Ctrl-C stops
 * the answer, not the program; Ctrl-D or /quit ends it. The conversation is rendered by the model's
 * own chat template each turn; the session reuses what it has already read. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "infer/generate.h"
#include "model/assets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROMPT_MAX ((size_t)64 << 20)
#define CONTEXT_DEFAULT 4096

struct chat {
    struct cli_engine engine;
    struct session *session;
    struct generate_options options;
    json_t *messages;
    int64_t context;
    bool terminal;
    int failed; /* exit code of the last answer that did not come */
};

static volatile sig_atomic_t stop_answer;
static void on_interrupt(int sig) {
    (void)sig;
    stop_answer = 1;
}

static void say_help(void) {
    fputs("/system TEXT   set the system prompt and start over (empty: none)\n"
          "/reset         start over\n"
          "/help          this\n"
          "/quit          leave (Ctrl-D too)\n"
          "Ctrl-C stops an answer.\n",
          stderr);
}

static void add_message(json_t *messages, const char *role, struct str text) {
    json_array_append_new(messages,
                          json_pack("{s:s,s:s%}", "role", role, "content", text.p, text.n));
}

/* keeps a system message, drops the rest */
static void reset(struct chat *c) {
    json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    json_incref(first);
    json_array_clear(c->messages);
    if (role && strcmp(role, "system") == 0) json_array_append(c->messages, first);
    json_decref(first);
    session_rewind(c->session, 0);
}

static void set_system(struct chat *c, struct str text) {
    json_array_clear(c->messages);
    session_rewind(c->session, 0);
    if (text.n) add_message(c->messages, "system", text);
    fprintf(stderr, text.n ? "(system prompt set)\n" : "(no system prompt)\n");
}

static void print_piece(void *ctx, struct str piece) {
    (void)ctx;
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
}

static int encode_prompt(struct chat *c, struct token_list *ids, struct err *err) {
    const struct tokenizer *tok = model_tokenizer(c->engine.model);
    struct buf prompt;
    buf_init(&prompt, PROMPT_MAX);
    json_t *vars = json_pack("{s:O}", "messages", c->messages);
    int rc = assets_render(model_template(c->engine.model), tok, vars, true, &prompt, err);
    if (!rc) rc = tokenizer_encode(tok, buf_view(&prompt), false, ids, err);
    json_decref(vars);
    buf_release(&prompt);
    return rc;
}

static int answer(struct chat *c, struct err *err) {
    struct token_list ids = {0};
    struct generate_result r = {0};
    stop_answer = 0;
    int rc = encode_prompt(c, &ids, err);
    if (!rc && ids.n >= c->context)
        rc = err_set(err, ERR_LIMIT,
                     "the conversation has %lld tokens and %lld fit; /reset starts over",
                     (long long)ids.n, (long long)c->context);
    if (!rc) {
        c->options.prompt = ids.ids;
        c->options.prompt_count = ids.n;
        rc = generate(c->session, c->engine.num, &c->options, &r, err);
    }
    if (!rc) {
        add_message(c->messages, "assistant", buf_view(&r.text));
        puts(r.finish == FINISH_CANCELLED ? " [stopped]"
             : r.finish == FINISH_LENGTH  ? " [cut]"
                                          : "");
        fflush(stdout);
    }
    generate_result_release(&r);
    token_list_release(&ids);
    return rc;
}

/* false: leave */
static bool handle(struct chat *c, struct str line) {
    struct err err;
    if (line.n == 0) return true;
    if (str_is(line, "/quit") || str_is(line, "/exit")) return false;
    if (str_is(line, "/reset")) {
        reset(c);
        fputs("(new conversation)\n", stderr);
    } else if (str_is(line, "/system")) {
        set_system(c, (struct str){"", 0});
    } else if (str_starts(line, STR_LIT("/system "))) {
        set_system(c, str_from(line, 8));
    } else if (line.p[0] == '/') {
        if (!str_is(line, "/help")) fprintf(stderr, "no such command: %.*s\n", STR_ARG(line));
        say_help();
    } else {
        add_message(c->messages, "user", line);
        if (answer(c, &err)) {
            c->failed = cli_fail("chat", &err);
            json_array_remove(c->messages, json_array_size(c->messages) - 1);
        }
    }
    return true;
}

static void loop(struct chat *c) {
    char *line = NULL;
    size_t cap = 0;
    for (bool go = true; go;) {
        if (c->terminal) fputs("\x1b[1m> \x1b[0m", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0 && errno == EINTR) {
            clearerr(stdin);
            fputc('\n', stderr);
            continue;
        }
        if (n < 0) break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
        struct str text = {line, (size_t)n};
        if (utf8_valid_prefix(text) != text.n)
            fputs("(not UTF-8, ignored)\n", stderr);
        else
            go = handle(c, text);
    }
    free(line);
}

static int start(struct chat *c, const struct cli_engine_options *eo, const char *system,
                 struct err *err) {
    int rc = cli_engine_open(eo, &c->engine, err);
    if (rc) return rc;
    int64_t most = model_config(c->engine.model)->max_position;
    if (c->context > most) c->context = most;
    rc = session_open(c->engine.model, c->context, &c->session, err);
    if (rc) return rc;
    session_set_adapter(c->session, c->engine.adapter);
    c->messages = json_array();
    if (system) add_message(c->messages, "system", str_of(system));
    return 0;
}

int cmd_chat(int argc, char **argv) {
    struct cli_engine_options eo = {0};
    const char *system = NULL;
    struct chat c = {.context = CONTEXT_DEFAULT,
                     .terminal = cli_is_terminal(STDIN_FILENO),
                     .options = {.max_tokens = 512,
                                 .on_text = print_piece,
                                 .cancel = &stop_answer,
                                 .sampling = {.temperature = 0.7, .top_p = 0.95, .seed = 42}}};
    struct opt list[] = {
        {"model", "MODEL", OPT_STR, &eo.model, "directory, GGUF file or known name", 0, NULL},
        {"adapter", "DIR", OPT_STR, &eo.adapter, "PEFT adapter over it", 0, NULL},
        {"system", "TEXT", OPT_STR, &system, "system prompt", 0, NULL},
        {"temperature", "X", OPT_DOUBLE, &c.options.sampling.temperature,
         "default: 0.7; 0: always the likeliest", 0, NULL},
        {"top-p", "X", OPT_DOUBLE, &c.options.sampling.top_p, "default: 0.95", 0, NULL},
        {"seed", "S", OPT_U64, &c.options.sampling.seed, "default: 42", 0, NULL},
        {"max-tokens", "N", OPT_I64, &c.options.max_tokens, "of one answer (default: 512)", 1,
         NULL},
        {"context", "N", OPT_I64, &c.context, "tokens of the whole conversation (default: 4096)",
         16, NULL},
        {"dtype", "f32|bf16", OPT_STR, &eo.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"threads", "N", OPT_INT, &eo.threads, "default: all cores", 1, NULL},
        {0}};
    struct usage u = {
        .command = "chat",
        .args = "--model MODEL [--adapter DIR]",
        .opts = list,
        .summary = "Talk to a model. /system TEXT, /reset, /help, /quit; Ctrl-C stops an answer.",
        .example = "attune chat --model starter --adapter mine",
        .required = "model"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct sigaction action = {.sa_handler =
                                   on_interrupt}; /* no SA_RESTART: the prompt comes back */
    sigaction(SIGINT, &action, NULL);
    int rc = start(&c, &eo, system, &err);
    if (!rc && c.terminal)
        fprintf(stderr, "%s%s%s. /help lists commands.\n", eo.model, eo.adapter ? " with " : "",
                eo.adapter ? eo.adapter : "");
    if (!rc) loop(&c);
    json_decref(c.messages);
    session_close(c.session);
    cli_engine_close(&c.engine);
    if (rc) return cli_fail("chat", &err);
    return c.terminal ? 0 : c.failed; /* a person has seen it and gone on */
}
