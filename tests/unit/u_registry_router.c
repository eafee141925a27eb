#include "unit.h"

#include "registry/router.h"
#include "store/routes.h"
#include "store_fixture.h"

#include <math.h>

#define USERS 20000

static uint64_t unit_of(int user, const char *salt) {
    char name[20];
    bool sticks;
    snprintf(name, sizeof name, "user-%d", user);
    struct router_who who = {.user = str_of(name), .key = "key_a", .request = "req_1"};
    uint64_t unit = router_unit(salt, ROUTER_KEY, &who, &sticks);
    assert_true(sticks);
    return unit;
}

/* within five standard errors: one test in a million fails by chance, and the salts are fixed */
static void shares_are_those_asked_for(void **state) {
    (void)state;
    const double shares[] = {0.01, 0.05, 0.25, 0.5};
    for (size_t k = 0; k < 4; k++) {
        int n = 0;
        for (int i = 0; i < USERS; i++) n += router_picks(unit_of(i, "a"), shares[k]);
        double mean = USERS * shares[k];
        if (fabs(n - mean) > 5 * sqrt(mean * (1 - shares[k])))
            fail_msg("%d of %d at %g", n, USERS, shares[k]);
    }
    assert_false(router_picks(0, 0));
    assert_true(router_picks(UINT64_MAX, 1));
}

static void a_larger_share_moves_to_the_canary_only(void **state) {
    (void)state;
    int moved = 0, elsewhere = 0;
    for (int i = 0; i < USERS; i++) {
        uint64_t u = unit_of(i, "a");
        bool before = router_picks(u, 0.05), after = router_picks(u, 0.25);
        if (before && !after) fail_msg("user %d went back", i);
        moved += after && !before;
        elsewhere += before && router_picks(unit_of(i, "b"), 0.05);
    }
    assert_true(fabs(moved - 0.2 * USERS) < 5 * sqrt(USERS * 0.16));
    assert_true(elsewhere < 100); /* another salt is another deal: 0.05² of 20,000 is 50 */
}

static void who_asks_decides_what_sticks(void **state) {
    (void)state;
    bool s;
    struct router_who user = {STR_LIT("x"), "key_a", "req_1"}, key = {{0}, "key_a", "req_1"};
    struct router_who other = {STR_LIT("x"), "key_b", "req_2"}, nobody = {{0}, "", "req_1"};
    struct router_who again = {{0}, "key_a", "req_2"};
    assert_int_equal(router_unit("s", ROUTER_KEY, &user, &s),
                     router_unit("s", ROUTER_KEY, &other, &s));
    assert_int_equal(router_unit("s", ROUTER_KEY, &key, &s),
                     router_unit("s", ROUTER_KEY, &again, &s));
    assert_true(s);
    assert_int_not_equal(router_unit("s", ROUTER_USER, &key, &s),
                         router_unit("s", ROUTER_USER, &again, &s));
    assert_false(s);
    router_unit("s", ROUTER_NONE, &user, &s);
    assert_false(s);
    router_unit("s", ROUTER_KEY, &nobody, &s);
    assert_false(s);
}

/* two names that lead to the starter, so that the sides can be told apart by their alias chain */
static void a_split_alias_is_split_and_its_models_are_not(void **state) {
    struct fixture *f = *state;
    struct routed r;
    char id[ID_SIZE];
    struct router_who who = {.request = "req_1"};
    assert_int_equal(names_set_alias(f->c, "production", "starter", &by_test, &f->err), 0);
    assert_int_equal(names_set_alias(f->c, "latest", "production", &by_test, &f->err), 0);
    assert_int_equal(router_resolve(f->c, "latest", &who, &f->mem, &r, &f->err), 0);
    assert_null(r.run);
    assert_string_equal(r.alias, "latest");
    struct canary_row row = {.alias = "production",
                             .baseline = "starter",
                             .candidate = "starter",
                             .plan = "{}",
                             .reached = "{}"};
    struct split s = {.salt = "s", .sticky = "none", .share = 0.999999999};
    assert_int_equal(canaries_start(f->c, &row, &s, &by_test, id, &f->err), 0);
    assert_int_equal(canaries_start(f->c, &row, &s, &by_test, id, &f->err), ERR_CONFLICT);
    assert_int_equal(router_resolve(f->c, "latest", &who, &f->mem, &r, &f->err), 0);
    assert_string_equal(r.alias, "production");
    assert_true(r.canary);
    assert_int_equal(router_resolve(f->c, "starter", &who, &f->mem, &r, &f->err), 0);
    assert_null(r.run);
    assert_null(r.alias);
    /* moving the alias ends it */
    assert_int_equal(routes_set(f->c, "production", "starter", &by_test, &f->err), 0);
    assert_int_equal(router_resolve(f->c, "production", &who, &f->mem, &r, &f->err), 0);
    assert_null(r.run);
    assert_int_equal(canaries_last(f->c, "production", &f->mem, &row, &f->err), 0);
    assert_string_equal(row.state, "stopped");
    int64_t events;
    assert_int_equal(audit_verify(f->c, &events, &f->err), 0);
}

UNIT_TESTS(registry_router, cmocka_unit_test(shares_are_those_asked_for),
           cmocka_unit_test(a_larger_share_moves_to_the_canary_only),
           cmocka_unit_test(who_asks_decides_what_sticks),
           WITH_CATALOG(a_split_alias_is_split_and_its_models_are_not))
