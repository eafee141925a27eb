/* Normalising and cutting text. ASCII, which most text is, goes by a table; the rest through
 * utf8proc one character at a time. */
#include "data/words.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <utf8proc.h>

/* --- normal form --- */

/* Marks that are laid over letters of any kind, and vowel points that are left out at will. Marks
 * that spell (kana's voicing, Indic vowels) are not among them. */
static bool is_stripped(unsigned cp) {
    return (cp >= 0x300 && cp <= 0x36F) || (cp >= 0x591 && cp <= 0x5C7) ||
           (cp >= 0x64B && cp <= 0x65F) || (cp >= 0x1AB0 && cp <= 0x1AFF) ||
           (cp >= 0x1DC0 && cp <= 0x1DFF) || (cp >= 0x20D0 && cp <= 0x20FF) ||
           (cp >= 0xFE00 && cp <= 0xFE0F) || (cp >= 0xFE20 && cp <= 0xFE2F) || cp == 0x640;
}

struct normal {
    struct buf *out;
    size_t from; /* where this text begins */
    bool space;  /* one is due before the next character */
};

static void put_space(struct normal *n) {
    if (n->space && n->out->n > n->from) buf_byte(n->out, ' ');
    n->space = false;
}

static void put_folded(struct normal *n, unsigned cp) {
    if (is_stripped(cp)) return;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC: n->space = true; return;
    case UTF8PROC_CATEGORY_CF: return;
    default: break;
    }
    put_space(n);
    if (cp == 0x2019 || cp == 0x2018) cp = '\'';
    if (cp == 0x201C || cp == 0x201D) cp = '"';
    if ((cp >= 0x2010 && cp <= 0x2015) || cp == 0x2212) cp = '-';
    buf_utf8(n->out, cp);
}

static size_t put_wide(struct normal *n, struct str rest) {
    unsigned cp;
    size_t bytes = utf8_get(rest, &cp);
    if (!bytes) {
        put_folded(n, 0xFFFD);
        return 1;
    }
    utf8proc_int32_t parts[32];
    int last = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char(
        (utf8proc_int32_t)cp, parts, 32,
        UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, &last);
    if (count < 0 || count > 32) {
        put_folded(n, cp);
        return bytes;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) put_folded(n, (unsigned)parts[i]);
    return bytes;
}

/* A run of ASCII, straight into the room that was reserved for it. */
static size_t put_ascii(struct normal *n, struct str rest) {
    size_t i = 0;
    if (!buf_reserve(n->out, rest.n + 1)) return rest.n;
    char *out = n->out->p + n->out->n;
    bool any = n->out->n > n->from;
    for (; i < rest.n && (unsigned char)rest.p[i] < 0x80; i++) {
        unsigned char c = (unsigned char)rest.p[i];
        if (c <= ' ' || c == 0x7F) {
            n->space = true;
            continue;
        }
        if (n->space && any) *out++ = ' ';
        n->space = false;
        any = true;
        *out++ = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    *out = '\0';
    n->out->n = (size_t)(out - n->out->p);
    return i;
}

void text_normalise(struct str text, struct buf *out) {
    struct normal n = {.out = out, .from = out->n};
    for (size_t i = 0; i < text.n;) {
        if ((unsigned char)text.p[i] < 0x80)
            i += put_ascii(&n, str_from(text, i));
        else
            i += put_wide(&n, str_from(text, i));
    }
}

/* --- words --- */

enum kind { GAP, LETTER, DIGIT, SIGN, POINT, QUOTE, ALONE, MARK };

static enum kind kind_ascii(unsigned char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return LETTER;
    if (c >= '0' && c <= '9') return DIGIT;
    switch (c) {
    case '+':
    case '-':
    case '*':
    case '/':
    case '=':
    case '<':
    case '>':
    case '%':
    case '^':
    case '~':
    case '&':
    case '|':
    case '$': return SIGN;
    case '.':
    case ',': return POINT;
    case '\'': return QUOTE;
    default: return GAP;
    }
}

static bool is_alone(unsigned cp) {
    return (cp >= 0xE00 && cp <= 0xEFF) || (cp >= 0x1000 && cp <= 0x109F) ||
           (cp >= 0x1780 && cp <= 0x17FF) || (cp >= 0x3040 && cp <= 0x30FF) ||
           (cp >= 0x3400 && cp <= 0x4DBF) || (cp >= 0x4E00 && cp <= 0x9FFF) ||
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x20000 && cp <= 0x3FFFF);
}

static enum kind kind_wide(unsigned cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME)
        return MARK;
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
        return is_alone(cp) ? ALONE : LETTER;
    if (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) return DIGIT;
    if (c >= UTF8PROC_CATEGORY_SM && c <= UTF8PROC_CATEGORY_SO) return SIGN;
    return c == UTF8PROC_CATEGORY_CO ? LETTER : GAP;
}

