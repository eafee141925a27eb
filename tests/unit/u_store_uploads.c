/* Uploads in parts, batches, permissions. */
#include "unit.h"

#include "base/clock.h"
#include "store/batches.h"
#include "store/outbox.h"
#include "store/permissions.h"
#include "store/store_int.h"
#include "store/uploads.h"
#include "store_fixture.h"

static struct upload new_upload(struct fixture *f, int64_t bytes) {
    struct upload u = {0}, new = {.filename = "a.jsonl",
                                  .purpose = "fine-tune",
                                  .mime_type = "t/p",
                                  .bytes = bytes};
    if (uploads_add(f->c, &new, &f->mem, &u, &f->err)) fail_msg("%s", f->err.msg);
    return u;
}

static int put_part(struct fixture *f, const char *upload, const char *text, const char **ret) {
    struct blob_writer *w = NULL;
    struct upload_part part = {0};
    assert_int_equal(blob_writer_open(f->c, &w, &f->err), 0);
    assert_int_equal(blob_writer_add(w, text, strlen(text), &f->err), 0);
    int rc = uploads_add_part(f->c, upload, w, &f->mem, &part, &f->err);
    blob_writer_free(w);
    *ret = part.id;
    return rc;
}

static size_t blobs_left(struct fixture *f) {
    char *path = path_join(f->home, "blobs"), **names = NULL;
    size_t count = 0, blobs = 0;
    assert_int_equal(dir_list(path, &names, &count, &f->err), 0);
    for (size_t i = 0; i < count; i++) {
        char **inside = NULL, *dir = path_join(path, names[i]);
        size_t n = 0;
        assert_int_equal(dir_list(dir, &inside, &n, &f->err), 0);
        blobs += n;
        dir_list_free(inside, n);
        mem_free(dir);
    }
    dir_list_free(names, count);
    mem_free(path);
    return blobs;
}

static void parts_become_a_file_in_the_order_named(void **state) {
    struct fixture *f = *state;
    struct upload u = new_upload(f, 6);
    const char *p[2];
    struct stored_file file;
    struct file_map map;
    assert_string_equal(u.status, "pending");
    assert_int_equal(u.expires_at - u.created_at, 3600);
    assert_int_equal(put_part(f, u.id, "def", &p[1]), 0);
    assert_int_equal(put_part(f, u.id, "abc", &p[0]), 0);
    struct upload_order o = {.parts = p, .count = 2, .md5 = "E80B5017098950FC58AAD83C8C14978E"};
    assert_int_equal(uploads_complete(f->c, u.id, &o, &f->mem, &u, &file, &f->err), 0);
    assert_string_equal(u.status, "completed");
    assert_string_equal(u.file, file.id);
    assert_string_equal(file.filename, "a.jsonl");
    assert_int_equal(blob_map(f->c, file.blob, &map, &f->err), 0);
    assert_int_equal(map.n, 6);
    assert_memory_equal(map.p, "abcdef", 6);
    file_map_close(&map);
    assert_int_equal(blobs_left(f), 1);
    assert_int_equal(put_part(f, u.id, "x", &p[0]), ERR_CONFLICT);
    assert_int_equal(uploads_cancel(f->c, u.id, &f->mem, &u, &f->err), ERR_CONFLICT);
    assert_int_equal(uploads_complete(f->c, u.id, &o, &f->mem, &u, &file, &f->err), ERR_CONFLICT);
}

static void parts_that_do_not_add_up_are_refused(void **state) {
    struct fixture *f = *state;
    struct upload u = new_upload(f, 6);
    const char *p[3];
    struct stored_file file;
    assert_int_equal(put_part(f, u.id, "abc", &p[0]), 0);
    assert_int_equal(put_part(f, u.id, "more", &p[1]), ERR_INVALID);
    struct upload_order short_one = {.parts = p, .count = 1};
    assert_int_equal(uploads_complete(f->c, u.id, &short_one, &f->mem, &u, &file, &f->err),
                     ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "6 bytes were announced, the parts have 3"));
    p[1] = p[0];
    struct upload_order twice = {.parts = p, .count = 2};
    assert_int_equal(uploads_complete(f->c, u.id, &twice, &f->mem, &u, &file, &f->err),
                     ERR_INVALID);
    p[1] = "part_none";
    assert_int_equal(uploads_complete(f->c, u.id, &twice, &f->mem, &u, &file, &f->err),
                     ERR_NOT_FOUND);
    assert_int_equal(put_part(f, u.id, "def", &p[1]), 0);
    struct upload_order wrong = {.parts = p, .count = 2, .md5 = "00000000000000000000000000000000"};
    assert_int_equal(uploads_complete(f->c, u.id, &wrong, &f->mem, &u, &file, &f->err),
                     ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "md5"));
    assert_int_equal(uploads_get(f->c, u.id, &f->mem, &u, &f->err), 0);
    assert_string_equal(u.status, "pending"); /* may be tried again */
    struct upload_order right = {.parts = p, .count = 2};
    assert_int_equal(uploads_complete(f->c, u.id, &right, &f->mem, &u, &file, &f->err), 0);
}

