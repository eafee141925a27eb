/* Versions, promotions and what they leave in the log, whatever happens in between. */
#include "unit.h"

#include "base/json.h"
#include "base/rng.h"
#include "registry/lifecycle.h"
#include "registry/names.h"
#include "store/routes.h"
#include "store/store_int.h"
#include "store/tuned.h"
#include "store_fixture.h"
#include "weights/models.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODELS 5

static const char *const model_names[MODELS] = {
    "ft:small:local::aaaaaaaa", "ft:small:local::bbbbbbbb", "ft:small:local::cccccccc",
    "ft:small:local::dddddddd", "small"};

static void put_file(struct fixture *f, const char *dir, const char *name, struct str text) {
    char *path = path_join(dir, name);
    int rc = dir_make(dir, &f->err);
    if (!rc) rc = file_write_atomic(path, text, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    mem_free(path);
}

static void put_tuned(struct fixture *f, const char *name, int number) {
    char below[64];
    snprintf(below, sizeof below, "models/adapter-%d", number);
    char *dir = catalog_path(f->c, below);
    put_file(f, dir, "adapter_config.json", STR_LIT("{}"));
    put_file(f, dir, "adapter_model.safetensors", str_of(name));
    put_file(f, dir, "job.json", STR_LIT("{\"rank\":16,\"data_sha256\":\"ab\"}"));
    struct tuned_model m = {.name = name, .kind = "tuned", .base = "small", .adapter = below};
    if (tuned_add(f->c, &m, &f->err)) fail_msg("%s", f->err.msg);
    mem_free(dir);
}

static int open_home(void **state) {
    int rc = fixture_open(state);
    struct fixture *f = *state;
    setenv("ATTUNE_HOME", f->home, 1);
    setenv("ATTUNE_SHARE", "/nonexistent", 1);
    if (rc) return rc;
    char *dir = model_home_path("small");
    put_file(f, dir, "config.json",
             STR_LIT("{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
                     "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":8}"));
    mem_free(dir);
    for (int i = 0; i + 1 < MODELS; i++) put_tuned(f, model_names[i], i);
    return 0;
}

static int close_home(void **state) {
    unsetenv("ATTUNE_HOME");
    unsetenv("ATTUNE_SHARE");
    return fixture_close(state);
}
#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, open_home, close_home)

static void promote(struct fixture *f, const char *model) {
    if (lifecycle_promote(f->c, "production", model, &by_test, &f->err)) fail_msg("%s", f->err.msg);
}

static const char *leads_to(struct fixture *f) {
    struct route r;
    return routes_get(f->c, "production", &f->mem, &r, &f->err) == 0 ? r.target : NULL;
}

static const char *state_of(struct fixture *f, const char *model) {
    struct version v;
    if (versions_get(f->c, model, &f->mem, &v, &f->err)) fail_msg("%s", f->err.msg);
    return v.state;
}

static const char *rollback(struct fixture *f) {
    const char *model = NULL;
    if (lifecycle_rollback(f->c, "production", &by_test, &f->mem, &model, &f->err)) return NULL;
    return model;
}

static void states_follow_the_alias(void **state) {
    struct fixture *f = *state;
    promote(f, model_names[0]);
    assert_string_equal(state_of(f, model_names[0]), "production");
    promote(f, model_names[1]);
    assert_string_equal(state_of(f, model_names[0]), "deprecated");
    assert_string_equal(state_of(f, model_names[1]), "production");
    assert_int_equal(names_set_alias(f->c, "canary", model_names[1], &by_test, &f->err), 0);
    promote(f, "small");
    assert_string_equal(state_of(f, model_names[1]), "production"); /* canary leads there */
    struct err *err = &f->err;
    assert_int_equal(versions_move(f->c, model_names[0], "training", &by_test, err), ERR_CONFLICT);
    assert_int_equal(versions_move(f->c, model_names[0], "archived", &by_test, err), 0);
    assert_string_equal(state_of(f, model_names[0]), "archived");
}

static void the_record_says_what_it_was_made_of(void **state) {
    struct fixture *f = *state;
    struct version v;
    json_t *record = NULL;
    assert_int_equal(lifecycle_version(f->c, model_names[0], &by_test, &f->mem, &v, &f->err), 0);
    assert_int_equal(json_read(str_of(v.record), "record", &record, &f->err), 0);
    assert_string_equal(json_string_value(json_object_get(record, "base")), "small");
    json_t *recipe = json_object_get(record, "recipe");
    assert_int_equal(json_integer_value(json_object_get(recipe, "rank")), 16);
    json_decref(record);
    assert_int_equal(lifecycle_version(f->c, "small", &by_test, &f->mem, &v, &f->err), 0);
    assert_null(v.name);
    assert_int_equal(lifecycle_version(f->c, "none", &by_test, &f->mem, &v, &f->err),
                     ERR_NOT_FOUND);
}

static void rollbacks_undo_promotions_in_turn(void **state) {
    struct fixture *f = *state;
    assert_null(rollback(f));
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    promote(f, model_names[0]);
    assert_null(rollback(f));
    promote(f, model_names[1]);
    promote(f, model_names[1]); /* no step of its own */
    promote(f, model_names[2]);
    assert_string_equal(rollback(f), model_names[1]);
    assert_string_equal(state_of(f, model_names[2]), "deprecated");
    assert_string_equal(rollback(f), model_names[0]);
    assert_null(rollback(f));
    promote(f, model_names[3]);
    assert_string_equal(rollback(f), model_names[0]);
    assert_string_equal(leads_to(f), model_names[0]);
}

static void changed_files_are_not_promoted(void **state) {
    struct fixture *f = *state;
    promote(f, model_names[0]);
    promote(f, model_names[1]);
    char *dir = catalog_path(f->c, "models/adapter-0");
    put_file(f, dir, "adapter_model.safetensors", STR_LIT("other bytes"));
    mem_free(dir);
    assert_null(rollback(f));
    assert_int_equal(f->err.code, ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "adapter_model.safetensors"));
    assert_string_equal(leads_to(f), model_names[1]);
}

/* --- history --- */

#define PROMOTIONS 1000

struct done {
    int64_t at_ms;
    int model;
};

/* Promotes at random and says on the pipe what is done; killed somewhere. */
static void promote_until_killed(struct fixture *f, uint64_t seed, int out) {
    struct err err;
    struct catalog *c = NULL;
    struct rng rng;
    rng_init(&rng, seed);
    if (catalog_open(f->home, &c, &err)) _exit(1);
    for (;;) {
        struct done d = {.model = (int)rng_below(&rng, MODELS)};
        if (lifecycle_promote(c, "production", model_names[d.model], &by_test, &err)) _exit(2);
        if (write(out, &d.model, sizeof d.model) != sizeof d.model) _exit(3);
    }
}

/* The events of the log are the acknowledged promotions, in order, with at most one more that was
 * done but not yet said when the process was killed. */
static void compare_log(struct fixture *f, const int *said, size_t count, int64_t *after) {
    struct audit_list l;
    struct arena mem;
    size_t at = 0;
    arena_init(&mem, 64 << 20);
    if (audit_events(f->c, "production", *after, 1 << 20, &mem, &l, &f->err))
        fail_msg("%s", f->err.msg);
    for (size_t i = 0; i < l.count; i++, at++) {
        *after = l.list[i].seq;
        if (at < count) assert_non_null(strstr(l.list[i].data, model_names[said[at]]));
    }
    assert_true(at == count || at == count + 1);
    arena_release(&mem);
}

static void history_is_right_after_kills(void **state) {
    struct fixture *f = *state;
    uint64_t seed = 20;
    struct rng rng;
    static int said[PROMOTIONS * 2];
    int64_t after = 0, all = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    while (all < PROMOTIONS) {
        int ends[2], want = 1 + (int)rng_below(&rng, 150);
        size_t count = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) promote_until_killed(f, seed + (uint64_t)all, ends[1]);
        close(ends[1]);
        while ((int)count < want && read(ends[0], &said[count], sizeof *said) == sizeof *said)
            count++;
        kill(child, SIGKILL);
        while (count < PROMOTIONS && read(ends[0], &said[count], sizeof *said) == sizeof *said)
            count++;
        close(ends[0]);
        waitpid(child, NULL, 0);
        assert_true(count > 0);
        compare_log(f, said, count, &after);
        all += (int64_t)count;
    }
    int64_t events = 0;
    if (audit_verify(f->c, &events, &f->err)) fail_msg("%s", f->err.msg);
    assert_true(events >= all);
}

