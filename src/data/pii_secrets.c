/* What opens doors: keys and tokens with a known beginning, private keys, signed tokens, and what
 * looks random beside a word for a secret. */
#include "base/base64.h"
#include "base/json.h"
#include "data/pii_int.h"

#include <math.h>

/* --- known beginnings */

/* letters and digits; with '_' and '-'; with '-'; capitals and digits */
enum body { BODY_ALNUM, BODY_URL, BODY_DASH, BODY_CAPITAL };

struct known {
    const char *prefix;
    enum body body;
    unsigned least, most; /* bytes after the prefix */
};

/* A prefix is found at its first '-' or '_', or at the letter of pii_known. */
static const struct known knowns[] = {
    {"sk-ant-", BODY_URL, 40, 200},     {"sk-proj-", BODY_URL, 20, 200},
    {"sk-svcacct-", BODY_URL, 20, 200}, {"sk-or-v1-", BODY_ALNUM, 32, 80},
    {"sk-", BODY_URL, 20, 200},         {"sk_live_", BODY_ALNUM, 16, 120},
    {"sk_test_", BODY_ALNUM, 16, 120},  {"rk_live_", BODY_ALNUM, 16, 120},
    {"rk_test_", BODY_ALNUM, 16, 120},  {"whsec_", BODY_ALNUM, 24, 80},
    {"github_pat_", BODY_URL, 40, 120}, {"ghp_", BODY_ALNUM, 30, 80},
    {"gho_", BODY_ALNUM, 30, 80},       {"ghu_", BODY_ALNUM, 30, 80},
    {"ghs_", BODY_ALNUM, 30, 80},       {"ghr_", BODY_ALNUM, 30, 80},
    {"glpat-", BODY_URL, 20, 60},       {"glsa_", BODY_URL, 36, 60},
    {"xoxb-", BODY_DASH, 20, 120},      {"xoxp-", BODY_DASH, 20, 120},
    {"xoxa-", BODY_DASH, 20, 120},      {"xoxr-", BODY_DASH, 20, 120},
    {"xoxs-", BODY_DASH, 20, 120},      {"xoxe-", BODY_DASH, 20, 160},
    {"xapp-", BODY_DASH, 20, 160},      {"hf_", BODY_ALNUM, 30, 40},
    {"npm_", BODY_ALNUM, 36, 36},       {"pypi-", BODY_URL, 50, 250},
    {"gsk_", BODY_ALNUM, 40, 80},       {"r8_", BODY_ALNUM, 30, 50},
    {"dop_v1_", BODY_ALNUM, 64, 64},    {"shpat_", BODY_ALNUM, 32, 32},
    {"shpss_", BODY_ALNUM, 32, 32},     {"xai-", BODY_ALNUM, 40, 100},
    {"lin_api_", BODY_ALNUM, 32, 60},   {"key-", BODY_ALNUM, 32, 32},
    {"AIza", BODY_URL, 35, 35},         {"AKIA", BODY_CAPITAL, 16, 16},
    {"ASIA", BODY_CAPITAL, 16, 16},
};

/* Most words before a hyphen are none of these: by the first letter, the lengths to the first '-'
 * or
 * '_', as bits. */
static bool may_be_known(unsigned char first, size_t n) {
    static const uint8_t lengths[26] = {
        ['s' - 'a'] = 1 << 2 | 1 << 5, ['r' - 'a'] = 1 << 2,
        ['w' - 'a'] = 1 << 5,          ['g' - 'a'] = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6,
        ['x' - 'a'] = 1 << 3 | 1 << 4, ['h' - 'a'] = 1 << 2,
        ['n' - 'a'] = 1 << 3,          ['p' - 'a'] = 1 << 4,
        ['d' - 'a'] = 1 << 3,          ['l' - 'a'] = 1 << 3,
        ['k' - 'a'] = 1 << 3,
    };
    return first >= 'a' && first <= 'z' && n < 8 && lengths[first - 'a'] >> n & 1;
}

static bool body_byte(enum body b, unsigned char c) {
    if (b == BODY_CAPITAL) return pii_upper(c) || pii_digit(c);
    return pii_alnum(c) || (b != BODY_ALNUM && c == '-') || (b == BODY_URL && c == '_');
}

