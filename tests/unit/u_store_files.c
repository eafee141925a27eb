/* Files and their bytes, keys, aliases, stored completions. */
#include "unit.h"

#include "base/clock.h"
#include "store/completions.h"
#include "store/keys.h"
#include "store/routes.h"
#include "store/store_int.h"
#include "store_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool blob_is_there(struct fixture *f, const char *sha256) {
    char *path = blob_path(f->c, sha256);
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

static void bytes_come_back_and_are_stored_once(void **state) {
    struct fixture *f = *state;
    struct stored_file a = fixture_file(f, "a.txt", "user_data", STR_LIT("same\0bytes"));
    struct stored_file b = fixture_file(f, "b.txt", "user_data", STR_LIT("same\0bytes"));
    struct stored_file got;
    struct file_map map;
    assert_string_equal(a.blob, b.blob);
    assert_string_not_equal(a.id, b.id);
    assert_int_equal(files_get(f->c, a.id, &f->mem, &got, &f->err), 0);
    assert_string_equal(got.filename, "a.txt");
    assert_string_equal(got.status, "processed");
    assert_int_equal(got.bytes, 10);
    assert_int_equal(blob_map(f->c, got.blob, &map, &f->err), 0);
    assert_int_equal(map.n, 10);
    assert_memory_equal(map.p, "same\0bytes", 10);
    file_map_close(&map);
    assert_int_equal(files_delete(f->c, a.id, &f->err), 0);
    assert_true(blob_is_there(f, b.blob));
    assert_int_equal(files_delete(f->c, a.id, &f->err), ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.msg, a.id));
    assert_int_equal(files_delete(f->c, b.id, &f->err), 0);
    assert_false(blob_is_there(f, b.blob));
}

static void an_empty_file_is_a_file(void **state) {
    struct fixture *f = *state;
    struct stored_file a = fixture_file(f, "e", "user_data", STR_LIT(""));
    struct file_map map;
    assert_int_equal(a.bytes, 0);
    assert_int_equal(blob_map(f->c, a.blob, &map, &f->err), 0);
    assert_int_equal(map.n, 0);
    file_map_close(&map);
}