static void cancelled_and_expired_uploads_leave_nothing(void **state) {
    struct fixture *f = *state;
    struct upload a = new_upload(f, 6), b = new_upload(f, 6);
    const char *p;
    assert_int_equal(put_part(f, a.id, "abc", &p), 0);
    assert_int_equal(put_part(f, b.id, "xyz", &p), 0);
    assert_int_equal(blobs_left(f), 2);
    assert_int_equal(uploads_cancel(f->c, a.id, &f->mem, &a, &f->err), 0);
    assert_string_equal(a.status, "cancelled");
    assert_int_equal(blobs_left(f), 1);
    assert_int_equal(uploads_expire(f->c, clock_unix() + 10, &f->err), 0);
    assert_int_equal(blobs_left(f), 1);
    assert_int_equal(uploads_expire(f->c, clock_unix() + UPLOAD_SECONDS, &f->err), 0);
    assert_int_equal(blobs_left(f), 0);
    assert_int_equal(uploads_get(f->c, b.id, &f->mem, &b, &f->err), 0);
    assert_string_equal(b.status, "expired");
    assert_int_equal(put_part(f, b.id, "x", &p), ERR_CONFLICT);
}

/* --- batches --- */

static struct batch new_batch(struct fixture *f) {
    struct stored_file file = fixture_file(f, "b.jsonl", "batch", STR_LIT("{}"));
    struct batch b = {0}, new = {.endpoint = "/v1/chat/completions",
                                 .completion_window = "24h",
                                 .input_file = file.id,
                                 .metadata = "{\"a\":\"b\"}",
                                 .expires_at = clock_unix() + 86400};
    if (batches_add(f->c, &new, &f->mem, &b, &f->err)) fail_msg("%s", f->err.msg);
    return b;
}

static struct batch_made a_file(struct fixture *f, const char *name, const char *bytes) {
    struct batch_made made = {.file = {.filename = name, .purpose = "batch_output"}};
    int rc = blob_writer_open(f->c, &made.w, &f->err);
    if (!rc) rc = blob_writer_add(made.w, bytes, strlen(bytes), &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    return made;
}

static size_t outputs(struct fixture *f) {
    struct file_list l;
    assert_int_equal(
        files_list(f->c, "batch_output", &(struct page){.limit = 9}, &f->mem, &l, &f->err), 0);
    return l.count;
}

/* a batch that was cancelled meanwhile gets its files with the next try, and once */
static void a_batch_and_its_files_change_together(void **state) {
    struct fixture *f = *state;
    struct batch b = new_batch(f);
    struct batch_update u = {.from = "in_progress", .to = "finalizing"};
    u.output = a_file(f, "out.jsonl", "{}\n");
    u.error = a_file(f, "err.jsonl", "{\"a\":1}\n");
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), ERR_CANCELLED);
    assert_int_equal(outputs(f), 0);
    u.from = "validating", u.to = "nonsense";
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), ERR_INTERNAL);
    assert_int_equal(outputs(f), 0);
    blob_writer_free(u.output.w);
    u.output = a_file(f, "out.jsonl", "{}\n");
    blob_writer_free(u.error.w);
    u.error = a_file(f, "err.jsonl", "{\"a\":1}\n");
    assert_int_equal(batches_cancel(f->c, b.id, &f->mem, &b, &f->err), 0);
    u.from = "in_progress", u.to = "finalizing";
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), ERR_CANCELLED);
    u.from = "cancelling", u.to = "cancelled";
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), 0);
    assert_int_equal(outputs(f), 2);
    assert_int_equal(batches_get(f->c, b.id, &f->mem, &b, &f->err), 0);
    assert_non_null(b.output_file);
    assert_string_not_equal(b.output_file, b.error_file);
    blob_writer_free(u.output.w);
    blob_writer_free(u.error.w);
}

