/* National identity numbers: a shape, a check, and how much of a word near it each needs. Only
 * those of the countries in the options are looked for. */
#include "data/pii_int.h"

#define ID_MAX 20

/* Characters of the number, letters as capitals, separators left out. */
struct id {
    char c[ID_MAX + 1];
    unsigned n;
    bool split; /* there were separators */
};

static unsigned at(const struct id *x, unsigned i) { return (unsigned)(x->c[i] - '0'); }

static unsigned weighted(const struct id *x, const char *weights, unsigned n) {
    unsigned sum = 0;
    for (unsigned i = 0; i < n; i++) sum += at(x, i) * (unsigned)(weights[i] - '0');
    return sum;
}

static unsigned long long value(const struct id *x, unsigned from, unsigned n) {
    unsigned long long v = 0;
    for (unsigned i = from; i < from + n; i++) v = v * 10 + at(x, i);
    return v;
}

static bool date(const struct id *x, unsigned month, unsigned day) {
    unsigned long long m = value(x, month, 2), d = value(x, day, 2);
    return m >= 1 && m <= 12 && d >= 1 && d <= 31;
}

static bool same_digits(const struct id *x) {
    for (unsigned i = 1; i < x->n; i++)
        if (x->c[i] != x->c[0]) return false;
    return true;
}

static bool luhn(const struct id *x) { return pii_luhn(x->c, x->n); }
static bool canada(const struct id *x) { return at(x, 0) != 0 && at(x, 0) != 8 && luhn(x); }
static bool south_africa(const struct id *x) { return date(x, 2, 4) && luhn(x); }
static bool sweden(const struct id *x) {
    unsigned from = x->n == 12 ? 2 : 0;
    return x->n >= 10 && x->n != 11 && date(x, from + 2, from + 4) && pii_luhn(x->c + from, 10);
}

/* ISO 7064 mod 11,10 */
static bool germany(const struct id *x) {
    unsigned p = 10;
    for (unsigned i = 0; i < 10; i++) {
        unsigned sum = (at(x, i) + p) % 10;
        p = 2 * (sum ? sum : 10) % 11;
    }
    return at(x, 0) != 0 && (11 - p) % 10 == at(x, 10);
}

/* Verhoeff */
static bool india(const struct id *x) {
    static const char d[] = "01234567891234067895234017895634012895674012395678"
                            "59876043216598710432765982104387659321049876543210";
    static const char p[] = "01234567891576283094580379614289160435279453126870"
                            "428657390127938064157046913258";
    unsigned c = 0;
    for (unsigned i = 0; i < 12; i++) {
        unsigned perm = (unsigned)(p[i % 8 * 10 + at(x, 11 - i)] - '0');
        c = (unsigned)(d[c * 10 + perm] - '0');
    }
    return at(x, 0) > 1 && c == 0;
}

