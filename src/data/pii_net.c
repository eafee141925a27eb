/* Addresses of people and machines: e-mail, IPv4 and IPv6 that are routed in public, MAC. */
#include "base/utf8.h"
#include "data/pii_int.h"

/* --- e-mail */

#define LOCAL_MAX 64
#define DOMAIN_MAX 253

/* Top-level domains that are letters: those of countries, then others in use (a part of the root
 * zone; what is not here needs a word for mail near it). */
static const char countries[] =
    "acadaeafagaialamaoaqarasatauawaxazbabbbdbebfbgbhbibjbmbnbobrbsbtbvbwbybzcacccdcfcgchcickclcmcn"
    "cocrcucvcwcxcyczdedjdkdmdodzeceeegereseteufifjfkfmfofrgagbgdgegfggghgiglgmgngpgqgrgsgtgugwgyh"
    "k"
    "hmhnhrhthuidieiliminioiqirisitjejmjojpkekgkhkikmknkpkrkwkykzlalblclilklrlsltlulvlymamcmdmemgmh"
    "mk"
    "mlmmmnmompmqmrmsmtmumvmwmxmymznancnenfngninlnonpnrnunzompapepfpgphpkplpmpnprpsptpwpyqarerorsru"
    "rwsasbscsdsesgshsisjskslsmsnsosrssstsusvsxsysztctdtftgthtjtktltmtntotrtttvtwtzuaugukusuyuzvavc"
    "vevgvivnvuwfwsyeytzazmzw";
static const char *const names[] = {
    "academy",    "aero",          "africa",    "agency",     "amsterdam",  "app",
    "art",        "asia",          "bank",      "barcelona",  "bayern",     "berlin",
    "bio",        "biz",           "blog",      "business",   "capital",    "care",
    "cat",        "center",        "chat",      "church",     "city",       "clinic",
    "cloud",      "club",          "coach",     "codes",      "com",        "community",
    "company",    "consulting",    "coop",      "dental",     "design",     "dev",
    "digital",    "edu",           "education", "email",      "energy",     "engineering",
    "example",    "expert",        "family",    "finance",    "foundation", "fun",
    "games",      "gmbh",          "gov",       "group",      "hamburg",    "health",
    "help",       "host",          "hotel",     "inc",        "info",       "institute",
    "int",        "international", "jobs",      "koeln",      "land",       "law",
    "legal",      "life",          "link",      "live",       "llc",        "london",
    "ltd",        "media",         "mil",       "mobi",       "money",      "museum",
    "name",       "net",           "network",   "news",       "ngo",        "nyc",
    "one",        "ong",           "online",    "org",        "page",       "paris",
    "partners",   "photography",   "plus",      "press",      "pro",        "quebec",
    "realty",     "ruhr",          "school",    "scot",       "services",   "shop",
    "site",       "social",        "software",  "solutions",  "space",      "store",
    "studio",     "support",       "swiss",     "systems",    "team",       "tech",
    "technology", "tel",           "test",      "today",      "tokyo",      "tools",
    "top",        "training",      "travel",    "university", "vip",        "wales",
    "wang",       "web",           "website",   "wien",       "wiki",       "work",
    "works",      "world",         "xyz",       "zone",
};

static bool domain_known(struct str tld) {
    char low[20];
    if (tld.n < 2 || tld.n >= sizeof low) return false;
    for (size_t i = 0; i < tld.n; i++)
        low[i] = (char)(pii_upper((unsigned char)tld.p[i]) ? tld.p[i] + 32 : tld.p[i]);
    struct str t = {low, tld.n};
    for (size_t i = 0; t.n == 2 && countries[i]; i += 2)
        if (countries[i] == low[0] && countries[i + 1] == low[1]) return true;
    for (size_t i = 0; t.n > 2 && i < sizeof names / sizeof *names; i++)
        if (str_is(t, names[i])) return true;
    return t.n > 4 && str_starts(t, STR_LIT("xn--"));
}

