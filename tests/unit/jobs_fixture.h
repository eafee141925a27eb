/* A home with the tiny model "tiny" and jobs on it. */
#ifndef TESTS_JOBS_FIXTURE_H
#define TESTS_JOBS_FIXTURE_H

#include "base/rng.h"
#include "jobs/worker.h"
#include "store_fixture.h"

#include <stdlib.h>
#include <unistd.h>

#define TINY "tests/fixtures/train/llama"

static inline int jobs_open(void **state) {
    int rc = fixture_open(state);
    struct fixture *f = *state;
    setenv("ATTUNE_HOME", f->home, 1);
    setenv("ATTUNE_SHARE", "/nonexistent", 1);
    char *models = path_join(f->home, "models"), *at = path_join(models, "tiny");
    char *from = realpath(TINY, NULL);
    if (!rc) rc = dir_make(models, &f->err);
    if (!rc) rc = symlink(from, at);
    free(from);
    mem_free(at);
    mem_free(models);
    return rc;
}

static inline int jobs_close(void **state) {
    unsetenv("ATTUNE_HOME");
    unsetenv("ATTUNE_SHARE");
    return fixture_close(state);
}
#define WITH_JOBS(test) cmocka_unit_test_setup_teardown(test, jobs_open, jobs_close)

/* additions, as prompt and completion */
static inline struct stored_file jobs_rows(struct fixture *f, int rows) {
    struct buf b;
    struct rng rng;
    rng_init(&rng, (uint64_t)rows);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < rows; i++) {
        int x = (int)rng_below(&rng, 50), y = (int)rng_below(&rng, 50);
        buf_printf(&b, "{\"prompt\":\"%d+%d=\",\"completion\":\"%d\"}\n", x, y, x + y);
    }
    struct stored_file file = fixture_file(f, "rows.jsonl", "fine-tune", buf_view(&b));
    buf_release(&b);
    return file;
}

/* new: what differs from a plain job on "tiny" */
static inline struct ftjob jobs_add(struct fixture *f, struct ftjob new, int rows) {
    struct ftjob j = {0};
    if (!new.model) new.model = "tiny";
    if (!new.method) new.method = "supervised";
    if (!new.training_file) new.training_file = jobs_rows(f, rows).id;
    if (ftjobs_add(f->c, &new, &f->mem, &j, &f->err)) fail_msg("%s", f->err.msg);
    f->job = j.id;
    return j;
}

static inline struct ftjob jobs_get(struct fixture *f, const char *id) {
    struct ftjob j = {0};
    if (ftjobs_get(f->c, id, &f->mem, &j, &f->err)) fail_msg("%s", f->err.msg);
    return j;
}

static inline struct ftevent_list jobs_events(struct fixture *f, const char *id) {
    struct ftevent_list l = {0};
    struct page page = {.limit = 10000, .ascending = true};
    if (ftevents_list(f->c, id, &page, &f->mem, &l, &f->err)) fail_msg("%s", f->err.msg);
    return l;
}

/* metrics events: one for each step 1..steps, in order */
static inline void jobs_expect_steps(struct fixture *f, const char *id, int steps) {
    struct ftevent_list l = jobs_events(f, id);
    int seen = 0;
    for (size_t i = 0; i < l.count; i++) {
        char want[64];
        if (strcmp(l.list[i].type, "metrics") != 0) continue;
        snprintf(want, sizeof want, "Step %d/%d: training loss=", ++seen, steps);
        assert_int_equal(strncmp(l.list[i].message, want, strlen(want)), 0);
        assert_non_null(strstr(l.list[i].data, "\"train_loss\":"));
    }
    assert_int_equal(seen, steps);
}

static inline struct buf jobs_result(struct fixture *f, const struct ftjob *j) {
    struct stored_file file;
    struct buf b;
    buf_init(&b, 1 << 20);
    if (files_get(f->c, j->result_file, &f->mem, &file, &f->err)) fail_msg("%s", f->err.msg);
    char *path = blob_path(f->c, file.blob);
    if (file_read(path, &b, &f->err)) fail_msg("%s", f->err.msg);
    mem_free(path);
    return b;
}

static inline int count_lines(const struct buf *b) {
    int n = 0;
    for (size_t i = 0; i < b->n; i++) n += b->p[i] == '\n';
    return n;
}

#endif