/* bits per byte */
static double entropy(struct str t) {
    unsigned count[256] = {0};
    double h = 0;
    for (size_t i = 0; i < t.n; i++) count[(unsigned char)t.p[i]]++;
    for (int c = 0; c < 256; c++) {
        double p = (double)count[c] / (double)t.n;
        if (count[c]) h -= p * log2(p);
    }
    return h;
}

struct look {
    unsigned digits, upper, lower;
    unsigned changes, humps; /* of kind from one byte to the next; of them, "Ab" */
};

static struct look look_at(struct str t) {
    struct look l = {0};
    int last = 0;
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.p[i];
        int kind = pii_digit(c) ? 1 : pii_upper(c) ? 2 : pii_letter(c) ? 3 : 4;
        l.digits += kind == 1;
        l.upper += kind == 2;
        l.lower += kind == 3;
        l.changes += last && kind != last;
        l.humps += last == 2 && kind == 3;
        last = kind;
    }
    return l;
}

/* As drawn by lot: no words, no row of one letter. */
static bool random_looking(struct str t) {
    struct look l = look_at(t);
    return l.changes * 5 >= t.n && (l.digits >= 2 || (l.upper >= 4 && l.lower >= 4)) &&
           entropy(t) >= (t.n < 20 ? 2.8 : 3.2);
}

/* Nor a name in camel case with a digit to it. */
static bool no_name(struct str t) {
    struct look l = look_at(t);
    return (l.changes - l.humps) * 7 >= 2 * t.n && (l.digits >= 2 || entropy(t) >= 4.4);
}

static size_t known_at(struct pii_scan *s, size_t start) {
    if (pii_alnum(pii_before(s, start)) || pii_before(s, start) == '_') return 0;
    for (size_t i = 0; i < sizeof knowns / sizeof *knowns; i++) {
        const struct known *k = &knowns[i];
        struct str prefix = str_of(k->prefix), rest = str_from(s->text, start);
        if (!str_starts(rest, prefix)) continue;
        size_t body = start + prefix.n, end = body;
        while (end - body <= k->most && body_byte(k->body, pii_at(s, end))) end++;
        s->steps += end - start;
        while (end > body && !pii_alnum(pii_before(s, end))) end--;
        if (end - body < k->least || end - body > k->most) continue;
        struct str drawn = pii_part(s, body, end);
        bool random = k->body == BODY_CAPITAL ? entropy(drawn) > 2.8 : random_looking(drawn);
        if (!random || pii_alnum(pii_at(s, end))) continue;
        return pii_found(s, PII_SECRET, start, end, 0.95) ? end : 0;
    }
    return 0;
}

/* --- private keys: from the first line to the last */

#define BLOCK_MAX (1 << 14)

static size_t key_block(struct pii_scan *s, size_t at) {
    struct str rest = str_from(s->text, at);
    if (!str_starts(rest, STR_LIT("-----BEGIN "))) return 0;
    if (rest.n > 64) rest.n = 64;
    const char *what = memmem(rest.p, rest.n, "PRIVATE KEY", 11);
    s->steps += rest.n;
    if (!what) return 0;
    /* looked for once for all blocks that lack an end */
    if (!s->block_known || s->block_end < at) {
        struct str after = str_from(s->text, at);
        const char *end = memmem(after.p, after.n, "-----END ", 9);
        s->block_end = end ? (size_t)(end - s->text.p) : s->text.n;
        s->steps += s->block_end - at;
        s->block_known = true;
    }
    size_t end = s->block_end;
    if (end < s->text.n && end - at < BLOCK_MAX) {
        end += 9;
        for (int i = 0; i < 40 && end < s->text.n && pii_at(s, end) != '-'; i++) end++;
        while (pii_at(s, end) == '-') end++;
    } else { /* cut off: as far as it looks like a key */
        end = at + (size_t)(what - rest.p) + 11;
        while (pii_at(s, end) == '-') end++;
        while (pii_alnum(pii_at(s, end)) || (pii_at(s, end) && strchr("+/=\r\n\\", pii_at(s, end))))
            end++;
        s->steps += end - at;
    }
    return pii_found(s, PII_SECRET, at, end, 1) ? end : 0;
}

