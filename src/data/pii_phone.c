/* Telephone numbers: international ones by country code and length, those of a country by their
 * shape, and any other group of digits only where the words around speak of one. */
#include "data/pii_int.h"

struct country {
    char iso[3];
    unsigned code, least, most; /* calling code; digits after it */
};

/* ITU-T E.164 */
static const struct country countries[] = {
    {"US", 1, 10, 10},  {"CA", 1, 10, 10},  {"PR", 1, 10, 10},  {"JM", 1, 10, 10},
    {"DO", 1, 10, 10},  {"TT", 1, 10, 10},  {"BS", 1, 10, 10},  {"BB", 1, 10, 10},
    {"RU", 7, 10, 10},  {"KZ", 7, 10, 10},  {"EG", 20, 8, 10},  {"ZA", 27, 9, 9},
    {"GR", 30, 10, 10}, {"NL", 31, 9, 9},   {"BE", 32, 8, 9},   {"FR", 33, 9, 9},
    {"ES", 34, 9, 9},   {"HU", 36, 8, 9},   {"IT", 39, 6, 11},  {"RO", 40, 9, 9},
    {"CH", 41, 9, 9},   {"AT", 43, 7, 13},  {"GB", 44, 9, 10},  {"DK", 45, 8, 8},
    {"SE", 46, 7, 10},  {"NO", 47, 8, 8},   {"PL", 48, 9, 9},   {"DE", 49, 6, 12},
    {"PE", 51, 8, 9},   {"MX", 52, 10, 11}, {"CU", 53, 6, 8},   {"AR", 54, 10, 11},
    {"BR", 55, 10, 11}, {"CL", 56, 9, 9},   {"CO", 57, 8, 10},  {"VE", 58, 10, 10},
    {"MY", 60, 8, 10},  {"AU", 61, 9, 9},   {"ID", 62, 8, 12},  {"PH", 63, 8, 10},
    {"NZ", 64, 8, 10},  {"SG", 65, 8, 8},   {"TH", 66, 8, 9},   {"JP", 81, 9, 10},
    {"KR", 82, 8, 10},  {"VN", 84, 9, 10},  {"CN", 86, 10, 11}, {"TR", 90, 10, 10},
    {"IN", 91, 10, 10}, {"PK", 92, 9, 10},  {"AF", 93, 9, 9},   {"LK", 94, 9, 9},
    {"MM", 95, 7, 10},  {"IR", 98, 10, 10}, {"SS", 211, 9, 9},  {"MA", 212, 9, 9},
    {"DZ", 213, 8, 9},  {"TN", 216, 8, 8},  {"LY", 218, 8, 9},  {"GM", 220, 7, 7},
    {"SN", 221, 9, 9},  {"MR", 222, 8, 8},  {"ML", 223, 8, 8},  {"GN", 224, 8, 9},
    {"CI", 225, 8, 10}, {"BF", 226, 8, 8},  {"NE", 227, 8, 8},  {"TG", 228, 8, 8},
    {"BJ", 229, 8, 10}, {"MU", 230, 7, 8},  {"LR", 231, 7, 9},  {"SL", 232, 8, 8},
    {"GH", 233, 9, 9},  {"NG", 234, 8, 10}, {"TD", 235, 8, 8},  {"CF", 236, 8, 8},
    {"CM", 237, 8, 9},  {"CV", 238, 7, 7},  {"ST", 239, 7, 7},  {"GQ", 240, 9, 9},
    {"GA", 241, 7, 8},  {"CG", 242, 9, 9},  {"CD", 243, 7, 9},  {"AO", 244, 9, 9},
    {"GW", 245, 7, 9},  {"SC", 248, 7, 7},  {"SD", 249, 9, 9},  {"RW", 250, 9, 9},
    {"ET", 251, 9, 9},  {"SO", 252, 7, 9},  {"DJ", 253, 8, 8},  {"KE", 254, 9, 9},
    {"TZ", 255, 9, 9},  {"UG", 256, 9, 9},  {"BI", 257, 8, 8},  {"MZ", 258, 8, 9},
    {"ZM", 260, 9, 9},  {"MG", 261, 9, 9},  {"RE", 262, 9, 9},  {"ZW", 263, 8, 10},
    {"NA", 264, 8, 9},  {"MW", 265, 7, 9},  {"LS", 266, 8, 8},  {"BW", 267, 7, 8},
    {"SZ", 268, 8, 8},  {"KM", 269, 7, 7},  {"ER", 291, 7, 7},  {"AW", 297, 7, 7},
    {"FO", 298, 6, 6},  {"GL", 299, 6, 6},  {"GI", 350, 8, 8},  {"PT", 351, 9, 9},
    {"LU", 352, 6, 11}, {"IE", 353, 7, 9},  {"IS", 354, 7, 9},  {"AL", 355, 8, 9},
    {"MT", 356, 8, 8},  {"CY", 357, 8, 8},  {"FI", 358, 6, 11}, {"BG", 359, 7, 9},
    {"LT", 370, 8, 8},  {"LV", 371, 8, 8},  {"EE", 372, 7, 8},  {"MD", 373, 8, 8},
    {"AM", 374, 8, 8},  {"BY", 375, 9, 9},  {"AD", 376, 6, 9},  {"MC", 377, 8, 9},
    {"SM", 378, 6, 10}, {"UA", 380, 9, 9},  {"RS", 381, 8, 9},  {"ME", 382, 8, 8},
    {"XK", 383, 8, 8},  {"HR", 385, 8, 9},  {"SI", 386, 8, 8},  {"BA", 387, 8, 9},
    {"MK", 389, 8, 8},  {"CZ", 420, 9, 9},  {"SK", 421, 9, 9},  {"LI", 423, 7, 9},
    {"BZ", 501, 7, 7},  {"GT", 502, 8, 8},  {"SV", 503, 8, 8},  {"HN", 504, 8, 8},
    {"NI", 505, 8, 8},  {"CR", 506, 8, 8},  {"PA", 507, 7, 8},  {"HT", 509, 8, 8},
    {"GP", 590, 9, 9},  {"BO", 591, 8, 8},  {"GY", 592, 7, 7},  {"EC", 593, 8, 9},
    {"GF", 594, 9, 9},  {"PY", 595, 9, 9},  {"MQ", 596, 9, 9},  {"SR", 597, 6, 7},
    {"UY", 598, 8, 8},  {"TL", 670, 7, 8},  {"BN", 673, 7, 7},  {"PG", 675, 7, 8},
    {"FJ", 679, 7, 7},  {"NC", 687, 6, 6},  {"PF", 689, 8, 8},  {"WS", 685, 5, 7},
    {"KP", 850, 8, 10}, {"HK", 852, 8, 8},  {"MO", 853, 8, 8},  {"KH", 855, 8, 9},
    {"LA", 856, 8, 10}, {"BD", 880, 8, 10}, {"TW", 886, 8, 9},  {"MV", 960, 7, 7},
    {"LB", 961, 7, 8},  {"JO", 962, 8, 9},  {"SY", 963, 8, 9},  {"IQ", 964, 8, 10},
    {"KW", 965, 8, 8},  {"SA", 966, 8, 9},  {"YE", 967, 7, 9},  {"OM", 968, 8, 8},
    {"PS", 970, 8, 9},  {"AE", 971, 8, 9},  {"IL", 972, 8, 9},  {"BH", 973, 8, 8},
    {"QA", 974, 8, 8},  {"BT", 975, 7, 8},  {"MN", 976, 8, 8},  {"NP", 977, 8, 10},
    {"TJ", 992, 9, 9},  {"TM", 993, 8, 8},  {"AZ", 994, 9, 9},  {"GE", 995, 9, 9},
    {"KG", 996, 9, 9},  {"UZ", 998, 9, 9},
};

