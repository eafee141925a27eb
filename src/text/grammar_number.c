/* Numbers as automata over their digits: bounds and multiples, in decimal and exactly. */
#include "text/grammar_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WHOLE_DIGITS 64      /* most digits before the point */
#define WHOLE_DIGITS_STEP 18 /* the same with multipleOf */
#define FRACTION_DIGITS 32   /* most digits behind it */
#define STEP_MAX 1000000
#define PLACES_MAX 15
#define NUMBER_STATES_MAX 100000

/* --- decimals ------------------------------------------------------------------------------------
 */

/* text: what printf gives for %lld or %.17e */
static void read_decimal(const char *text, struct decimal *ret) {
    int point = 0, scale = 0;
    bool fraction = false;
    *ret = (struct decimal){.negative = *text == '-'};
    for (text += *text == '-'; *text && *text != 'e'; text++) {
        if (*text == '.') {
            fraction = true;
            continue;
        }
        if (*text != '0' || ret->count) { /* no zeros in front */
            if (ret->count < sizeof ret->digits) ret->digits[ret->count++] = (uint8_t)(*text - '0');
            if (!fraction) point++;
        } else if (fraction) {
            point--;
        }
    }
    if (*text == 'e') scale = (int)strtol(text + 1, NULL, 10);
    while (ret->count && !ret->digits[ret->count - 1]) ret->count--;
    ret->exponent = ret->count ? point + scale : 0;
    if (!ret->count) ret->negative = false;
}

/* the shortest text that reads as x again */
static void shortest(double x, char *text, size_t size) {
    for (int digits = 0; digits <= 16; digits++) {
        snprintf(text, size, "%.*e", digits, x);
        if (strtod(text, NULL) == x) return;
    }
}

bool decimal_of(const json_t *number, struct decimal *ret) {
    char text[64];
    if (json_is_integer(number))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    else
        shortest(json_real_value(number), text, sizeof text);
    read_decimal(text, ret);
    return isfinite(json_number_value(number));
}

static int digit(const struct decimal *d, int at) { return at < d->count ? d->digits[at] : 0; }

int decimal_cmp(const struct decimal *a, const struct decimal *b) {
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    int sign = a->negative ? -1 : 1;
    if (!a->count || !b->count) return a->count ? sign : b->count ? -sign : 0;
    if (a->exponent != b->exponent) return a->exponent < b->exponent ? -sign : sign;
    for (int i = 0; i < a->count || i < b->count; i++)
        if (digit(a, i) != digit(b, i)) return digit(a, i) < digit(b, i) ? -sign : sign;
    return 0;
}

/* digit `at` before the point (0: the first of its whole part) or behind it (whole + place) */
static int digit_at(const struct decimal *d, int at) {
    int shift = d->exponent < 0 ? -d->exponent : 0; /* zeros behind the point */
    return at < shift ? 0 : digit(d, at - shift);
}

static int whole_digits(const struct decimal *d) { return d->exponent > 0 ? d->exponent : 0; }

void number_spell(struct buf *b, const json_t *number) {
    struct decimal d;
    decimal_of(number, &d);
    if (json_is_integer(number)) {
        buf_printf(b, "%lld", (long long)json_integer_value(number));
    } else if (d.exponent > 21 || d.exponent < -6) {
        char text[64];
        shortest(json_real_value(number), text, sizeof text);
        buf_z(b, text);
    } else {
        int whole = whole_digits(&d);
        if (d.negative) buf_byte(b, '-');
        for (int i = 0; i < whole; i++) buf_byte(b, (char)('0' + digit_at(&d, i)));
        if (!whole) buf_byte(b, '0');
        int end = d.count - d.exponent; /* places */
        if (d.count && end > 0) buf_byte(b, '.');
        for (int i = 0; d.count && i < end; i++) buf_byte(b, (char)('0' + digit_at(&d, whole + i)));
    }
}

/* --- multiples -----------------------------------------------------------------------------------
 */

static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

