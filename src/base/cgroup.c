#include "base/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* the first line of root/name */
static bool read_line(const char *root, const char *name, char line[128]) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool found = fgets(line, 128, f) != NULL;
    fclose(f);
    return found;
}

static bool read_bytes(const char *root, const char *name, size_t *ret) {
    char line[128], *end;
    if (!read_line(root, name, line)) return false;
    unsigned long long bytes = strtoull(line, &end, 10);
    if (end == line) return false; /* "max" */
    *ret = (size_t)bytes;
    return true;
}

/* of a file of "key number" lines; 0 when absent */
static size_t read_stat(const char *root, const char *name, const char *key) {
    char path[512], line[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "re");
    size_t n = strlen(key), value = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ' ') value = strtoull(line + n, NULL, 10);
    if (f) fclose(f);
    return value;
}

static void read_memory(const char *root, struct cgroup *c) {
    size_t cached;
    if (read_bytes(root, "memory.max", &c->memory_limit)) {
        read_bytes(root, "memory.current", &c->memory_used);
        cached = read_stat(root, "memory.stat", "inactive_file");
    } else {
        if (!read_bytes(root, "memory/memory.limit_in_bytes", &c->memory_limit)) return;
        read_bytes(root, "memory/memory.usage_in_bytes", &c->memory_used);
        cached = read_stat(root, "memory/memory.stat", "total_inactive_file");
    }
    c->memory_used -= cached < c->memory_used ? cached : c->memory_used;
}

static int quota_cpus(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = quota / period;
    return cpus < 1 ? 1 : cpus > 65536 ? 65536 : (int)cpus;
}

static int read_cpus(const char *root) {
    char line[128], *end;
    if (read_line(root, "cpu.max", line)) {
        long long quota = strtoll(line, &end, 10);
        return end == line ? 0 : quota_cpus(quota, strtoll(end, NULL, 10));
    }
    size_t period = 0;
    if (!read_line(root, "cpu/cpu.cfs_quota_us", line)) return 0;
    if (!read_bytes(root, "cpu/cpu.cfs_period_us", &period)) return 0;
    return quota_cpus(strtoll(line, NULL, 10), (long long)period);
}

void cgroup_read(const char *root, struct cgroup *ret) {
    *ret = (struct cgroup){.memory_limit = SIZE_MAX};
    read_memory(root, ret);
    ret->cpus = read_cpus(root);
}
