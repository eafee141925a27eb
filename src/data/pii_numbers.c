/* Numbers with check digits: cards, bank accounts, US social security and routing numbers; and
 * the groups of digits that the telephone and address detectors look at. */
#include "data/pii_int.h"

bool pii_luhn(const char *digit, unsigned n) {
    unsigned sum = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned x = (unsigned)(digit[n - 1 - i] - '0');
        sum += i % 2 ? (x > 4 ? 2 * x - 9 : 2 * x) : x;
    }
    return sum % 10 == 0;
}

/* What stands between two groups at i, its length; *ret_sep is what it counts as. No-break spaces
 * and hyphens count as the plain ones. */
static size_t separator(const struct pii_scan *s, size_t i, char *ret_sep) {
    unsigned char a = pii_at(s, i), b = pii_at(s, i + 1), c = pii_at(s, i + 2);
    *ret_sep = (char)a;
    if (a == ')') return b == ' ' || b == '-' ? 2 : 1;
    if (a == ' ' && b == '(') return *ret_sep = ' ', 2;
    if (a == ' ' || a == '-' || a == '.' || a == '/') return 1;
    *ret_sep = ' ';
    if (a == 0xC2 && b == 0xA0) return 2;
    if (a == 0xE2 && b == 0x80 && c == 0xAF) return 3;
    *ret_sep = '-';
    if (a == 0xE2 && b == 0x80 && (c == 0x90 || c == 0x91)) return 3;
    return 0;
}

/* Groups of digits from i on, whose first ends at `end`: as many as fit whole. */
static void read_groups(struct pii_scan *s, size_t i, size_t end, struct pii_number *d) {
    d->start = d->end = i;
    d->n = d->groups = 0;
    while (d->groups < PII_GROUPS && end - i <= PII_DIGITS - d->n) {
        memcpy(d->digit + d->n, s->text.p + i, end - i);
        d->n += (unsigned)(end - i);
        d->g[d->groups].start = i;
        d->g[d->groups].end = d->end = end;
        d->g[d->groups].n = (unsigned)(end - i);
        d->g[d->groups++].to = d->n;
        char sep;
        size_t skip = separator(s, end, &sep);
        if (!skip || !pii_digit(pii_at(s, end + skip))) break;
        d->g[d->groups - 1].sep = sep;
        i = end = end + skip;
        while (pii_digit(pii_at(s, end)) && end - i <= PII_DIGITS) end++;
    }
    if (d->groups) d->g[d->groups - 1].sep = 0;
    s->steps += d->end - d->start;
}

/* Nothing of a number, a word or a name goes on before i. */
static bool begins(const struct pii_scan *s, size_t i) {
    unsigned char a = pii_before(s, i), b = i > 1 ? pii_at(s, i - 2) : 0;
    if (pii_alnum(a) || a == '_') return false;
    if ((a == '.' || a == ',') && pii_digit(b)) return false;
    return !(a == '-' && (pii_alnum(b) || b == '_'));
}

/* nor behind end */
static bool ends(const struct pii_scan *s, size_t end) {
    unsigned char a = pii_at(s, end), b = pii_at(s, end + 1);
    if (pii_alnum(a) || a == '_' || a == '%') return false;
    if (a == '.' && pii_digit(b)) return false;
    return !(a == '-' && pii_alnum(b));
}

/* --- cards */

struct range {
    unsigned low, high, from, to; /* of the first six digits; lengths */
    bool sure;                    /* common enough to stand without a word near it */
};

static const struct range issuers[] = {
    {400000, 499999, 16, 16, true},  {400000, 499999, 13, 13, false},
    {400000, 499999, 19, 19, false}, {510000, 559999, 16, 16, true},
    {222100, 272099, 16, 16, true},  {340000, 349999, 15, 15, true},
    {370000, 379999, 15, 15, true},  {601100, 601199, 16, 19, true},
    {644000, 659999, 16, 19, true},  {300000, 305999, 14, 14, true},
    {309500, 309599, 14, 14, true},  {360000, 369999, 14, 19, true},
    {380000, 399999, 14, 19, true},  {352800, 358999, 16, 19, true},
    {620000, 629999, 16, 19, true},  {810000, 817199, 16, 19, false},
    {500000, 509999, 12, 19, false}, {560000, 589999, 12, 19, false},
    {630400, 630499, 12, 19, false}, {670000, 679999, 12, 19, false},
    {220000, 220499, 16, 19, true},  {600000, 609999, 16, 16, false},
};

static const struct range *issuer_of(const char *digit, unsigned n) {
    unsigned first = 0;
    for (int i = 0; i < 6; i++) first = first * 10 + (unsigned)(digit[i] - '0');
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++)
        if (first >= issuers[i].low && first <= issuers[i].high && n >= issuers[i].from &&
            n <= issuers[i].to)
            return &issuers[i];
    return NULL;
}

/* As printed on cards: one group, fours with a shorter last one, 4-6-5 or 4-6-4. */
static bool card_shape(const struct pii_number *d, unsigned groups) {
    if (groups == 1) return true;
    char sep = d->g[0].sep;
    if (sep != ' ' && sep != '-' && sep != '.') return false;
    for (unsigned i = 0; i + 1 < groups; i++)
        if (d->g[i].sep != sep) return false;
    if (groups == 3) return d->g[0].n == 4 && d->g[1].n == 6 && d->g[2].n >= 4 && d->g[2].n <= 5;
    for (unsigned i = 0; i + 1 < groups; i++)
        if (d->g[i].n != 4) return false;
    return groups >= 4 && groups <= 5 && d->g[groups - 1].n <= 4;
}

