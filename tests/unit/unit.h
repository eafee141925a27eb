/* The unit runner: each tests/unit/u_<module>*.c registers its tests with UNIT_TESTS; u_main.c runs
 * all, or those whose name contains its argument. Tests print their seed when they fail. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void unit_add(const char *group, const struct CMUnitTest *tests, size_t count);

/* UNIT_TESTS(base_buf, cmocka_unit_test(grows), cmocka_unit_test(refuses_more_than_max)) */
#define UNIT_TESTS(group, ...)                                                                     \
    __attribute__((constructor)) static void register_##group(void) {                              \
        static const struct CMUnitTest tests[] = {__VA_ARGS__};                                    \
        unit_add(#group, tests, sizeof tests / sizeof *tests);                                     \
    }

/* The seed of this run: $UNIT_SEED or fixed. */
uint64_t unit_seed(void);
/* A fresh directory, removed when the program ends. */
const char *unit_dir(void);

/* Sanitizers take memory of their own: what a process measures of itself says nothing then. */
#if defined(__has_feature)
#define UNIT_FEATURE(x) __has_feature(x)
#else
#define UNIT_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    UNIT_FEATURE(address_sanitizer) || UNIT_FEATURE(thread_sanitizer)
#define UNIT_MEASURES_MEMORY 0
#else
#define UNIT_MEASURES_MEMORY 1
#endif

#endif