static bool local_byte(unsigned char c) { return pii_alnum(c) || (c && strchr("._%+-&'~", c)); }

/* Letters with accents, Greek, Cyrillic ...: two bytes from U+00C0 on. */
static bool letter_of_two(const struct pii_scan *s, size_t end) {
    return end > 1 && (pii_before(s, end) & 0xC0) == 0x80 && pii_at(s, end - 2) >= 0xC3 &&
           pii_at(s, end - 2) < 0xE0;
}

/* Where the part before the sign begins; `at` if there is none. */
static size_t local_start(struct pii_scan *s, size_t at) {
    size_t i = at, low = at > LOCAL_MAX ? at - LOCAL_MAX : 0;
    while (i > low) {
        unsigned char c = pii_before(s, i);
        if (c == '.' && pii_at(s, i) == '.') break;
        if (local_byte(c))
            i--;
        else if (letter_of_two(s, i))
            i -= 2;
        else
            break;
    }
    s->steps += at - i;
    if (at - i >= LOCAL_MAX) return at;
    while (i < at && pii_at(s, i) < 0x80 && !pii_alnum(pii_at(s, i)) && pii_at(s, i) != '_') i++;
    if (i == at || pii_before(s, at) == '.' || pii_before(s, at) == '\'') return at;
    return i;
}

/* the label that begins at i: where it ends */
static size_t label_end(const struct pii_scan *s, size_t i, bool *ret_wide) {
    *ret_wide = false;
    for (;; i++) {
        unsigned char c = pii_at(s, i);
        if (c >= 0x80) {
            unsigned cp = 0;
            size_t n = utf8_get(str_from(s->text, i), &cp);
            if (n < 2 || cp < 0xC0 || (cp >= 0x2000 && cp < 0x2070) ||
                (cp >= 0x3000 && cp < 0x3005) || (cp >= 0xFF00 && cp < 0xFF20))
                return i;
            *ret_wide = true;
            i += n - 1;
        } else if (!pii_alnum(c) && c != '-') {
            return i;
        }
    }
}

static bool letters(struct str t) {
    for (size_t i = 0; i < t.n; i++)
        if (!pii_letter((unsigned char)t.p[i])) return false;
    return true;
}

/* The longest domain at i that ends in a known top-level domain, else in one of letters. */
static size_t domain_end(struct pii_scan *s, size_t i, bool *ret_known) {
    size_t start = i, known = 0, other = 0;
    for (int label = 0; i - start < DOMAIN_MAX; label++) {
        bool wide;
        size_t end = label_end(s, i, &wide);
        s->steps += end - i;
        if (end == i || end - i > 63 || end - start > DOMAIN_MAX) break;
        while (end > i && pii_before(s, end) == '-') end--;
        if (end == i || pii_at(s, i) == '-') break;
        struct str t = pii_part(s, i, end);
        if (label && ((wide && t.n > 3) || domain_known(t)))
            known = end;
        else if (label && t.n > 2 && letters(t))
            other = end;
        if (pii_at(s, end) != '.') break;
        i = end + 1;
    }
    *ret_known = known != 0;
    return known ? known : other;
}

/* scheme://user:password@host: the password is a secret, and this no address of a person */
static bool password_of_url(struct pii_scan *s, size_t at) {
    size_t i = at, low = at > 160 ? at - 160 : 0, colon = 0;
    for (; i > low; i--) {
        unsigned char c = pii_before(s, i);
        if (c <= ' ' || c == '"' || c == '\'' || c == '@' || c == '<') break;
        if (c == '/') break;
        if (c == ':') colon = i;
    }
    s->steps += at - i;
    if (i < 4 || pii_at(s, i - 1) != '/' || pii_at(s, i - 2) != '/' || pii_at(s, i - 3) != ':')
        return false;
    if (!colon || at - colon < 4 || colon - i < 2) return true;
    char first = (char)pii_at(s, colon);
    struct str password = pii_part(s, colon, at);
    if (str_is(password, "password") || str_is(password, "pass") || str_is(password, "secret"))
        return true;
    if (first != '$' && first != '<' && first != '{' && first != '*' && first != '%')
        pii_found(s, PII_SECRET, colon, at, 0.9);
    return true;
}