static void the_past_can_be_asked(void **state) {
    struct fixture *f = *state;
    struct audit_list l;
    const char *model = NULL;
    promote(f, model_names[0]);
    assert_int_equal(audit_events(f->c, "production", 0, 10, &f->mem, &l, &f->err), 0);
    int64_t first = l.list[0].at_ms;
    assert_int_equal(lifecycle_at(f->c, "production", first - 1, &f->mem, &model, &f->err), 0);
    assert_null(model);
    assert_int_equal(lifecycle_at(f->c, "production", first, &f->mem, &model, &f->err), 0);
    assert_string_equal(model, model_names[0]);
    assert_int_equal(routes_delete(f->c, "production", &by_test, &f->err), 0);
    assert_int_equal(lifecycle_at(f->c, "production", first + 100000, &f->mem, &model, &f->err), 0);
    assert_null(model);
}

/* --- tampering --- */

static void tamper(struct fixture *f, const char *sql) {
    assert_int_equal(store_write_begin(f->c, &f->err), 0);
    int rc = db_run(&f->c->writer, sql, NULL, 0, &f->err);
    if (store_write_end(f->c, rc, &f->err)) fail_msg("%s", f->err.msg);
}

static int verified(struct fixture *f) {
    int64_t count;
    return audit_verify(f->c, &count, &f->err);
}

static void a_tampered_log_is_detected(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++) promote(f, model_names[i]);
    assert_int_equal(verified(f), 0);
    tamper(f, "UPDATE audit SET actor = 'somebody' WHERE seq = 3");
    assert_int_equal(verified(f), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "event 3"));
    tamper(f, "UPDATE audit SET actor = 'test' WHERE seq = 3");
    assert_int_equal(verified(f), 0);
    tamper(f, "UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 1");
    assert_int_equal(verified(f), ERR_CORRUPT);
    tamper(f, "UPDATE audit SET at_ms = at_ms - 1 WHERE seq = 1");
    tamper(f, "UPDATE route SET target = 'small'");
    assert_int_equal(verified(f), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "production"));
}

static void a_shortened_log_is_detected(void **state) {
    struct fixture *f = *state;
    promote(f, model_names[0]);
    promote(f, model_names[1]);
    tamper(f, "DELETE FROM audit WHERE seq = 2");
    assert_int_equal(verified(f), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "missing"));
    tamper(f, "DELETE FROM audit WHERE seq > 1");
    assert_int_equal(verified(f), ERR_CORRUPT);
}

UNIT_TESTS(registry_lifecycle, WITH_HOME(states_follow_the_alias),
           WITH_HOME(the_record_says_what_it_was_made_of),
           WITH_HOME(rollbacks_undo_promotions_in_turn), WITH_HOME(changed_files_are_not_promoted),
           WITH_HOME(history_is_right_after_kills), WITH_HOME(the_past_can_be_asked),
           WITH_HOME(a_tampered_log_is_detected), WITH_HOME(a_shortened_log_is_detected))