#define COUNTRIES (sizeof countries / sizeof *countries)

/* the next code of a list with commas; empty at its end */
static struct str next_code(struct str *list) {
    while (list->n && (*list->p == ',' || *list->p == ' ')) *list = str_from(*list, 1);
    size_t n = 0;
    while (n < list->n && list->p[n] != ',' && list->p[n] != ' ') n++;
    struct str one = {list->p, n};
    *list = str_from(*list, n);
    return one;
}

bool pii_same_code(struct str code, const char *iso) {
    return code.n == 2 && (code.p[0] & ~32) == iso[0] && (code.p[1] & ~32) == iso[1];
}

/* The codes named are those of countries this knows. */
bool pii_countries_known(struct str list, struct str *ret_unknown) {
    for (struct str one = next_code(&list); one.n; one = next_code(&list)) {
        bool known = false;
        for (size_t i = 0; i < COUNTRIES; i++) known |= pii_same_code(one, countries[i].iso);
        if (known) continue;
        *ret_unknown = one;
        return false;
    }
    return true;
}

static void add_country(struct str code, struct pii_places *ret) {
    for (size_t i = 0; i < COUNTRIES; i++) {
        if (!pii_same_code(code, countries[i].iso)) continue;
        ret->america |= countries[i].code == 1;
        ret->france |= countries[i].code == 33;
        ret->britain |= countries[i].code == 44;
        for (unsigned n = countries[i].least; n <= countries[i].most; n++) ret->lengths |= 1u << n;
        return;
    }
}