size_t pii_email(struct pii_scan *s, size_t at) {
    if (!pii_alnum(pii_at(s, at + 1)) && pii_at(s, at + 1) < 0xC3) return at + 1;
    if (at == 0 || password_of_url(s, at)) return at + 1;
    size_t start = local_start(s, at);
    if (start == at) return at + 1;
    bool known;
    size_t end = domain_end(s, at + 1, &known);
    if (!end || pii_at(s, end) == '@') return at + 1;
    /* git@host:path names a repository */
    if (pii_at(s, end) == ':' && str_is(pii_part(s, start, at), "git")) return end;
    double score = 0.95;
    if (!known) {
        struct pii_context c;
        pii_context_of(s, start, end, &c);
        score = pii_score(0.2, c.near[TOPIC_EMAIL], 0);
    }
    return pii_found(s, PII_EMAIL, start, end, score) ? end : at + 1;
}

/* --- IP */

struct net {
    uint32_t address;
    int bits;
};

/* What is not routed in public (IANA special-purpose registry): private, loopback, documentation,
 * multicast and the like. */
static bool special(uint32_t a) {
    static const struct net nets[] = {
        {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
        {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0586300, 24}, {0xC0A80000, 16},
        {0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24}, {0xE0000000, 3},
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if ((a ^ nets[i].address) >> (32 - nets[i].bits) == 0) return true;
    return false;
}

/* 34.64.0.0/10 is a network, no machine */
static bool network(const struct pii_scan *s, size_t end, uint32_t a) {
    unsigned char x = pii_at(s, end + 1), y = pii_at(s, end + 2);
    if (pii_at(s, end) != '/' || !pii_digit(x)) return false;
    unsigned bits = x - (unsigned)'0';
    if (pii_digit(y)) bits = bits * 10 + y - (unsigned)'0';
    return bits < 32 && (uint32_t)(a << bits) == 0;
}

size_t pii_ipv4(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c) {
    uint32_t a = 0;
    bool small = true;
    for (unsigned i = 0, at = 0; i < 4; at += d->g[i++].n) {
        if (d->g[i].n > 3 || (d->g[i].n > 1 && d->digit[at] == '0')) return 0;
        if (i < 3 && d->g[i].sep != '.') return 0;
        unsigned x = 0;
        for (unsigned k = 0; k < d->g[i].n; k++) x = x * 10 + (unsigned)(d->digit[at + k] - '0');
        if (x > 255) return 0;
        small &= x < 32;
        a = a << 8 | x;
    }
    size_t start = d->start, end = d->g[3].end;
    unsigned char before = pii_before(s, start), after = pii_at(s, end);
    if (pii_alnum(after) || after == '_' || (after == '.' && pii_alnum(pii_at(s, end + 1))))
        return 0;
    /* Chrome/120.0.0.0 */
    if (before == '/' && pii_alnum(start > 1 ? pii_at(s, start - 2) : 0)) return 0;
    if (before == '.' || before == '_' || special(a) || network(s, end, a)) return 0;
    double base = small ? 0.3 : 0.65;
    double score = pii_score(base, c->near[TOPIC_IP], c->near[TOPIC_VERSION]);
    return pii_found(s, PII_IP, start, end, score) ? end : 0;
}

static unsigned hex_of(unsigned char c) {
    return (unsigned)(pii_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
}

/* Eight groups of up to four hex digits, one run of zeros left out as "::". */
static bool ipv6_read(struct str t, uint16_t ret[8]) {
    int n = 0, gap = -1;
    size_t i = 0;
    while (i < t.n) {
        if (t.p[i] == ':') {
            if (i + 1 >= t.n || t.p[i + 1] != ':' || gap >= 0) return false;
            gap = n;
            i += 2;
            continue;
        }
        unsigned x = 0, digits = 0;
        for (; i < t.n && pii_hex((unsigned char)t.p[i]); i++, digits++)
            x = x << 4 | hex_of((unsigned char)t.p[i]);
        if (!digits || digits > 4 || n == 8) return false;
        ret[n++] = (uint16_t)x;
        if (i < t.n && t.p[i] != ':') return false;
        if (i < t.n && !(i + 1 < t.n && t.p[i + 1] == ':')) i++;
    }
    if (gap < 0) return n == 8;
    if (n > 7) return false;
    for (int k = 7; k >= gap; k--) ret[k] = k - (8 - n) >= gap ? ret[k - (8 - n)] : 0;
    return true;
}

/* routed in public: 2000::/3 without documentation, tunnels and the special part of 2001::/23 */
static bool ipv6_public(const uint16_t a[8]) {
    if (a[0] >> 13 != 1) return false;
    if (a[0] == 0x2001 && (a[1] < 0x200 || a[1] == 0xDB8)) return false;
    return a[0] != 0x2002 && !(a[0] == 0x3FFF && a[1] < 0x1000);
}

static bool mac_read(struct str t, char sep) {
    unsigned all = 0, any = 0xFF;
    if (t.n != 17) return false;
    for (size_t i = 0; i < 17; i++) {
        unsigned char c = (unsigned char)t.p[i];
        if (i % 3 == 2 ? c != (unsigned char)sep : !pii_hex(c)) return false;
        if (i % 3 != 1) continue;
        unsigned x = hex_of((unsigned char)t.p[i - 1]) << 4 | hex_of(c);
        all |= x;
        any &= x;
    }
    return all && any != 0xFF;
}

#define IP6_MAX 39

size_t pii_colon(struct pii_scan *s, size_t at) {
    size_t start = at, end = at;
    if (!pii_hex(pii_before(s, at)) || !(pii_hex(pii_at(s, at + 1)) || pii_at(s, at + 1) == ':'))
        return at + 1;
    while (start > 0 && at - start < 5 && pii_hex(pii_before(s, start))) start--;
    unsigned char before = pii_before(s, start), after;
    if (pii_alnum(before) || before == '_' || before == ':' || before == '.') return at + 1;
    while (end - start <= IP6_MAX && (pii_hex(pii_at(s, end)) || pii_at(s, end) == ':')) end++;
    s->steps += end - start;
    if (end - start > IP6_MAX) return at + 1;
    if (pii_before(s, end) == ':' && pii_before(s, end - 1) != ':') end--;
    after = pii_at(s, end);
    if (pii_alnum(after) || after == '_' || (after == '.' && pii_digit(pii_at(s, end + 1))))
        return at + 1;
    struct str t = pii_part(s, start, end);
    uint16_t a[8];
    bool found = false;
    if (mac_read(t, ':'))
        found = pii_found(s, PII_MAC, start, end, 0.8);
    else if (t.n > 5 && ipv6_read(t, a) && ipv6_public(a))
        found = pii_found(s, PII_IP, start, end, 0.8);
    return found ? end : at + 1;
}

size_t pii_mac_dashed(struct pii_scan *s, size_t at) {
    if (at < 2 || pii_at(s, at + 3) != '-' || at + 15 > s->text.n) return at + 1;
    size_t start = at - 2, end = start + 17;
    unsigned char before = pii_before(s, start), after = pii_at(s, end);
    if (pii_alnum(before) || before == '-' || before == '_') return at + 1;
    if (pii_alnum(after) || after == '-' || after == '_') return at + 1;
    struct str t = pii_part(s, start, end);
    if (!mac_read(t, '-')) return at + 1;
    bool named = false;
    for (size_t i = 0; i < t.n; i++) named |= pii_letter((unsigned char)t.p[i]);
    struct pii_context c;
    pii_context_of(s, start, end, &c);
    double score = pii_score(named ? 0.7 : 0.2, c.near[TOPIC_MAC], 0);
    return pii_found(s, PII_MAC, start, end, score) ? end : at + 1;
}
