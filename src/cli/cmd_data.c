/* attune data: the verbs, and help that lists them. */
#include "cli/cmd_data.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} verbs[] = {
#define X(name, help) {#name, help, cmd_data_##name},
    DATA_VERBS(X)
#undef X
};
#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static int usage(FILE *to) {
    fprintf(to, "From raw examples to a dataset that can be trusted.\n\n"
                "usage: attune data VERB [OPTIONS]     (attune data VERB --help says more)\n\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fprintf(to, "\nexample:\n  attune data check support.jsonl --model starter\n");
    return to == stdout ? 0 : 2;
}

int cmd_data(int argc, char **argv) {
    if (argc < 2) return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return usage(stdout);
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) return verbs[i].run(argc - 1, argv + 1);
    fprintf(stderr, "attune data: no such verb: \"%s\"; see \"attune data --help\"\n", argv[1]);
    return 2;
}