int numbers_step(struct numbers *n, const json_t *step, struct err *err) {
    struct decimal d;
    decimal_of(step, &d);
    if (!d.count || d.negative)
        return err_set(err, ERR_INVALID, "multipleOf must be greater than 0");
    int places = d.count - d.exponent;
    uint64_t x = 0, scale = 1;
    for (int i = 0; i < d.count && x < STEP_MAX; i++) x = x * 10 + d.digits[i];
    for (; places < 0 && x <= STEP_MAX; places++) x *= 10;
    if (n->step) {
        for (; places < n->step_places && x <= STEP_MAX; places++) x *= 10;
        for (int p = n->step_places; p < places && scale <= STEP_MAX; p++) scale *= 10;
        uint64_t have = n->step * scale;
        if (x <= STEP_MAX && have <= STEP_MAX) x = x / gcd(x, have) * have;
        if (have > STEP_MAX) x = have;
    }
    if (x > STEP_MAX || places > PLACES_MAX)
        return err_set(err, ERR_LIMIT,
                       "multipleOf: steps of up to %d units of their last digit are supported",
                       STEP_MAX);
    n->step = x;
    n->step_places = places > 0 ? places : 0;
    return 0;
}

bool numbers_allow(const struct numbers *n, const json_t *number) {
    struct decimal d;
    decimal_of(number, &d);
    int places = d.count - d.exponent, lo = n->has_lo ? decimal_cmp(&d, &n->lo) : 1;
    int hi = n->has_hi ? decimal_cmp(&d, &n->hi) : -1;
    if (lo < 0 || (lo == 0 && n->lo_open) || hi > 0 || (hi == 0 && n->hi_open)) return false;
    if (n->integer && d.count && places > 0) return false;
    if (!n->step || !d.count) return true;
    if (places > n->step_places) return false;
    uint64_t rest = 0;
    for (int i = 0; i < d.count; i++) rest = (rest * 10 + d.digits[i]) % n->step;
    for (; places < n->step_places; places++) rest = rest * 10 % n->step;
    return rest == 0;
}

/* --- the automaton -------------------------------------------------------------------------------
 */

enum phase { ZERO, WHOLE, FRACTION };

/* What the digits read so far say; each is one state. */
struct reading {
    uint8_t phase;
    uint8_t whole, places; /* digits before the point, behind it */
    int8_t lo, hi;         /* the digits against those of the bound: -1, 0, 1 */
    uint32_t rest;         /* modulo the step */
};

struct maker {
    struct automaton *a;
    const struct numbers *n;
    bool has_lo, has_hi, lo_open, hi_open; /* of the magnitude */
    struct decimal lo, hi;
    int whole_max, places_max;
    struct reading *list;
    uint32_t *states, *slots, count, size;
    size_t cap, state_cap;
    uint32_t end;
    bool too_many;
};

static uint64_t key_of(const struct reading *r) {
    uint64_t k = r->phase | (uint64_t)r->whole << 2 | (uint64_t)r->places << 10;
    k |= (uint64_t)(r->lo + 1) << 18 | (uint64_t)(r->hi + 1) << 20;
    return k | (uint64_t)r->rest << 24;
}

static uint32_t slot_of(const struct maker *m, uint64_t key) {
    uint32_t at = (uint32_t)(key * 0x9E3779B97F4A7C15u >> 40) & (m->size - 1);
    while (m->slots[at] && key_of(&m->list[m->slots[at] - 1]) != key) at = (at + 1) & (m->size - 1);
    return at;
}

/* the state of a reading */
static uint32_t state_of(struct maker *m, const struct reading *r) {
    if (2 * (m->count + 1) > m->size) {
        m->size = m->size ? 2 * m->size : 64;
        mem_free(m->slots);
        m->slots = mem_zalloc(m->size, sizeof *m->slots);
        for (uint32_t i = 0; i < m->count; i++) m->slots[slot_of(m, key_of(&m->list[i]))] = i + 1;
    }
    uint32_t at = slot_of(m, key_of(r));
    if (m->slots[at]) return m->states[m->slots[at] - 1];
    if (m->count >= NUMBER_STATES_MAX) {
        m->too_many = true;
        return m->states[0];
    }
    mem_grow((void **)&m->list, &m->cap, m->count + 1, sizeof *m->list);
    mem_grow((void **)&m->states, &m->state_cap, m->count + 1, sizeof *m->states);
    m->list[m->count] = *r;
    m->states[m->count] = build_state(m->a);
    m->slots[at] = ++m->count;
    return m->states[m->count - 1];
}