size_t pii_dash(struct pii_scan *s, size_t at) {
    unsigned char before = pii_before(s, at);
    size_t end = at + 1, on;
    if (pii_at(s, at + 1) == '-') {
        while (pii_at(s, end) == '-') end++;
        s->steps += end - at;
        if (end - at >= 5 && (on = key_block(s, end - 5))) return on;
        return end;
    }
    if (pii_hex(before) && pii_hex(pii_at(s, at + 1)) && pii_at(s, at) == '-' &&
        (on = pii_mac_dashed(s, at)) > end)
        return on;
    size_t start = at;
    while (start > 0 && at - start < 8 && pii_alnum(pii_before(s, start))) start--;
    if (!may_be_known(pii_at(s, start), at - start)) return end;
    on = known_at(s, start);
    return on ? on : end;
}

/* --- JSON web tokens */

#define JWT_HEAD_MAX 1024
#define JWT_BODY_MAX 8192

static size_t url64_end(struct pii_scan *s, size_t i) {
    size_t end = i;
    while (pii_alnum(pii_at(s, end)) || pii_at(s, end) == '-' || pii_at(s, end) == '_') end++;
    s->steps += end - i;
    return end;
}

static bool is_json(struct str part, size_t max) {
    struct buf padded, bytes;
    struct err err;
    json_t *v = NULL;
    if (part.n > max) return false;
    buf_init(&padded, max + 8);
    buf_init(&bytes, max + 8);
    for (size_t i = 0; i < part.n; i++)
        buf_byte(&padded, part.p[i] == '-' ? '+' : part.p[i] == '_' ? '/' : part.p[i]);
    while (padded.n % 4) buf_byte(&padded, '=');
    bool ok = base64_decode(buf_view(&padded), &bytes) &&
              !json_read(buf_view(&bytes), "token", &v, &err) && json_is_object(v);
    json_decref(v);
    buf_release(&padded);
    buf_release(&bytes);
    return ok;
}

static size_t jwt(struct pii_scan *s, size_t start) {
    size_t a = url64_end(s, start);
    if (pii_at(s, a) != '.' || !is_json(pii_part(s, start, a), JWT_HEAD_MAX)) return a;
    size_t b = url64_end(s, a + 1);
    struct str body = pii_part(s, a + 1, b);
    if (body.n < 8 || (body.n <= JWT_BODY_MAX && !is_json(body, JWT_BODY_MAX))) return b;
    size_t end = b;
    if (pii_at(s, b) == '.') end = url64_end(s, b + 1);
    if (end == b + 1) end = b;
    pii_found(s, PII_SECRET, start, end, 0.95);
    return end;
}

size_t pii_known(struct pii_scan *s, size_t at) {
    struct str here = str_from(s->text, at);
    size_t on = 0;
    if (*here.p == 'J' && at >= 2 && pii_at(s, at - 1) == 'y' && pii_at(s, at - 2) == 'e') {
        unsigned char c = pii_before(s, at - 2);
        if (!pii_alnum(c) && c != '_' && c != '-' && c != '.') on = jwt(s, at - 2);
    } else if (*here.p == 'K' && at >= 1 &&
               str_starts(str_from(s->text, at - 1), STR_LIT("AKIA"))) {
        on = known_at(s, at - 1);
    } else if (*here.p == 'z' && at >= 2 &&
               str_starts(str_from(s->text, at - 2), STR_LIT("AIza"))) {
        on = known_at(s, at - 2);
    }
    return on > at ? on : at + 1;
}

/* --- by entropy and the words before */

#define WORD_MAX 512

static bool secret_byte(unsigned char c) {
    return pii_alnum(c) || c == '+' || c == '/' || c == '_' || c == '-' || c == '=';
}

/* 8-4-4-4-12: names a thing */
static bool is_uuid(struct str t) {
    if (t.n != 36) return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? t.p[i] != '-' : !pii_hex((unsigned char)t.p[i])) return false;
    }
    return true;
}

static bool all_hex(struct str t) {
    for (size_t i = 0; i < t.n; i++)
        if (!pii_hex((unsigned char)t.p[i])) return false;
    return true;
}

