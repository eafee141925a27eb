#include "unit.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 200

static struct {
    const char *name;
    const struct CMUnitTest *tests;
    size_t count;
} groups[GROUPS_MAX];
static size_t group_count;

void unit_add(const char *group, const struct CMUnitTest *tests, size_t count) {
    if (group_count == GROUPS_MAX) abort();
    groups[group_count].name = group;
    groups[group_count].tests = tests;
    groups[group_count++].count = count;
}

uint64_t unit_seed(void) {
    const char *set = getenv("UNIT_SEED");
    return set ? strtoull(set, NULL, 10) : 20260101;
}

static char dir[64];

static void remove_dir(void) {
    struct err err;
    dir_remove_all(dir, &err);
}

const char *unit_dir(void) {
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/attune-unit-XXXXXX");
        if (!mkdtemp(dir)) abort();
        atexit(remove_dir);
    }
    return dir;
}

int main(int argc, char **argv) {
    const char *want = argc > 1 ? argv[1] : "";
    int failed = 0;
    printf("seed %llu\n", (unsigned long long)unit_seed());
    for (size_t g = 0; g < group_count; g++) {
        if (!strstr(groups[g].name, want)) continue;
        failed +=
            _cmocka_run_group_tests(groups[g].name, groups[g].tests, groups[g].count, NULL, NULL);
    }
    return failed > 0;
}