static enum kind kind_at(struct str s, size_t i, size_t *ret_bytes) {
    unsigned cp;
    *ret_bytes = 1;
    if (i >= s.n) return GAP;
    if ((unsigned char)s.p[i] < 0x80) return kind_ascii((unsigned char)s.p[i]);
    size_t bytes = utf8_get(str_from(s, i), &cp);
    if (!bytes) return GAP;
    *ret_bytes = bytes;
    return kind_wide(cp);
}

#define FNV_START 0x811c9dc5u
#define FNV_STEP 0x01000193u

static uint32_t finish(uint32_t h, bool number) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    h ^= h >> 16;
    return (h & ~1u) | number;
}

uint32_t word_hash(struct str word) {
    uint32_t h = FNV_START;
    bool number = false;
    for (size_t i = 0; i < word.n; i++) {
        h = (h ^ (unsigned char)word.p[i]) * FNV_STEP;
        number |= word.p[i] >= '0' && word.p[i] <= '9';
    }
    return finish(h, number);
}

static void push(struct words *w, uint32_t hash, size_t start, size_t end, bool joined) {
    mem_grow((void **)&w->list, &w->cap, w->n + 1, sizeof *w->list);
    mem_grow((void **)&w->at, &w->at_cap, w->n + 1, sizeof *w->at);
    w->list[w->n] = hash;
    w->at[w->n++] = (struct word_at){(uint32_t)start, (uint32_t)(end - start) & INT32_MAX, joined};
}

/* A run of letters and digits from i on; returns its end. */
static size_t take_word(struct words *w, struct str s, size_t i, bool joined) {
    uint32_t h = FNV_START;
    bool number = false;
    size_t start = i, bytes, next;
    enum kind last = GAP;
    for (; i < s.n; i += bytes) {
        enum kind k = kind_at(s, i, &bytes);
        if (k == QUOTE && last == LETTER && kind_at(s, i + 1, &next) == LETTER) continue;
        if (k == POINT && !(last == DIGIT && kind_at(s, i + 1, &next) == DIGIT)) break;
        if (k != LETTER && k != DIGIT && k != MARK && k != POINT) break;
        for (size_t b = 0; b < bytes; b++) h = (h ^ (unsigned char)s.p[i + b]) * FNV_STEP;
        number |= k == DIGIT;
        last = k;
    }
    push(w, finish(h, number), start, i, joined);
    return i;
}

/* One character and the marks on it. */
static size_t take_alone(struct words *w, struct str s, size_t i, size_t bytes) {
    size_t end = i + bytes, more;
    while (kind_at(s, end, &more) == MARK) end += more;
    push(w, word_hash((struct str){s.p + i, end - i}), i, end, false);
    w->wide++;
    return end;
}

void words_add(struct words *w, struct str s) {
    size_t bytes, next;
    enum kind before = GAP;
    bool joined = false;
    if (s.n > UINT32_MAX) s.n = UINT32_MAX;
    for (size_t i = 0; i < s.n;) {
        enum kind k = kind_at(s, i, &bytes);
        switch (k) {
        case LETTER:
        case DIGIT:
        case MARK: i = take_word(w, s, i, joined); break;
        case ALONE: i = take_alone(w, s, i, bytes); break;
        case SIGN:
            if (before != LETTER || kind_at(s, i + bytes, &next) != LETTER)
                push(w, word_hash((struct str){s.p + i, bytes}) | 1, i, i + bytes, joined);
            i += bytes;
            break;
        default: i += bytes; break;
        }
        if (k == ALONE)
            joined = false;
        else if (k != GAP && k != POINT && k != QUOTE)
            joined = true;
        else if (s.p[i - 1] == ' ')
            joined = false;
        before = k == DIGIT || k == MARK ? LETTER : k;
    }
}

void words_clear(struct words *w) { w->n = w->wide = 0; }

void words_release(struct words *w) {
    mem_free(w->list);
    mem_free(w->at);
    *w = (struct words){0};
}

/* --- content --- */

static uint64_t mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 29;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* eight bytes, or what is left, the first lowest */
static uint64_t load(const unsigned char *b, size_t left) {
    uint64_t v = 0;
    if (left >= 8)
        return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 |
               (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 |
               (uint64_t)b[7] << 56;
    for (size_t j = 0; j < left; j++) v |= (uint64_t)b[j] << 8 * j;
    return v;
}

uint64_t content_hash(uint64_t seed, const void *p, size_t n) {
    const unsigned char *b = p;
    uint64_t h = mix(seed + 0x9e3779b97f4a7c15u * (n + 1));
    for (size_t i = 0; i < n; i += 8) {
        h = (h ^ load(b + i, n - i)) * 0xff51afd7ed558ccdu;
        h ^= h >> 33;
    }
    return mix(h);
}
