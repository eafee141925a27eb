/* What a container leaves to this process: memory and processor time, cgroup v2 or v1
 * (docs.kernel.org, admin-guide/cgroup-v2 and cgroup-v1). */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stddef.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

struct cgroup {
    size_t memory_limit; /* bytes; SIZE_MAX: none */
    size_t memory_used;  /* bytes, without the file cache that the kernel can take back */
    int cpus;            /* whole processors of quota, at least 1; 0: no quota */
};

/* Files that are absent or make no sense count as no limit. Any thread. */
void cgroup_read(const char *root, struct cgroup *ret);

#endif