void pii_places_of(const struct pii_options *o, struct pii_places *ret) {
    *ret = (struct pii_places){true, true, true, 0x1f80 /* 7 to 12 */, 0};
    if (!o->countries) return;
    *ret = (struct pii_places){.ids = 0};
    struct str list = str_of(o->countries);
    for (struct str one = next_code(&list); one.n; one = next_code(&list)) {
        add_country(one, ret);
        if (o->on[PII_NATIONAL_ID]) ret->ids |= pii_ids_of(one);
    }
}

/* Money: a sign before, or the euro's or the pound's behind. */
static bool amount(const struct pii_scan *s, size_t start, size_t end) {
    unsigned char a = pii_before(s, start), b = start > 1 ? pii_at(s, start - 2) : 0;
    if (a == ' ' && start > 2) {
        a = b;
        b = pii_at(s, start - 3);
    }
    if (a == '$' || a == '#' || (b == 0xC2 && (a == 0xA3 || a == 0xA5))) return true;
    if (a == 0xAC && b == 0x82) return true;
    unsigned char x = pii_at(s, end), y = pii_at(s, end + 1);
    if (x == ' ') {
        x = y;
        y = pii_at(s, end + 2);
    }
    return x == '$' || x == '%' || (x == 0xE2 && y == 0x82) || (x == 0xC2 && y == 0xA3);
}

/* Part of a path, a time, a word, an address of a network or a name. */
static bool part(const struct pii_scan *s, size_t start, size_t end) {
    unsigned char a = pii_before(s, start), b = start > 1 ? pii_at(s, start - 2) : 0;
    if ((a == '/' || a == '\\') && (pii_alnum(b) || b == '/')) return true;
    if (a == '.' && pii_alnum(b)) return true;
    if (a == ':' && pii_digit(b)) return true;
    unsigned char x = pii_at(s, end), y = pii_at(s, end + 1);
    if (a == '[' || x == ']') return true;
    if (x == '_' || pii_alnum(x) || x == '@' || x == '=') return true;
    if ((x == '-' || x == '/') && pii_alnum(y)) return true;
    return (x == ':' || x == '.') && pii_digit(y);
}

static bool amount_or_part(const struct pii_scan *s, size_t start, size_t end) {
    return amount(s, start, end) || part(s, start, end);
}

