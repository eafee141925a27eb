/* A fresh catalog for each test, with an arena that goes with it. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "base/file.h"
#include "base/mem.h"
#include "store/audit.h"
#include "store/files.h"
#include "store/ftjobs.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct catalog *c;
    char *home;
    struct arena mem;
    struct err err;
    const char *job; /* of fixture_job */
};

static const struct audit_cause by_test __attribute__((unused)) = {.actor = "test"};

static inline int fixture_open(void **state) {
    char name[ID_SIZE];
    struct fixture *f = mem_zalloc(1, sizeof *f);
    id_new("catalog-", name);
    f->home = path_join(unit_dir(), name);
    arena_init(&f->mem, 64 << 20);
    *state = f;
    return catalog_open(f->home, &f->c, &f->err);
}

static inline int fixture_close(void **state) {
    struct fixture *f = *state;
    catalog_close(f->c);
    arena_release(&f->mem);
    mem_free(f->home);
    mem_free(f);
    return 0;
}
#define WITH_CATALOG(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

static inline struct stored_file fixture_file(struct fixture *f, const char *name,
                                              const char *purpose, struct str bytes) {
    struct blob_writer *w = NULL;
    struct stored_file file = {0};
    int rc = blob_writer_open(f->c, &w, &f->err);
    if (!rc) rc = blob_writer_add(w, bytes.p, bytes.n, &f->err);
    if (!rc)
        rc = files_add(f->c, &(struct stored_file){.filename = name, .purpose = purpose}, w,
                       &f->mem, &file, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    blob_writer_free(w);
    return file;
}

static inline struct ftjob fixture_job(struct fixture *f) {
    struct stored_file file = fixture_file(f, "t.jsonl", "fine-tune", STR_LIT("{}\n"));
    struct ftjob job = {0};
    int rc = ftjobs_add(
        f->c, &(struct ftjob){.model = "starter", .training_file = file.id, .method = "supervised"},
        &f->mem, &job, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    f->job = job.id;
    return job;
}

#endif