/* A value of that kind directly after its name: "name = value", "name": "value", name is value. */
static bool assigned(struct pii_scan *s, size_t start, unsigned topics) {
    size_t i = start, name;
    bool sign = false;
    for (int k = 0; i > 0 && k < 8; k++, i--) {
        unsigned char c = pii_before(s, i);
        if (c == ':' || c == '=' || c == '>')
            sign = true;
        else if (c != ' ' && c != '"' && c != '\'' && c != '`' && c != '\\' && c != '*')
            break;
    }
    uint32_t word = pii_word_before(s, i, &name);
    if (word & 1u << TOPIC_IS && name > 1) {
        word = pii_word_before(s, name - 1, &name);
        sign = true;
    }
    return sign && word & topics;
}

static size_t by_entropy(struct pii_scan *s, size_t start, size_t end) {
    while (end > start && (pii_before(s, end) == '-' || pii_before(s, end) == '_')) end--;
    /* name=value */
    const char *sign = memchr(s->text.p + start, '=', end - start);
    if (sign && (size_t)(sign - s->text.p) + 3 < end) start = (size_t)(sign - s->text.p) + 1;
    struct str t = pii_part(s, start, end);
    unsigned char before = pii_before(s, start);
    if (t.n < 20 || is_uuid(t) || !random_looking(t) || !no_name(t) || before == '.' ||
        before == '#')
        return 0;
    if (str_starts(t, STR_LIT("ASIA")) && known_at(s, start)) return end;
    s->steps += 3 * t.n;
    bool named = assigned(s, start, 1u << TOPIC_SECRET);
    bool hex = all_hex(t);
    double least = hex ? 3.0 : named ? 3.6 : 4.0;
    if (entropy(t) < least || (hex && t.n < 32)) return 0;
    struct pii_context c = {{0}};
    if (!named) pii_context_of(s, start, end, &c);
    unsigned near = c.near[TOPIC_SECRET], against = c.near[TOPIC_COUNTED];
    if (!named && (!near || near > 5 || (hex && against && against <= near))) return 0;
    return pii_found(s, PII_SECRET, start, end, named ? 0.8 : 0.6) ? end : 0;
}

static bool password_byte(unsigned char c) {
    static const bool not [128] = {
        ['"'] = true, ['\''] = true, ['`'] = true, [','] = true, [';'] = true,
        ['<'] = true, ['>'] = true,  ['('] = true, [')'] = true, ['{'] = true,
        ['}'] = true, ['['] = true,  [']'] = true, ['|'] = true, ['\\'] = true,
    };
    return c > ' ' && c < 0x7F && !not [c];
}

/* password: value, with a letter and a digit */
static size_t by_name(struct pii_scan *s, size_t i) {
    size_t start = i, end = i;
    while (start > 0 && i - start < 40 && password_byte(pii_before(s, start)) &&
           pii_before(s, start) != '=' && pii_before(s, start) != ':')
        start--;
    while (end - start <= 64 && password_byte(pii_at(s, end))) end++;
    s->steps += end - start;
    while (end > start && (pii_before(s, end) == '.' || pii_before(s, end) == ':')) end--;
    struct look l = look_at(pii_part(s, start, end));
    if (end - start < 6 || end - start > 64 || !l.digits || !(l.upper + l.lower)) return 0;
    if (pii_at(s, start) == '$' || pii_at(s, start) == '*') return 0;
    if (!assigned(s, start, 1u << TOPIC_PASSWORD)) return 0;
    return pii_found(s, PII_SECRET, start, end, 0.6) ? end : 0;
}

/* A word goes on at this byte; a full stop and the like do so only before a letter or digit. */
static bool goes_on(unsigned char c, unsigned char beyond) {
    if (pii_alnum(c) || c == '_') return true;
    return c > ' ' && c < 0x7F && pii_alnum(beyond) && password_byte(c);
}

size_t pii_word(struct pii_scan *s, size_t i, size_t end) {
    /* digits alone are no secret; most are that */
    if (!goes_on(pii_before(s, i), i > 1 ? pii_at(s, i - 2) : 0) &&
        !goes_on(pii_at(s, end), pii_at(s, end + 1)))
        return 0;
    size_t start = i;
    while (start > 0 && i - start < WORD_MAX && secret_byte(pii_before(s, start))) start--;
    while (secret_byte(pii_at(s, end))) end++;
    s->word_end = end;
    s->steps += end - start;
    size_t on = 0;
    if (end - start >= 20 && end - start <= WORD_MAX) on = by_entropy(s, start, end);
    return on ? on : by_name(s, i);
}