static void a_batch_goes_its_way(void **state) {
    struct fixture *f = *state;
    struct batch b = new_batch(f);
    struct stored_file file;
    struct webhook hook;
    struct outbox_list l;
    bool found = false;
    assert_int_equal(webhooks_add(f->c, "http://x/", "s", &f->mem, &hook, &f->err), 0);
    assert_string_equal(b.status, "validating");
    static const char *const way[] = {"validating", "in_progress", "in_progress", "finalizing",
                                      "completed"};
    for (int i = 0; i + 1 < 5; i++) {
        struct batch_update u = {.from = way[i], .to = way[i + 1], .total = 3, .completed = i};
        if (i == 2) u.output = a_file(f, "out.jsonl", "{}\n");
        assert_int_equal(batches_update(f->c, b.id, &u, &f->err), 0);
        blob_writer_free(u.output.w);
        assert_int_equal(batches_oldest(f->c, way[i + 1], &f->mem, &b, &found, &f->err), 0);
        assert_true(found);
    }
    assert_true(b.in_progress_at && b.finalizing_at && b.completed_at);
    assert_int_equal(b.failed_at, 0);
    assert_int_equal(b.completed, 3);
    assert_int_equal(files_get(f->c, b.output_file, &f->mem, &file, &f->err), 0);
    assert_string_equal(file.filename, "out.jsonl");
    assert_null(b.error_file);
    assert_string_equal(b.metadata, "{\"a\":\"b\"}");
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX, 9, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    assert_non_null(strstr(l.list[0].payload, "batch.completed"));
    assert_int_equal(batches_cancel(f->c, b.id, &f->mem, &b, &f->err), ERR_CONFLICT);
}

static void a_cancelled_batch_stops_its_runner(void **state) {
    struct fixture *f = *state;
    struct batch b = new_batch(f);
    struct batch_update u = {.from = "validating", .to = "in_progress", .total = 2};
    struct batch_list l;
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), 0);
    assert_int_equal(batches_cancel(f->c, b.id, &f->mem, &b, &f->err), 0);
    assert_string_equal(b.status, "cancelling");
    u = (struct batch_update){.from = "in_progress", .to = "finalizing", .total = 2};
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), ERR_CANCELLED);
    u = (struct batch_update){.from = "cancelling", .to = "cancelled", .total = 2, .completed = 1};
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), 0);
    assert_int_equal(batches_list(f->c, &(struct page){.limit = 9}, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    assert_int_equal(batches_get(f->c, b.id, &f->mem, &b, &f->err), 0);
    assert_string_equal(b.status, "cancelled");
    assert_int_equal(batches_get(f->c, "batch_none", &f->mem, &b, &f->err), ERR_NOT_FOUND);
    assert_true(l.list[0].cancelling_at && l.list[0].cancelled_at);
    assert_int_equal(l.list[0].completed, 1);
    u = (struct batch_update){.from = "cancelled", .to = "validating"};
    assert_int_equal(batches_update(f->c, b.id, &u, &f->err), ERR_INTERNAL);
    struct batch none = {.endpoint = "/x", .completion_window = "24h", .input_file = "file-none"};
    assert_int_equal(batches_add(f->c, &none, &f->mem, &b, &f->err), ERR_NOT_FOUND);
}

static void permissions_are_kept(void **state) {
    struct fixture *f = *state;
    static const char *const projects[] = {"proj_a", "proj_b", "proj_c"};
    struct permission_list l;
    assert_int_equal(permissions_add(f->c, "ft:x", projects, 3, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 3);
    struct page page = {.limit = 2};
    assert_int_equal(permissions_list(f->c, "ft:x", NULL, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    assert_true(l.has_more);
    assert_string_equal(l.list[0].project, "proj_c");
    assert_int_equal(permissions_delete(f->c, "ft:y", l.list[0].id, &f->err), ERR_NOT_FOUND);
    assert_int_equal(permissions_delete(f->c, "ft:x", l.list[0].id, &f->err), 0);
    assert_int_equal(permissions_list(f->c, "ft:x", "proj_a", &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
}

UNIT_TESTS(store_uploads, WITH_CATALOG(parts_become_a_file_in_the_order_named),
           WITH_CATALOG(parts_that_do_not_add_up_are_refused),
           WITH_CATALOG(cancelled_and_expired_uploads_leave_nothing),
           WITH_CATALOG(a_batch_goes_its_way), WITH_CATALOG(a_batch_and_its_files_change_together),
           WITH_CATALOG(a_cancelled_batch_stops_its_runner), WITH_CATALOG(permissions_are_kept))