/* The digits so far against a bound, once the whole part is known to be complete. */
static int settled(const struct reading *r, int cmp, const struct decimal *bound) {
    if (r->phase == FRACTION) return cmp;
    int whole = whole_digits(bound);
    if (r->whole != whole) return r->whole < whole ? -1 : 1;
    return cmp;
}

/* the value read against the bound if it ended here */
static int against(const struct reading *r, int cmp, const struct decimal *bound) {
    cmp = settled(r, cmp, bound);
    bool more = bound->count - bound->exponent > r->places; /* digits of the bound that follow */
    return cmp == 0 && bound->count && more ? -1 : cmp;
}

static bool is_multiple(const struct maker *m, const struct reading *r) {
    uint64_t rest = r->rest;
    if (!m->n->step) return true;
    for (int p = r->places; p < m->n->step_places; p++) rest = rest * 10 % m->n->step;
    return rest % m->n->step == 0;
}

static bool may_end(const struct maker *m, const struct reading *r) {
    if (r->phase == FRACTION && !r->places) return false;
    int lo = m->has_lo ? against(r, r->lo, &m->lo) : 1;
    int hi = m->has_hi ? against(r, r->hi, &m->hi) : -1;
    if (lo < 0 || (lo == 0 && m->lo_open)) return false;
    if (hi > 0 || (hi == 0 && m->hi_open)) return false;
    return is_multiple(m, r);
}

/* the comparison after one more digit, which stands at `at` of the bound's digits */
static int8_t compare_digit(int8_t cmp, const struct decimal *bound, int at, int d) {
    if (cmp) return cmp;
    int b = bound->count ? digit_at(bound, at) : 0;
    return d < b ? -1 : d > b;
}

static struct reading with_digit(const struct maker *m, struct reading r, int d) {
    if (m->n->step) r.rest = (uint32_t)((r.rest * (uint64_t)10 + (uint64_t)d) % m->n->step);
    if (r.phase == FRACTION) {
        if (m->has_lo) r.lo = compare_digit(r.lo, &m->lo, whole_digits(&m->lo) + r.places, d);
        if (m->has_hi) r.hi = compare_digit(r.hi, &m->hi, whole_digits(&m->hi) + r.places, d);
        r.places++;
    } else {
        if (m->has_lo && r.whole < whole_digits(&m->lo))
            r.lo = compare_digit(r.lo, &m->lo, r.whole, d);
        if (m->has_hi && r.whole < whole_digits(&m->hi))
            r.hi = compare_digit(r.hi, &m->hi, r.whole, d);
        r.whole++;
    }
    return r;
}

/* nothing that follows can bring the value back under the upper bound */
static bool too_big(const struct maker *m, const struct reading *r) {
    if (!m->has_hi) return false;
    if (r->phase == FRACTION) return r->hi > 0;
    return r->whole > whole_digits(&m->hi);
}

static void put_digits(struct maker *m, uint32_t from, struct reading r, int first) {
    for (int d = first; d <= 9 && !m->a->over; d++) {
        struct reading next = with_digit(m, r, d);
        if (!too_big(m, &next)) {
            uint32_t to = state_of(m, &next);
            build_byte(m->a, from, '0' + (unsigned)d, '0' + (unsigned)d, to);
        }
    }
}

/* Up to 99 upwards, which stays finite behind 64 digits, and 999 downwards. */
static void put_exponent(struct maker *m, uint32_t from) {
    struct automaton *a = m->a;
    uint32_t e = build_state(a), plus = build_state(a), minus = build_state(a), d = build_state(a);
    uint32_t d2 = build_state(a), d3 = build_state(a);
    build_byte(a, from, 'e', 'e', e);
    build_byte(a, from, 'E', 'E', e);
    build_byte(a, e, '+', '+', plus);
    build_byte(a, e, '-', '-', minus);
    build_empty(a, e, plus);
    build_byte(a, plus, '0', '9', d);
    build_byte(a, d, '0', '9', m->end);
    build_empty(a, d, m->end);
    build_byte(a, minus, '0', '9', d2);
    build_byte(a, d2, '0', '9', d3);
    build_empty(a, d2, m->end);
    build_byte(a, d3, '0', '9', m->end);
    build_empty(a, d3, m->end);
}