/* A date, a time, a span of years. */
static bool is_date(const struct pii_number *d, unsigned k) {
    unsigned a = d->g[0].n, b = k > 1 ? d->g[1].n : 0, c = k > 2 ? d->g[2].n : 0;
    char sep = d->g[0].sep;
    if (k >= 3 && sep == d->g[1].sep && (sep == '-' || sep == '/' || sep == '.')) {
        if (a == 4 && b <= 2 && c <= 2 && (d->digit[0] == '1' || d->digit[0] == '2')) return true;
        if (a <= 2 && b <= 2 && c == 4 && (d->digit[a + b] == '1' || d->digit[a + b] == '2'))
            return true;
    }
    bool year = d->digit[0] == '1' || d->digit[0] == '2';
    return k >= 2 && a == 4 && b == 4 && year && d->digit[4] == d->digit[0];
}

/* --- with a plus or 00 */

static size_t international(struct pii_scan *s, const struct pii_number *d,
                            const struct pii_context *c) {
    bool plus = pii_before(s, d->start) == '+';
    if (plus && pii_alnum(d->start > 1 ? pii_at(s, d->start - 2) : 0)) return 0;
    unsigned skip = plus ? 0 : 2, code = 0;
    unsigned char b = d->start > 1 ? pii_at(s, d->start - 2) : 0;
    if (!plus && pii_digit(b)) return 0;
    if (!plus && (d->digit[0] != '0' || d->digit[1] != '0' || d->g[0].n < 4)) return 0;
    for (unsigned digits = 1; digits <= 3 && skip + digits <= d->n; digits++) {
        code = code * 10 + (unsigned)(d->digit[skip + digits - 1] - '0');
        for (size_t i = 0; code && i < COUNTRIES; i++) {
            const struct country *land = &countries[i];
            if (land->code != code) continue;
            for (unsigned k = d->groups; k > 0; k--) {
                unsigned n = d->g[k - 1].to - skip - digits;
                if (d->g[k - 1].to < skip + digits) break;
                /* "+44 (0)20 ...": the zero is not dialled from abroad */
                bool zero = k > 1 && d->g[1].sep == ')' && d->g[1].n == 1;
                if (zero) n--;
                if (n < land->least || n > land->most) continue;
                size_t end = d->g[k - 1].end, start = plus ? d->start - 1 : d->start;
                if (plus && pii_before(s, start) == '(') start--;
                if (amount_or_part(s, start, end)) continue;
                double base = plus ? 0.75 : d->groups > 1 ? 0.45 : 0.25;
                double score =
                    pii_score(base, c->near[TOPIC_PHONE], plus ? 0 : c->near[TOPIC_COUNTED]);
                return pii_found(s, PII_PHONE, start, end, score) ? end : 0;
            }
            return 0;
        }
    }
    return 0;
}

/* --- shapes of a country */

/* how sure the first k groups alone make it, 0 if they are none of these */
struct shape {
    unsigned groups;
    double base;
};

static bool nanp(const char *d) {
    return d[0] >= '2' && d[3] >= '2' && !(d[1] == '1' && d[2] == '1') &&
           !(d[4] == '1' && d[5] == '1');
}

static struct shape american(const struct pii_number *d, bool paren) {
    unsigned one = d->groups > 3 && d->g[0].n == 1 && d->digit[0] == '1';
    const char *digit = d->digit + one;
    if (d->groups >= one + 3 && d->g[one].n == 3 && d->g[one + 1].n == 3 && d->g[one + 2].n == 4 &&
        nanp(digit)) {
        char a = d->g[one].sep, b = d->g[one + 1].sep;
        if (a == ')') return (struct shape){one + 3, 0.7};
        if (paren || a == '/') return (struct shape){0, 0};
        if (a == b) return (struct shape){one + 3, a == '-' ? 0.6 : a == '.' ? 0.5 : 0.4};
        return (struct shape){one + 3, 0.3};
    }
    if (d->groups >= 2 && d->g[0].n == 3 && d->g[0].sep == ')' && d->g[1].n == 7 && nanp(d->digit))
        return (struct shape){2, 0.5};
    if (d->g[0].n == 10 && nanp(d->digit)) return (struct shape){1, 0.15};
    if (d->groups >= 2 && d->g[0].n == 3 && d->g[0].sep == '-' && d->g[1].n == 4)
        return (struct shape){2, 0.15};
    return (struct shape){0, 0};
}

