/* Feeds files to a fuzz target compiled by any compiler: replay-<topic> FILE|DIRECTORY... So the
 * committed corpora run in the ordinary checks, without libFuzzer. A crash or a sanitizer's report
 * is the failure. */
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    struct err err;
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    int rc = file_read(path, &b, &err);
    if (rc) {
        fprintf(stderr, "%s\n", err.msg);
    } else {
        /* an exact copy: a read past the end must hit the sanitizer's red zone */
        uint8_t *copy = malloc(b.n ? b.n : 1);
        if (!copy) abort();
        memcpy(copy, buf_view(&b).p, b.n);
        LLVMFuzzerTestOneInput(copy, b.n);
        free(copy);
    }
    buf_release(&b);
    return rc;
}

static int replay_dir(const char *dir, size_t *count) {
    struct err err;
    char **names;
    size_t n;
    if (dir_list(dir, &names, &n, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(dir, names[i]);
        failed |= replay_file(path) != 0;
        mem_free(path);
    }
    *count += n;
    dir_list_free(names, n);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        if (dir_exists(argv[i])) {
            failed |= replay_dir(argv[i], &count);
        } else {
            failed |= replay_file(argv[i]) != 0;
            count++;
        }
    }
    printf("%zu inputs\n", count);
    return failed || count == 0;
}
