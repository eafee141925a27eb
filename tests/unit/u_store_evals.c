/* Evals, runs and items in the catalog. */
#include "unit.h"

#include "store/evals.h"
#include "store/outbox.h"
#include "store_fixture.h"

static struct eval one_eval(struct fixture *f, const char *name) {
    struct eval made = {0};
    int rc = evals_add(f->c, &(struct eval){.name = name, .data_source = "{}", .criteria = "[]"},
                       &f->mem, &made, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    return made;
}

static struct eval_run one_run(struct fixture *f, const char *eval) {
    struct eval_run made = {0};
    int rc = eval_runs_add(f->c, &(struct eval_run){.eval = eval, .data_source = "{}"}, &f->mem,
                           &made, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    return made;
}

static int add_item(struct fixture *f, const char *run, int64_t number, const char *status) {
    struct eval_tally tally = {0, "c-1", strcmp(status, "pass") == 0, strcmp(status, "fail") == 0};
    struct eval_usage usage = {"m", 1, 10, 5, 2};
    struct eval_counts counts = {&tally, strcmp(status, "error") != 0, &usage, 1};
    struct eval_output item = {.run = run,
                               .status = status,
                               .item = "{}",
                               .results = "[]",
                               .sample = "{}",
                               .number = number};
    return eval_items_add(f->c, &item, &counts, &f->err);
}

static void evals_are_listed_by_creation_and_by_change(void **state) {
    struct fixture *f = *state;
    struct eval a = one_eval(f, "a"), b = one_eval(f, NULL), got;
    struct eval_list list;
    struct page page = {.limit = 1, .ascending = true};
    assert_string_equal(b.name, b.id);
    assert_int_equal(evals_update(f->c, a.id, "again", "{\"k\":\"v\"}", &f->err), 0);
    assert_int_equal(evals_get(f->c, a.id, &f->mem, &got, &f->err), 0);
    assert_string_equal(got.name, "again");
    assert_int_equal(evals_list(f->c, &page, false, &f->mem, &list, &f->err), 0);
    assert_string_equal(list.list[0].id, a.id);
    assert_true(list.has_more);
    assert_int_equal(evals_list(f->c, &page, true, &f->mem, &list, &f->err), 0);
    assert_string_equal(list.list[0].id, b.id);
    page.after = b.id;
    assert_int_equal(evals_list(f->c, &page, true, &f->mem, &list, &f->err), 0);
    assert_string_equal(list.list[0].id, a.id);
    assert_false(list.has_more);
    got.id = a.id;
    assert_int_equal(evals_add(f->c, &got, &f->mem, &got, &f->err), ERR_CONFLICT);
}

static void counts_follow_the_items(void **state) {
    struct fixture *f = *state;
    struct eval e = one_eval(f, "e"), other = one_eval(f, "o");
    struct eval_run r = one_run(f, e.id);
    struct eval_output_list items;
    bool done[4] = {false};
    assert_int_equal(add_item(f, r.id, 0, "pass"), ERR_CANCELLED); /* it is queued */
    assert_int_equal(eval_runs_update(f->c, r.id, "queued", "in_progress", 4, NULL, &f->err), 0);
    assert_int_equal(add_item(f, r.id, 2, "fail"), 0);
    assert_int_equal(add_item(f, r.id, 0, "pass"), 0);
    assert_int_equal(add_item(f, r.id, 3, "error"), 0);
    assert_int_equal(add_item(f, r.id, 2, "pass"), ERR_CONFLICT);
    assert_int_equal(eval_runs_get(f->c, e.id, r.id, &f->mem, &r, &f->err), 0);
    assert_int_equal(r.total, 4);
    assert_int_equal(r.passed, 1);
    assert_int_equal(r.failed, 1);
    assert_int_equal(r.errored, 1);
    assert_string_equal(r.results, "[{\"testing_criteria\":\"c-1\",\"passed\":1,\"failed\":1}]");
    assert_string_equal(r.usage,
                        "[{\"model_name\":\"m\",\"invocation_count\":3,\"prompt_tokens\":30,"
                        "\"completion_tokens\":15,\"total_tokens\":45,"
                        "\"cached_tokens\":6}]");
    assert_int_equal(eval_items_done(f->c, r.id, done, 4, &f->err), 0);
    assert_true(done[0] && !done[1] && done[2] && done[3]);
    struct page page = {.limit = 2, .ascending = true};
    assert_int_equal(eval_items_list(f->c, r.id, NULL, &page, &f->mem, &items, &f->err), 0);
    assert_int_equal(items.list[0].number, 0); /* of rows, not of arrival */
    assert_int_equal(items.list[1].number, 2);
    page.after = items.list[1].id;
    assert_int_equal(eval_items_list(f->c, r.id, NULL, &page, &f->mem, &items, &f->err), 0);
    assert_int_equal(items.count, 1);
    assert_int_equal(items.list[0].number, 3);
    assert_int_equal(eval_runs_get(f->c, other.id, r.id, &f->mem, &r, &f->err), ERR_NOT_FOUND);
}

static void a_run_ends_once(void **state) {
    struct fixture *f = *state;
    struct webhook hook;
    struct eval e = one_eval(f, "e");
    struct eval_run r = one_run(f, e.id), got;
    bool found = false;
    int rc = webhooks_add(f->c, "http://127.0.0.1:9/", "whsec_eA==", &f->mem, &hook, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    assert_int_equal(eval_runs_cancel(f->c, e.id, r.id, &f->mem, &got, &f->err), 0);
    assert_string_equal(got.status, "canceled");
    assert_int_equal(eval_runs_cancel(f->c, e.id, r.id, &f->mem, &got, &f->err), ERR_CONFLICT);
    assert_int_equal(eval_runs_update(f->c, r.id, "queued", "in_progress", 1, NULL, &f->err),
                     ERR_CANCELLED);
    assert_int_equal(eval_runs_oldest(f->c, "queued", &f->mem, &got, &found, &f->err), 0);
    assert_false(found);
    assert_int_equal(evals_delete(f->c, e.id, &f->err), 0);
    assert_int_equal(eval_runs_get(f->c, e.id, r.id, &f->mem, &got, &f->err), ERR_NOT_FOUND);
}

static void a_run_from_elsewhere_is_kept_whole(void **state) {
    struct fixture *f = *state;
    struct eval e = one_eval(f, "e");
    struct eval_tally tally = {0, "c-1", 7, 2};
    struct eval_counts counts = {&tally, 1, NULL, 0};
    struct eval_run r = {.id = "evalrun_x",
                         .eval = e.id,
                         .status = "completed",
                         .data_source = "{}",
                         .total = 10,
                         .passed = 7,
                         .failed = 2,
                         .errored = 1};
    struct eval_output items[] = {
        {.id = "i1", .status = "pass", .item = "{}", .results = "[]", .sample = "{}", .number = 5},
        {.id = "i2", .status = "fail", .item = "{}", .results = "[]", .sample = "{}", .number = 5}};
    struct eval_run got;
    assert_int_equal(eval_runs_import(f->c, &r, items, 2, &counts, &f->err), ERR_CONFLICT);
    assert_int_equal(eval_runs_get(f->c, e.id, "evalrun_x", &f->mem, &got, &f->err), ERR_NOT_FOUND);
    items[1].number = 6;
    assert_int_equal(eval_runs_import(f->c, &r, items, 2, &counts, &f->err), 0);
    assert_int_equal(eval_runs_get(f->c, e.id, "evalrun_x", &f->mem, &got, &f->err), 0);
    assert_string_equal(got.status, "completed");
    assert_int_equal(got.passed, 7);
    assert_string_equal(got.results, "[{\"testing_criteria\":\"c-1\",\"passed\":7,\"failed\":2}]");
}

UNIT_TESTS(store_evals, WITH_CATALOG(evals_are_listed_by_creation_and_by_change),
           WITH_CATALOG(counts_follow_the_items), WITH_CATALOG(a_run_ends_once),
           WITH_CATALOG(a_run_from_elsewhere_is_kept_whole))