static bool spain(const struct id *x) {
    unsigned long long v = value(x, 1, 7);
    char a = x->c[0];
    v += 10000000ull * (unsigned)(a == 'X' ? 0 : a == 'Y' ? 1 : a == 'Z' ? 2 : a - '0');
    return x->c[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[v % 23];
}

static bool poland(const struct id *x) {
    unsigned m = (unsigned)value(x, 2, 2) % 20;
    return m >= 1 && m <= 12 && weighted(x, "13791379131", 11) % 10 == 0;
}

static bool finland(const struct id *x) {
    unsigned long long v = value(x, 0, 6) * 1000 + value(x, 7, 3);
    return date(x, 2, 0) && x->c[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[v % 31];
}

static bool korea(const struct id *x) {
    unsigned check = (11 - weighted(x, "234567892345", 12) % 11) % 10;
    return date(x, 2, 4) && check == at(x, 12);
}

static bool turkey(const struct id *x) {
    unsigned odd = 0, even = 0;
    for (unsigned i = 0; i < 9; i++) *(i % 2 ? &even : &odd) += at(x, i);
    unsigned all = odd + even + at(x, 9);
    return at(x, 0) && (odd * 7 + 100 - even) % 10 == at(x, 9) && all % 10 == at(x, 10);
}

static bool australia(const struct id *x) {
    unsigned sum = weighted(x, "14375869", 8) + 10 * at(x, 8);
    return at(x, 0) && sum % 11 == 0;
}

static bool britain_health(const struct id *x) {
    unsigned sum = 0;
    for (unsigned i = 0; i < 9; i++) sum += at(x, i) * (10 - i);
    unsigned check = 11 - sum % 11;
    return !same_digits(x) && check != 10 && check % 11 == at(x, 9);
}

static bool britain_insurance(const struct id *x) {
    static const char *const never[] = {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"};
    if (strchr("DFIQUV", x->c[0]) || strchr("DFIQUVO", x->c[1]) || x->c[8] > 'D') return false;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (x->c[0] == never[i][0] && x->c[1] == never[i][1]) return false;
    return true;
}

static bool france(const struct id *x) {
    unsigned long long m = value(x, 3, 2);
    return (at(x, 0) == 1 || at(x, 0) == 2) && ((m >= 1 && m <= 12) || m >= 20) &&
           97 - value(x, 0, 13) % 97 == value(x, 13, 2);
}

static bool italy(const struct id *x) {
    static const char odd[] = "BAKPLCQDREVOSFTGUHMINJWZYX"; /* position is the value */
    unsigned sum = 0;
    for (unsigned i = 0; i < 15; i++) {
        char c = x->c[i];
        unsigned v = pii_digit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(c - 'A');
        if (i % 2 == 0) v = (unsigned)(strchr(odd, (int)('A' + v)) - odd);
        sum += v;
    }
    return strchr("ABCDEHLMPRST", x->c[8]) && sum % 26 == (unsigned)(x->c[15] - 'A');
}

static bool netherlands(const struct id *x) {
    unsigned sum = weighted(x, "98765432", 8);
    return !same_digits(x) && sum % 11 == at(x, 8);
}

static bool brazil(const struct id *x) {
    for (unsigned n = 9; n < 11; n++) {
        unsigned sum = 0;
        for (unsigned i = 0; i < n; i++) sum += at(x, i) * (n + 1 - i);
        if (sum * 10 % 11 % 10 != at(x, n)) return false;
    }
    return !same_digits(x);
}

static bool belgium(const struct id *x) {
    unsigned long long v = value(x, 0, 9), check = value(x, 9, 2);
    return date(x, 2, 4) && (97 - v % 97 == check || 97 - (v + 2000000000ull) % 97 == check);
}

static bool switzerland(const struct id *x) {
    return value(x, 0, 3) == 756 && weighted(x, "1313131313131", 13) % 10 == 0;
}

static bool portugal(const struct id *x) {
    unsigned sum = weighted(x, "98765432", 8), check = 11 - sum % 11;
    return strchr("1235689", x->c[0]) && (check > 9 ? 0 : check) == at(x, 8);
}

static bool china(const struct id *x) {
    static const unsigned weight[] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
    unsigned sum = 0;
    for (unsigned i = 0; i < 17; i++) sum += at(x, i) * weight[i];
    return date(x, 10, 12) && x->c[17] == "10X98765432"[sum % 11];
}

static bool norway(const struct id *x) {
    return date(x, 2, 0) && weighted(x, "3761894521", 10) % 11 == 0 &&
           weighted(x, "54327654321", 11) % 11 == 0;
}

static bool denmark(const struct id *x) { return date(x, 2, 0); }

/* 9: a digit, A: a letter, *: either; a space: a separator may stand here */
static const struct kind {
    char country[3];
    const char *shape;
    bool (*check)(const struct id *x);
    double alone, apart; /* the score with no word near it, without and with separators */
} kinds[] = {
    {"CA", "999 999 999", canada, 0.1, 0.35},
    {"ZA", "9999999999999", south_africa, 0.45, 0.45},
    {"SE", "99999999 9999", sweden, 0.35, 0.6},
    {"SE", "999999 9999", sweden, 0.1, 0.6},
    {"DE", "99 999 999 999", germany, 0.1, 0.3},
    {"IN", "9999 9999 9999", india, 0.2, 0.45},
    {"ES", "99999999 A", spain, 0.6, 0.7},
    {"ES", "A 9999999 A", spain, 0.6, 0.7},
    {"PL", "99999999999", poland, 0.3, 0.3},
    {"FI", "999999 999*", finland, 0, 0.7},
    {"KR", "999999 9999999", korea, 0.4, 0.7},
    {"TR", "99999999999", turkey, 0.3, 0.3},
    {"AU", "999 999 999", australia, 0.1, 0.3},
    {"GB", "999 999 9999", britain_health, 0.1, 0.3},
    {"GB", "AA 99 99 99 A", britain_insurance, 0.55, 0.7},
    {"FR", "9 99 99 99 999 999 99", france, 0.6, 0.8},
    {"IT", "AAA AAA 99A99 A999A", italy, 0.8, 0.8},
    {"NL", "999999999", netherlands, 0.1, 0.1},
    {"BR", "999 999 999 99", brazil, 0.3, 0.8},
    {"BE", "99 99 99 999 99", belgium, 0.35, 0.8},
    {"CH", "999 9999 9999 99", switzerland, 0.7, 0.9},
    {"PT", "999 999 999", portugal, 0.1, 0.15},
    {"CN", "99999999999999999*", china, 0.8, 0.8},
    {"NO", "999999 99999", norway, 0.35, 0.45},
    {"DK", "999999 9999", denmark, 0.05, 0.15},
};

#define KINDS (sizeof kinds / sizeof *kinds)

static bool fits(char want, unsigned char c) {
    if (want == '9') return pii_digit(c);
    return want == 'A' ? pii_letter(c) : pii_alnum(c);
}

/* Reads the shape at `start`; where it ends, or 0. Finland writes the century as a separator. */
static size_t read_shape(struct pii_scan *s, size_t start, const char *shape, struct id *x) {
    bool century = !strcmp(shape, "999999 999*");
    *x = (struct id){.n = 0};
    size_t i = start;
    for (; *shape; shape++) {
        unsigned char c = pii_at(s, i);
        if (*shape == ' ') {
            if (!c || !strchr(century ? "-+A" : " -./+", c)) {
                if (century) return 0;
                continue;
            }
            x->split = true;
            if (century) x->c[x->n++] = (char)c;
            i++;
            continue;
        }
        if (!fits(*shape, c)) return 0;
        x->c[x->n++] = (char)(pii_letter(c) ? c & ~32 : c);
        i++;
    }
    s->steps += i - start;
    unsigned char after = pii_at(s, i);
    if (pii_alnum(after) || after == '_') return 0;
    return (after == '-' || after == '.') && pii_alnum(pii_at(s, i + 1)) && after == '-' ? 0 : i;
}

/* the letters a shape begins with stand before the digits */
static size_t letters_of(const char *shape, const struct pii_scan *s, size_t i) {
    size_t k = 0, back = 0;
    while (shape[k] && shape[k] != '9') back += shape[k++] == 'A';
    if (back && i > 0 && (pii_at(s, i - 1) == ' ' || pii_at(s, i - 1) == '-') &&
        shape[k - 1] == ' ')
        back++;
    if (back > 6 && i > 3 && pii_at(s, i - 4) == ' ') back++;
    return back;
}

uint32_t pii_ids_of(struct str code) {
    uint32_t ids = 0;
    for (size_t k = 0; k < KINDS; k++)
        if (pii_same_code(code, kinds[k].country)) ids |= 1u << k;
    return ids;
}

size_t pii_ids(struct pii_scan *s, size_t i, size_t end) {
    size_t on = end;
    for (size_t k = 0; k < KINDS; k++) {
        const struct kind *kind = &kinds[k];
        if (!(s->places.ids >> k & 1)) continue;
        size_t back = letters_of(kind->shape, s, i);
        if (back > i) continue;
        size_t start = i - back;
        unsigned char before = pii_before(s, start);
        if (pii_alnum(before) || before == '_' || before == '+') continue;
        if ((before == '.' || before == '-' || before == ',') && start > 1 &&
            pii_alnum(pii_at(s, start - 2)))
            continue;
        struct id x;
        size_t stop = read_shape(s, start, kind->shape, &x);
        if (!stop || !kind->check(&x)) continue;
        struct pii_context c;
        pii_context_of(s, start, stop, &c);
        unsigned near = c.near[TOPIC_ID], against = c.near[TOPIC_COUNTED];
        double score = pii_score(x.split ? kind->apart : kind->alone, near, against);
        if (pii_found(s, PII_NATIONAL_ID, start, stop, score) && stop > on) on = stop;
    }
    return on;
}