static size_t card(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c) {
    for (unsigned k = d->groups; k > 0; k--) {
        unsigned n = d->g[k - 1].to;
        if (n < 12 || n > 19 || !card_shape(d, k) || !ends(s, d->g[k - 1].end)) continue;
        const struct range *issuer = issuer_of(d->digit, n);
        if (!issuer || !pii_luhn(d->digit, n)) continue;
        double base = !issuer->sure ? 0.2 : k > 1 ? 0.8 : 0.6;
        double score = pii_score(base, c->near[TOPIC_CARD], c->near[TOPIC_COUNTED]);
        if (pii_found(s, PII_CREDIT_CARD, d->start, d->g[k - 1].end, score)) return d->g[k - 1].end;
    }
    return 0;
}

/* --- US social security and routing numbers */

static unsigned number_of(const char *digit, unsigned n) {
    unsigned x = 0;
    for (unsigned i = 0; i < n; i++) x = x * 10 + (unsigned)(digit[i] - '0');
    return x;
}

static size_t ssn(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c) {
    bool split = d->groups >= 3 && d->g[0].n == 3 && d->g[1].n == 2 && d->g[2].n == 4 &&
                 d->g[0].sep == d->g[1].sep && d->g[0].sep != '/' && d->g[0].sep != ')';
    if (!split && d->g[0].n != 9) return 0;
    size_t end = d->g[split ? 2 : 0].end;
    unsigned area = number_of(d->digit, 3), group = number_of(d->digit + 3, 2);
    unsigned serial = number_of(d->digit + 5, 4);
    if (area == 0 || area == 666 || area >= 900 || group == 0 || serial == 0) return 0;
    if (area == 78 && group == 5 && serial == 1120) return 0; /* was printed on sample cards */
    if (!ends(s, end)) return 0;
    double base = !split ? 0.1 : d->g[0].sep == '-' ? 0.55 : 0.2;
    double score = pii_score(base, c->near[TOPIC_SSN], c->near[TOPIC_COUNTED]);
    return pii_found(s, PII_SSN, d->start, end, score) ? end : 0;
}

static size_t routing(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c) {
    if (d->g[0].n != 9 || !c->near[TOPIC_ROUTING] || !ends(s, d->g[0].end)) return 0;
    static const unsigned weight[] = {3, 7, 1};
    unsigned sum = 0, first = number_of(d->digit, 2);
    for (unsigned i = 0; i < 9; i++) sum += weight[i % 3] * (unsigned)(d->digit[i] - '0');
    bool bank =
        first <= 12 || (first >= 21 && first <= 32) || (first >= 61 && first <= 72) || first == 80;
    if (sum % 10 || !bank || !number_of(d->digit, 4)) return 0;
    double score = pii_score(0.2, c->near[TOPIC_ROUTING], c->near[TOPIC_COUNTED]);
    return pii_found(s, PII_ROUTING, d->start, d->g[0].end, score) ? d->g[0].end : 0;
}

/* --- IBAN */

/* Country and length, ISO 13616. */
static const char ibans[] =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24"
    "FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32"
    "LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24"
    "RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

static unsigned iban_length(const char *country) {
    for (const char *p = ibans; *p; p += 4)
        if (p[0] == country[0] && p[1] == country[1])
            return (unsigned)(p[2] - '0') * 10 + (unsigned)(p[3] - '0');
    return 0;
}

static unsigned mod97(unsigned rest, char c) {
    if (pii_digit((unsigned char)c)) return (rest * 10 + (unsigned)(c - '0')) % 97;
    return (rest * 100 + (unsigned)(c - 'A' + 10)) % 97;
}

/* Two letters before the digits at i: the whole number, with single spaces or hyphens. */
static size_t iban(struct pii_scan *s, size_t i) {
    if (i < 2 || !pii_letter(pii_at(s, i - 1)) || !pii_letter(pii_at(s, i - 2))) return 0;
    if (pii_alnum(pii_before(s, i - 2)) || !pii_digit(pii_at(s, i + 1))) return 0;
    char c[40];
    unsigned n = 0;
    size_t at = i - 2, end = at;
    unsigned length = 4;
    while (n < length) {
        unsigned char x = pii_at(s, at);
        if ((x == ' ' || x == '-') && n >= 4 && pii_alnum(pii_at(s, at + 1))) x = pii_at(s, ++at);
        if (!pii_alnum(x)) return 0;
        c[n++] = (char)(pii_letter(x) ? x & ~32 : x);
        end = ++at;
        if (n == 2 && !(length = iban_length(c))) return 0;
    }
    s->steps += end - i;
    if (pii_alnum(pii_at(s, end))) return 0;
    unsigned rest = 0, digits = 0;
    for (unsigned k = 0; k < n; k++) rest = mod97(rest, c[(k + 4) % n]);
    for (unsigned k = 0; k < n; k++) digits += pii_digit((unsigned char)c[k]);
    if (rest != 1 || digits < 8) return 0;
    return pii_found(s, PII_IBAN, i - 2, end, 0.95) ? end : 0;
}

size_t pii_numbers(struct pii_scan *s, size_t i, size_t end) {
    size_t on = iban(s, i);
    if (on) return on;
    char sep;
    if (end - i > 19 || (end - i < 7 && !separator(s, end, &sep)) || !begins(s, i)) return end;
    struct pii_number d;
    struct pii_context c;
    read_groups(s, i, end, &d);
    bool dotted = d.groups >= 4 && d.g[0].sep == '.';
    if (d.n < 7 && !dotted) return end;
    pii_context_of(s, d.start, d.end, &c);
    if (dotted && (on = pii_ipv4(s, &d, &c))) return on;
    if ((on = card(s, &d, &c))) return on;
    if ((on = ssn(s, &d, &c)) > end) end = on;
    if ((on = routing(s, &d, &c)) > end) end = on;
    if ((on = pii_phone(s, &d, &c)) > end) end = on;
    return end;
}
