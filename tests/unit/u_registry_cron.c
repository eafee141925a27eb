/* Cron expressions over the changes of a clock. */
#include "unit.h"

#include "registry/cron.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct cron parsed(const char *text) {
    struct cron c;
    struct err err;
    if (cron_parse(str_of(text), &c, &err)) fail_msg("%s: %s", text, err.msg);
    return c;
}

static void zone(const char *name) {
    setenv("TZ", name, 1);
    tzset();
}

/* a time zone of the test's own, so that no zone files are needed: the rules of central Europe */
#define EUROPE "CET-1CEST,M3.5.0,M10.5.0/3"

static int64_t utc(int year, int month, int day, int hour, int minute) {
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute};
    return (int64_t)timegm(&tm);
}

static void expect(const char *text, int64_t after, int64_t next) {
    struct cron c = parsed(text);
    int64_t got = cron_next(&c, after);
    if (got != next)
        fail_msg("%s after %lld: %lld, not %lld", text, (long long)after, (long long)got,
                 (long long)next);
}

static void the_next_time_is_found(void **state) {
    (void)state;
    int64_t now = utc(2026, 11, 21, 18, 10); /* a Saturday */
    zone("UTC0");
    expect("* * * * *", now, now + 60);
    expect("* * * * *", now + 59, now + 60);
    expect("30 3 * * *", now, utc(2026, 11, 22, 3, 30));
    expect("30 3 * * 1-5", now, utc(2026, 11, 23, 3, 30));
    expect("30 3 * * mon,WED", now, utc(2026, 11, 23, 3, 30));
    expect("*/20 8-18/2 * * *", now, utc(2026, 11, 21, 18, 20));
    expect("5/20 * * * *", now, utc(2026, 11, 21, 18, 25));
    expect("0 0 1 jan *", now, utc(2027, 1, 1, 0, 0));
    expect("0 0 13 * 5", now, utc(2026, 11, 27, 0, 0)); /* the 13th or a Friday */
    expect("0 0 * * 7", now, utc(2026, 11, 22, 0, 0));
    expect("0 12 29 2 *", now, utc(2028, 2, 29, 12, 0));
    expect("@hourly", now, utc(2026, 11, 21, 19, 0));
    expect("@yearly", now, utc(2027, 1, 1, 0, 0));
    expect("0 0 30 2 *", now, -1);
}

static void skipped_times_come_at_the_end_of_the_gap(void **state) {
    (void)state;
    zone(EUROPE); /* 2026-03-29 02:00 CET becomes 03:00 CEST = 01:00 UTC */
    expect("30 2 * * *", utc(2026, 3, 28, 12, 0), utc(2026, 3, 29, 1, 0));
    expect("30 2 * * *", utc(2026, 3, 29, 1, 0), utc(2026, 3, 30, 0, 30));
    expect("*/30 * * * *", utc(2026, 3, 29, 0, 30), utc(2026, 3, 29, 1, 0));
    zone("UTC0");
}

static void repeated_times_come_once(void **state) {
    (void)state;
    zone(EUROPE); /* 2026-10-25 03:00 CEST becomes 02:00 CET = 01:00 UTC */
    expect("30 2 * * *", utc(2026, 10, 24, 12, 0), utc(2026, 10, 25, 0, 30));
    expect("30 2 * * *", utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30));
    expect("30 * * * *", utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30));
    zone("UTC0");
}

static void bad_expressions_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "five fields"},           {"* * * *", "this one 4"},     {"60 * * * *", "minute"},
        {"* 24 * * *", "hour"},        {"* * 0 * *", "day of month"}, {"* * * foo *", "month"},
        {"* * * * 8", "week"},         {"5-1 * * * *", "minute"},     {"*/0 * * * *", "minute"},
        {"1,,2 * * * *", "minute"},    {"1- * * * *", "minute"},      {"a * * * *", "minute"},
        {"* * * * * *", "this one 6"}, {"999999 * * * *", "minute"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cron c;
        struct err err;
        assert_int_equal(cron_parse(str_of(cases[i].text), &c, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].says)) fail_msg("%s: %s", cases[i].text, err.msg);
    }
}

UNIT_TESTS(registry_cron, cmocka_unit_test(the_next_time_is_found),
           cmocka_unit_test(skipped_times_come_at_the_end_of_the_gap),
           cmocka_unit_test(repeated_times_come_once), cmocka_unit_test(bad_expressions_are_named))