static void put_reading(struct maker *m, uint32_t i, uint32_t exponent) {
    struct reading r = m->list[i];
    uint32_t from = m->states[i];
    if (may_end(m, &r)) {
        build_empty(m->a, from, m->end);
        if (exponent != NO_STATE) build_empty(m->a, from, exponent);
    }
    if (r.phase == WHOLE && r.whole < m->whole_max) put_digits(m, from, r, 0);
    if (r.phase == FRACTION && r.places < m->places_max) put_digits(m, from, r, 0);
    if (r.phase == FRACTION || !m->places_max) return;
    struct reading point = r;
    point.phase = FRACTION;
    point.lo = (int8_t)(m->has_lo ? settled(&r, r.lo, &m->lo) : 0);
    point.hi = (int8_t)(m->has_hi ? settled(&r, r.hi, &m->hi) : 0);
    point.whole = 0;
    if (too_big(m, &point)) return;
    uint32_t to = state_of(m, &point);
    build_byte(m->a, from, '.', '.', to);
}

/* magnitudes from state s on */
static void put_magnitudes(struct maker *m, uint32_t s) {
    bool free = !m->n->has_lo && !m->n->has_hi && !m->n->step && !m->n->integer;
    uint32_t exponent = NO_STATE;
    m->whole_max = m->n->step ? WHOLE_DIGITS_STEP : WHOLE_DIGITS;
    m->places_max = m->n->integer ? 0 : m->n->step ? m->n->step_places : FRACTION_DIGITS;
    if (free) put_exponent(m, exponent = build_state(m->a));
    struct reading zero = {.phase = ZERO}, start = {.phase = WHOLE};
    build_byte(m->a, s, '0', '0', state_of(m, &zero));
    put_digits(m, s, start, 1);
    for (uint32_t i = 0; i < m->count && !m->a->over && !m->too_many; i++)
        put_reading(m, i, exponent);
}

static void put_sign(struct automaton *a, const struct numbers *n, bool negative, uint32_t s,
                     uint32_t end, bool *too_many) {
    struct maker m = {.a = a, .n = n, .end = end};
    const struct decimal *low = negative ? &n->hi : &n->lo, *high = negative ? &n->lo : &n->hi;
    bool has_low = negative ? n->has_hi : n->has_lo, has_high = negative ? n->has_lo : n->has_hi;
    bool low_open = negative ? n->hi_open : n->lo_open;
    bool high_open = negative ? n->lo_open : n->hi_open;
    m.has_hi = has_high;
    m.hi = *high;
    m.hi_open = high_open;
    if (has_low && low->negative == negative && low->count) {
        m.has_lo = true;
        m.lo = *low;
        m.lo_open = low_open;
    } else if (has_low && !low->count && (low_open || negative)) {
        m.has_lo = m.lo_open = true; /* zero itself is out */
    }
    if (negative) {
        if (!m.has_lo) m.has_lo = m.lo_open = true; /* zero has no sign */
        uint32_t after = build_state(a);
        build_byte(a, s, '-', '-', after);
        s = after;
    }
    put_magnitudes(&m, s);
    *too_many |= m.too_many;
    mem_free(m.list);
    mem_free(m.states);
    mem_free(m.slots);
}

int build_number(struct automaton *a, const struct numbers *n, uint32_t *ret_rule,
                 struct err *err) {
    uint32_t rule = build_rule(a), end = build_state(a);
    bool too_many = false;
    if (a->over) return 0;
    build_accept(a, end);
    bool nonnegative = n->has_lo && !n->lo.negative, negative = n->has_hi && n->hi.negative;
    if (!negative) put_sign(a, n, false, a->starts[rule], end, &too_many);
    if (!nonnegative) put_sign(a, n, true, a->starts[rule], end, &too_many);
    if (too_many)
        return err_set(err, ERR_LIMIT, "bounds and multipleOf together need too many states");
    *ret_rule = rule;
    return 0;
}