/* 06 12 34 56 78 */
static bool french(const struct pii_number *d) {
    for (unsigned i = 0; i < 5; i++)
        if (i >= d->groups || d->g[i].n != 2 || (i && i < 4 && d->g[i].sep != d->g[0].sep))
            return false;
    return d->digit[0] == '0' && d->digit[1] != '0' && d->g[0].sep != '/';
}

static struct shape british(const struct pii_number *d) {
    static const unsigned shapes[][3] = {{5, 6, 0}, {5, 3, 3}, {3, 4, 4}, {4, 3, 4}};
    for (size_t i = 0; i < 4 && d->digit[0] == '0' && strchr("1237", d->digit[1]); i++) {
        unsigned k = 0;
        while (k < 3 && k < d->groups && d->g[k].n == shapes[i][k]) k++;
        if ((k == 3 || !shapes[i][k]) && d->g[0].sep != '/' && d->g[0].sep != '.')
            return (struct shape){k, 0.4};
    }
    return (struct shape){0, 0};
}

/* What any number of that many digits is, should the words speak of telephones: the groups that
 * hang together by one kind of separator after the first. */
static struct shape any(const struct pii_scan *s, const struct pii_number *d) {
    unsigned k = 1, n;
    char sep = 0;
    while (k < d->groups) {
        char now = d->g[k - 1].sep;
        if (k > 1 && sep && now != sep && now == ' ' && d->g[k - 1].to >= 7) break;
        if (d->g[k].to > 13) break;
        if (d->g[k].n < 2 || (k > 1 && d->g[k - 1].n > 5)) break;
        if (k > 1 || now != '/') sep = now;
        k++;
    }
    n = d->g[k - 1].to;
    if (d->digit[0] == '0') n--;
    if (d->n < 7 || n < 6 || d->g[0].n > 12 || !(s->places.lengths >> n & 1))
        return (struct shape){0, 0};
    if (d->digit[0] == '0' && d->digit[1] == '0') return (struct shape){0, 0};
    unsigned long long epoch = 0; /* seconds or milliseconds since 1970, of this age */
    for (unsigned i = 0; i < d->g[0].n; i++) epoch = epoch * 10 + (unsigned)(d->digit[i] - '0');
    bool seconds = d->g[0].n == 10 && epoch >= 1000000000 && epoch < 2000000000;
    if (k == 1 && seconds) return (struct shape){0, 0};
    return (struct shape){k, k == 1 ? 0.1 : 0.12};
}

size_t pii_phone(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c) {
    size_t on = international(s, d, c);
    unsigned char before = pii_before(s, d->start);
    if (on || before == '+') return on;
    /* the rest of a longer number that is none */
    bool rest = before == ' ' && d->start > 1 && pii_digit(pii_at(s, d->start - 2));
    bool paren = before == '(';
    struct shape best = {0, 0};
    if (s->places.america) best = american(d, paren && d->g[0].sep != ')');
    if (!best.groups && rest) return 0;
    if (!best.groups && s->places.france && french(d)) best = (struct shape){5, 0.45};
    if (!best.groups && s->places.britain) best = british(d);
    if (!best.groups && c->near[TOPIC_PHONE]) best = any(s, d);
    if (!best.groups || is_date(d, best.groups)) return 0;
    size_t start = d->start, end = d->g[best.groups - 1].end;
    if (paren && d->g[0].sep == ')') start--;
    if (amount_or_part(s, start, end)) return 0;
    double score = pii_score(best.base, c->near[TOPIC_PHONE], c->near[TOPIC_COUNTED]);
    return pii_found(s, PII_PHONE, start, end, score) ? end : 0;
}