static void a_failing_disk_leaves_no_row(void **state) {
    struct fixture *f = *state;
    struct blob_writer *w = NULL;
    struct stored_file file;
    struct file_list l;
    assert_int_equal(blob_writer_open(f->c, &w, &f->err), 0);
    assert_int_equal(blob_writer_add(w, "x", 1, &f->err), 0);
    assert_int_equal(unlink(blob_writer_path(w)), 0); /* as if the disk had lost it */
    assert_int_not_equal(files_add(f->c, &(struct stored_file){.filename = "a", .purpose = "p"}, w,
                                   &f->mem, &file, &f->err),
                         0);
    blob_writer_free(w);
    assert_int_equal(files_list(f->c, NULL, &(struct page){.limit = 10}, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 0);
}

static void pages_follow_the_order_of_creation(void **state) {
    struct fixture *f = *state;
    struct stored_file made[7];
    struct file_list l;
    for (int i = 0; i < 7; i++) {
        char text[] = {(char)('a' + i), '\0'};
        made[i] = fixture_file(f, text, i % 2 ? "odd" : "even", str_of(text));
    }
    struct page page = {.limit = 3};
    assert_int_equal(files_list(f->c, NULL, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 3);
    assert_true(l.has_more);
    assert_string_equal(l.list[0].id, made[6].id);
    fixture_file(f, "newer", "even", STR_LIT("n")); /* pages do not move */
    page.after = l.list[2].id;
    assert_int_equal(files_list(f->c, NULL, &page, &f->mem, &l, &f->err), 0);
    assert_string_equal(l.list[0].id, made[3].id);
    page = (struct page){.after = made[2].id, .limit = 10, .ascending = true};
    assert_int_equal(files_list(f->c, "odd", &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2); /* made[2] is even and still says where */
    assert_false(l.has_more);
    assert_string_equal(l.list[0].id, made[3].id);
    page.after = "file-none";
    assert_int_equal(files_list(f->c, NULL, &page, &f->mem, &l, &f->err), ERR_NOT_FOUND);
    page = (struct page){.limit = 0};
    assert_int_equal(files_list(f->c, NULL, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 0);
    assert_true(l.has_more);
}

static void a_page_stays_within_its_arena(void **state) {
    struct fixture *f = *state;
    struct file_list l;
    struct arena small;
    for (int i = 0; i < 20; i++) fixture_file(f, "name", "p", STR_LIT("x"));
    arena_init(&small, 1024);
    assert_int_equal(files_list(f->c, NULL, &(struct page){.limit = 20}, &small, &l, &f->err),
                     ERR_LIMIT);
    arena_release(&small);
}

static void expired_files_go(void **state) {
    struct fixture *f = *state;
    struct blob_writer *w = NULL;
    struct stored_file file, got;
    struct file_list l;
    assert_int_equal(blob_writer_open(f->c, &w, &f->err), 0);
    assert_int_equal(blob_writer_add(w, "x", 1, &f->err), 0);
    struct stored_file new = {.filename = "a", .purpose = "batch", .expires_at = clock_unix() - 1};
    assert_int_equal(files_add(f->c, &new, w, &f->mem, &file, &f->err), 0);
    blob_writer_free(w);
    struct stored_file stays = fixture_file(f, "b", "batch", STR_LIT("y"));
    assert_int_equal(files_get(f->c, file.id, &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_int_equal(files_list(f->c, NULL, &(struct page){.limit = 9}, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    assert_true(blob_is_there(f, file.blob));
    assert_int_equal(files_expire(f->c, clock_unix(), &f->err), 0);
    assert_false(blob_is_there(f, file.blob));
    assert_int_equal(files_get(f->c, stays.id, &f->mem, &got, &f->err), 0);
}

static void the_sweep_knows_the_living(void **state) {
    struct fixture *f = *state;
    struct stored_file kept = fixture_file(f, "a", "p", STR_LIT("kept"));
    struct blob_writer *w = NULL;
    struct err *err = &f->err;
    char *orphan = blob_path(f->c, kept.blob);
    orphan[strlen(orphan) - 1] = orphan[strlen(orphan) - 1] == '0' ? '1' : '0';
    assert_int_equal(file_write_atomic(orphan, STR_LIT("x"), err), 0);
    char *dead = path_join(f->home, "blobs/tmp/dead.tmp-1");
    assert_int_equal(file_write_atomic(dead, STR_LIT("x"), err), 0);
    assert_int_equal(blob_writer_open(f->c, &w, err), 0);
    assert_int_equal(blobs_sweep(f->c, err), 0);
    assert_false(file_exists(orphan));
    assert_false(file_exists(dead));
    assert_true(file_exists(blob_writer_path(w)));
    assert_true(blob_is_there(f, kept.blob));
    blob_writer_free(w);
    mem_free(dead);
    mem_free(orphan);
}

/* --- keys --- */

static void keys_are_checked_by_their_hash(void **state) {
    struct fixture *f = *state;
    char secret[KEY_SIZE];
    struct api_key key, got;
    bool required = true;
    assert_int_equal(keys_required(f->c, &required, &f->err), 0);
    assert_false(required);
    assert_int_equal(keys_add(f->c, &(struct api_key){.name = "ci", .scopes = KEY_INFERENCE},
                              secret, &f->mem, &key, &f->err),
                     0);
    assert_int_equal(strncmp(secret, "sk-", 3), 0);
    assert_int_equal(strlen(secret), 46);
    assert_int_equal(keys_required(f->c, &required, &f->err), 0);
    assert_true(required);
    assert_int_equal(keys_check(f->c, str_of(secret), &f->mem, &got, &f->err), 0);
    assert_string_equal(got.id, key.id);
    assert_int_equal(got.scopes, KEY_INFERENCE);
    assert_int_equal(keys_check(f->c, str_of(secret), &f->mem, &got, &f->err), 0);
    assert_true(got.last_used_at > 0);
    secret[10] = secret[10] == 'a' ? 'b' : 'a';
    assert_int_equal(keys_check(f->c, str_of(secret), &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_null(strstr(f->err.msg, secret));
    assert_int_equal(keys_check(f->c, STR_LIT(""), &f->mem, &got, &f->err), ERR_NOT_FOUND);
}

static void the_key_itself_is_nowhere_on_disk(void **state) {
    struct fixture *f = *state;
    static const char *const names[] = {"catalog.db", "catalog.db-wal"};
    char secret[KEY_SIZE];
    struct api_key key;
    struct stat st;
    assert_int_equal(
        keys_add(f->c, &(struct api_key){.scopes = KEY_ALL}, secret, &f->mem, &key, &f->err), 0);
    for (int i = 0; i < 2; i++) {
        char *path = path_join(f->home, names[i]);
        struct buf b;
        buf_init(&b, 64 << 20);
        assert_int_equal(file_read(path, &b, &f->err), 0);
        assert_null(memmem(b.p, b.n, secret, strlen(secret)));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
        buf_release(&b);
        mem_free(path);
    }
}

static void revoked_and_expired_keys_are_none(void **state) {
    struct fixture *f = *state;
    char a[KEY_SIZE], b[KEY_SIZE];
    struct api_key key, got;
    struct key_list l;
    bool required = false;
    struct api_key old = {.scopes = KEY_ALL, .expires_at = clock_unix() - 1};
    assert_int_equal(keys_add(f->c, &old, a, &f->mem, &key, &f->err), 0);
    assert_int_equal(keys_check(f->c, str_of(a), &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_int_equal(
        keys_add(f->c, &(struct api_key){.scopes = KEY_ALL}, b, &f->mem, &key, &f->err), 0);
    assert_int_equal(keys_revoke(f->c, key.id, &f->err), 0);
    assert_int_equal(keys_revoke(f->c, "key_none", &f->err), ERR_NOT_FOUND);
    assert_int_equal(keys_check(f->c, str_of(b), &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_int_equal(keys_required(f->c, &required, &f->err), 0);
    assert_true(required); /* the door does not open again */
    assert_int_equal(keys_list(f->c, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    assert_true(l.list[1].revoked_at > 0);
}

/* --- aliases, completions --- */

static void aliases_are_set_and_moved(void **state) {
    struct fixture *f = *state;
    struct route r;
    struct route_list l;
    assert_int_equal(routes_set(f->c, "production", "starter", &by_test, &f->err), 0);
    assert_int_equal(routes_set(f->c, "production", "ft:a:b::c", &by_test, &f->err), 0);
    assert_int_equal(routes_get(f->c, "production", &f->mem, &r, &f->err), 0);
    assert_string_equal(r.target, "ft:a:b::c");
    assert_int_equal(routes_list(f->c, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    assert_int_equal(routes_delete(f->c, "production", &by_test, &f->err), 0);
    assert_int_equal(routes_delete(f->c, "production", &by_test, &f->err), ERR_NOT_FOUND);
}

static void put_completion(struct fixture *f, const char *id, const char *model,
                           const char *metadata) {
    struct stored_completion s = {
        .id = id, .model = model, .request = "{}", .response = "{}", .metadata = metadata};
    assert_int_equal(completions_add(f->c, &s, &f->err), 0);
}

static void completions_are_filtered(void **state) {
    struct fixture *f = *state;
    struct completion_list l;
    put_completion(f, "chatcmpl-1", "a", "{\"k\":\"v\",\"quote\\\"d\":\"\"}");
    put_completion(f, "chatcmpl-2", "b", "{\"k\":\"v\"}");
    put_completion(f, "chatcmpl-3", "a", NULL);
    const struct {
        struct completion_filter filter;
        size_t want;
    } cases[] = {
        {{0}, 3},
        {{.model = "a"}, 2},
        {{.metadata = (struct meta_filter[]){{STR_LIT("k"), STR_LIT("v")}}, .metadata_count = 1},
         2},
        {{.metadata = (struct meta_filter[]){{STR_LIT("k"), STR_LIT("w")}}, .metadata_count = 1},
         0},
        {{.metadata = (struct meta_filter[]){{STR_LIT("quote\"d"), STR_LIT("")}},
          .metadata_count = 1},
         1},
        {{.model = "a",
          .metadata = (struct meta_filter[]){{STR_LIT("k"), STR_LIT("v")},
                                             {STR_LIT("quote\"d"), STR_LIT("")}},
          .metadata_count = 2},
         1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct page page = {.limit = 20, .ascending = true};
        assert_int_equal(completions_list(f->c, &cases[i].filter, &page, &f->mem, &l, &f->err), 0);
        assert_int_equal(l.count, cases[i].want);
        if (l.count) assert_string_equal(l.list[0].id, "chatcmpl-1");
    }
}

static void completions_change_and_go(void **state) {
    struct fixture *f = *state;
    struct stored_completion s;
    put_completion(f, "chatcmpl-1", "a", "{\"k\":\"v\"}");
    struct stored_completion again = {
        .id = "chatcmpl-1", .model = "a", .request = "{}", .response = "{}"};
    assert_int_equal(completions_add(f->c, &again, &f->err), ERR_CONFLICT);
    assert_int_equal(completions_set_metadata(f->c, "chatcmpl-1", NULL, &f->err), 0);
    assert_int_equal(completions_get(f->c, "chatcmpl-1", &f->mem, &s, &f->err), 0);
    assert_null(s.metadata);
    assert_int_equal(completions_set_metadata(f->c, "x", NULL, &f->err), ERR_NOT_FOUND);
    assert_int_equal(completions_delete(f->c, "chatcmpl-1", &f->err), 0);
    assert_int_equal(completions_get(f->c, "chatcmpl-1", &f->mem, &s, &f->err), ERR_NOT_FOUND);
}

static void what_people_say_stays_with_the_answer(void **state) {
    struct fixture *f = *state;
    struct feedback made;
    struct feedback_list l;
    struct feedback bad = {.completion = "chatcmpl-1", .score = -1, .has_score = true};
    struct feedback mended = {.completion = "chatcmpl-1", .correction = "so", .comment = "why"};
    assert_int_equal(feedback_add(f->c, &bad, &f->mem, &made, &f->err), ERR_NOT_FOUND);
    put_completion(f, "chatcmpl-1", "a", NULL);
    assert_int_equal(feedback_add(f->c, &bad, &f->mem, &made, &f->err), 0);
    assert_true(made.has_score && made.score == -1);
    assert_null(made.correction);
    assert_int_equal(feedback_add(f->c, &mended, &f->mem, &made, &f->err), 0);
    assert_false(made.has_score);
    assert_int_equal(feedback_list(f->c, "chatcmpl-1", &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.list[1].correction, "so");
    assert_string_equal(l.list[1].comment, "why");
    assert_int_equal(completions_delete(f->c, "chatcmpl-1", &f->err), 0);
    assert_int_equal(feedback_list(f->c, "chatcmpl-1", &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 0);
}

UNIT_TESTS(store_files, WITH_CATALOG(what_people_say_stays_with_the_answer),
           WITH_CATALOG(bytes_come_back_and_are_stored_once), WITH_CATALOG(an_empty_file_is_a_file),
           WITH_CATALOG(a_failing_disk_leaves_no_row),
           WITH_CATALOG(pages_follow_the_order_of_creation),
           WITH_CATALOG(a_page_stays_within_its_arena), WITH_CATALOG(expired_files_go),
           WITH_CATALOG(the_sweep_knows_the_living), WITH_CATALOG(keys_are_checked_by_their_hash),
           WITH_CATALOG(the_key_itself_is_nowhere_on_disk),
           WITH_CATALOG(revoked_and_expired_keys_are_none), WITH_CATALOG(aliases_are_set_and_moved),
           WITH_CATALOG(completions_are_filtered), WITH_CATALOG(completions_change_and_go))
