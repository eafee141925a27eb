/* attune: one program, one command each in cmd_<name>.c. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
#define X(name, help) {#name, help, cmd_##name},
    COMMANDS(X)
#undef X
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static int usage(FILE *to) {
    fprintf(to, "attune turns a general language model into yours, on your own machine.\n\n"
                "usage: attune COMMAND [OPTIONS]     (attune COMMAND --help says more)\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(
        to,
        "\nexample:\n  attune tune --base starter --data examples/bookings.train.jsonl --out mine\n"
        "  attune chat --model starter --adapter mine\n");
    return to == stdout ? 0 : 2;
}

int cmd_version(int argc, char **argv) {
    (void)argc, (void)argv;
    printf("attune %s\n", ATTUNE_VERSION);
    return 0;
}

static int run(int argc, char **argv) {
    if (argc < 2) return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0) return cmd_version(0, NULL);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "attune: no such command: \"%s\"; see \"attune --help\"\n", argv[1]);
    return 2;
}

static bool reader_is_gone(void) {
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

/* A reader that has gone on purpose (head) needs no message. */
static int check_output(int code) {
    errno = 0;
    bool lost = fflush(stdout) != 0, earlier = ferror(stdout);
    if (!lost && !earlier) return code;
    if (errno != EPIPE && !reader_is_gone())
        fprintf(stderr, "attune: standard output is not complete: %s; check where it goes\n",
                errno ? strerror(errno) : "an earlier part could not be written");
    return code ? code : 1;
}

int main(int argc, char **argv) { return check_output(run(argc, argv)); }
