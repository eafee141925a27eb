#include "registry/cron.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MINUTE 60
#define HOUR 3600
#define DAY 86400
#define HORIZON_DAYS (8 * 366)

/* --- parsing --- */

struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min, min + 1, ...; NULL: numbers only */
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
enum { MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS, FIELDS };
static const struct field fields[FIELDS] = {{"minute", 0, 59, NULL},
                                            {"hour", 0, 23, NULL},
                                            {"day of month", 1, 31, NULL},
                                            {"month", 1, 12, months},
                                            {"day of week", 0, 7, weekdays}};

static int bad(const struct field *f, struct str text, struct err *err) {
    return err_set(err, ERR_INVALID,
                   "the %s of a cron expression is %d to %d, \"*\", a range, a list or a step, not "
                   "\"%.*s\"; for example \"30 3 * * 1-5\"",
                   f->name, f->min, f->max, (int)(text.n < 40 ? text.n : 40), text.p);
}

/* A number or a name at the beginning of *s, which moves behind it. */
static bool take_value(const struct field *f, struct str *s, int *ret) {
    int v = 0;
    size_t n = 0;
    while (n < s->n && n < 3 && s->p[n] >= '0' && s->p[n] <= '9') v = 10 * v + (s->p[n++] - '0');
    for (int i = 0; !n && f->names && f->names[i]; i++)
        if (s->n >= 3 && strncasecmp(s->p, f->names[i], 3) == 0) {
            v = f->min + i;
            n = 3;
        }
    *s = str_from(*s, n);
    *ret = v;
    return n > 0 && v >= f->min && v <= f->max;
}

static bool take_char(struct str *s, char c) {
    if (!s->n || *s->p != c) return false;
    *s = str_from(*s, 1);
    return true;
}

/* One part of a list: "*", "5", "1-5", any of them with "/2". */
static bool take_part(const struct field *f, struct str *s, uint64_t *bits) {
    int from = f->min, to = f->max, step = 1;
    static const struct field steps = {"step", 1, 59, NULL};
    if (!take_char(s, '*')) {
        if (!take_value(f, s, &from)) return false;
        to = from;
        if (take_char(s, '-') && !take_value(f, s, &to)) return false;
        if (s->n && *s->p == '/' && to == from) to = f->max;
    }
    if (take_char(s, '/') && !take_value(&steps, s, &step)) return false;
    if (from > to) return false;
    for (int v = from; v <= to; v += step) *bits |= (uint64_t)1 << v;
    return true;
}

static int take_field(const struct field *f, struct str text, uint64_t *bits, struct err *err) {
    struct str s = text;
    *bits = 0;
    do
        if (!take_part(f, &s, bits)) return bad(f, text, err);
    while (take_char(&s, ','));
    return s.n ? bad(f, text, err) : 0;
}

static struct str shorthand(struct str text) {
    static const struct {
        const char *name, *means;
    } list[] = {{"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
                {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
                {"@annually", "0 0 1 1 *"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (str_is(text, list[i].name)) return str_of(list[i].means);
    return text;
}

/* Splits at blanks; returns how many there are, at most FIELDS are written. */
static int split(struct str text, struct str part[FIELDS]) {
    int count = 0;
    for (size_t at = 0; at < text.n;) {
        size_t end = at;
        while (end < text.n && text.p[end] != ' ' && text.p[end] != '\t') end++;
        if (end > at && count < FIELDS) part[count] = (struct str){text.p + at, end - at};
        count += end > at;
        at = end + 1;
    }
    return count;
}

int cron_parse(struct str text, struct cron *ret, struct err *err) {
    struct str part[FIELDS];
    uint64_t bits[FIELDS];
    struct str full = shorthand(text);
    int count = split(full, part), rc = 0;
    if (count != FIELDS)
        return err_set(err, ERR_INVALID,
                       "a cron expression has five fields (minute, hour, day, month, day of week), "
                       "this one %d: \"%.*s\"",
                       count, (int)(text.n < 80 ? text.n : 80), text.p);
    for (int i = 0; !rc && i < FIELDS; i++) rc = take_field(&fields[i], part[i], &bits[i], err);
    if (rc) return rc;
    *ret = (struct cron){.minute = bits[MINUTES],
                         .hour = (uint32_t)bits[HOURS],
                         .day = (uint32_t)bits[DAYS],
                         .month = (uint16_t)bits[MONTHS],
                         .weekday = (uint8_t)((bits[WEEKDAYS] | bits[WEEKDAYS] >> 7) & 127),
                         .any_hour = str_is(part[HOURS], "*"),
                         .any_day = part[DAYS].p[0] == '*',
                         .any_weekday = part[WEEKDAYS].p[0] == '*'};
    return 0;
}

/* --- times --- */

static struct tm local(int64_t at) {
    struct tm tm;
    time_t t = (time_t)at;
    localtime_r(&t, &tm);
    return tm;
}

static bool day_fits(const struct cron *c, const struct tm *tm) {
    bool day = c->day >> tm->tm_mday & 1, weekday = c->weekday >> tm->tm_wday & 1;
    if (!(c->month >> (tm->tm_mon + 1) & 1)) return false;
    if (c->any_day || c->any_weekday) return day && weekday;
    return day || weekday;
}

static bool fits(const struct cron *c, const struct tm *tm) {
    return day_fits(c, tm) && (c->hour >> tm->tm_hour & 1) && (c->minute >> tm->tm_min & 1);
}

/* The clock was set back and shows this minute for the second time. */
static bool is_repeat(int64_t at, const struct tm *tm) {
    struct tm before = local(at - 3 * HOUR);
    long back = before.tm_gmtoff - tm->tm_gmtoff;
    if (back <= 0) return false;
    struct tm first = local(at - back);
    return first.tm_hour == tm->tm_hour && first.tm_min == tm->tm_min;
}

/* The clock was set forward just before this minute, over one that fits. */
static bool skipped_fits(const struct cron *c, int64_t at, const struct tm *tm) {
    long forward = tm->tm_gmtoff - local(at - MINUTE).tm_gmtoff;
    for (long s = forward; s >= MINUTE; s -= MINUTE) {
        time_t wall = (time_t)(at + tm->tm_gmtoff - s);
        struct tm skipped;
        gmtime_r(&wall, &skipped);
        if (fits(c, &skipped)) return true;
    }
    return false;
}

int64_t cron_next(const struct cron *c, int64_t after) {
    int64_t at = after - after % MINUTE + MINUTE, end = after + (int64_t)HORIZON_DAYS * DAY;
    while (at < end) {
        struct tm tm = local(at);
        if (fits(c, &tm) && (c->any_hour || !is_repeat(at, &tm))) return at;
        if (skipped_fits(c, at, &tm)) return at;
        /* towards the end of a day that does not fit, and past no change of the clock unseen */
        at += !day_fits(c, &tm) && tm.tm_hour < 20 ? HOUR : MINUTE;
    }
    return -1;
}
