#include "text/scan.h"

#include "text/charclass.h"

#define LETTER_OR_NUMBER (CH_LETTER | CH_NUMBER)

static const struct {
    scan_fn *scan;
    const char *pattern;
} known[] = {
    {scan_gpt2,
     "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {scan_llama3, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {scan_qwen2, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                 " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
};
#define KNOWN (sizeof known / sizeof *known)

scan_fn *scan_for_pattern(struct str pattern) {
    for (size_t i = 0; i < KNOWN; i++)
        if (str_is(pattern, known[i].pattern)) return known[i].scan;
    return NULL;
}

struct str scan_pattern(scan_fn *scan) {
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].scan == scan) return str_of(known[i].pattern);
    return STR_LIT("");
}

static unsigned class_at(struct str s, size_t at, size_t *ret_n) {
    return char_class(char_at(s.p + at, ret_n));
}

/* The end of the characters from `at` on that have one of `bits`. */
static size_t run_with(struct str s, size_t at, unsigned bits) {
    size_t n;
    while (at < s.n && (class_at(s, at, &n) & bits)) at += n;
    return at;
}

static size_t run_without(struct str s, size_t at, unsigned bits) {
    size_t n;
    while (at < s.n && !(class_at(s, at, &n) & bits)) at += n;
    return at;
}

/* \s+(?!\S)|\s+ : white space up to the last one before a word, which belongs to that word */
static size_t spaces(struct str s) {
    size_t end = run_with(s, 0, CH_SPACE);
    if (end == s.n) return end;
    size_t last = char_last((struct str){s.p, end});
    return last ? last : end;
}

/* 's 't 'm 'd 're 've 'll at an apostrophe; 0: none */
static size_t contraction(struct str s) {
    if (s.n < 2) return 0;
    char a = s.p[1], b = s.n > 2 ? s.p[2] : '\0';
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* The same in any case; U+017F folds to s. */
static size_t contraction_any_case(struct str s) {
    char low[3] = {'\'', '\0', '\0'};
    for (size_t i = 1; i < 3 && i < s.n; i++)
        low[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + 32) : s.p[i];
    if (s.n >= 3 && memcmp(s.p + 1, "\xC5\xBF", 2) == 0) return 3;
    return contraction((struct str){low, s.n < 3 ? s.n : 3});
}

size_t scan_gpt2(struct str s) {
    if (s.p[0] == '\'') {
        size_t n = contraction(s);
        if (n) return n;
    }
    size_t n, at = s.p[0] == ' ' && s.n > 1;
    unsigned c = class_at(s, at, &n);
    if (c & CH_LETTER) return run_with(s, at + n, CH_LETTER);
    if (c & CH_NUMBER) return run_with(s, at + n, CH_NUMBER);
    if (!(c & CH_SPACE)) return run_without(s, at + n, CH_SPACE | LETTER_OR_NUMBER);
    return spaces(s);
}

static size_t newlines(struct str s, size_t at) {
    while (at < s.n && (s.p[at] == '\r' || s.p[at] == '\n')) at++;
    return at;
}

/* \s*[\r\n]+ where it matches, else as spaces() */
static size_t spaces_to_newline(struct str s) {
    size_t end = run_with(s, 0, CH_SPACE);
    for (size_t i = end; i > 0; i--)
        if (s.p[i - 1] == '\r' || s.p[i - 1] == '\n') return i;
    return spaces(s);
}

static size_t scan_modern(struct str s, int digits) {
    if (s.p[0] == '\'') {
        size_t n = contraction_any_case(s);
        if (n) return n;
    }
    size_t n, n2;
    unsigned c = class_at(s, 0, &n);
    if (c & CH_LETTER) return run_with(s, n, CH_LETTER);
    if (c & CH_NUMBER) {
        size_t at = n;
        while (--digits > 0 && at < s.n && (class_at(s, at, &n) & CH_NUMBER)) at += n;
        return at;
    }
    bool newline = s.p[0] == '\r' || s.p[0] == '\n';
    unsigned next = n < s.n ? class_at(s, n, &n2) : CH_SPACE;
    if (!newline && n < s.n && (next & CH_LETTER)) return run_with(s, n, CH_LETTER);
    if (!(c & CH_SPACE)) return newlines(s, run_without(s, n, CH_SPACE | LETTER_OR_NUMBER));
    if (s.p[0] == ' ' && n < s.n && !(next & (CH_SPACE | LETTER_OR_NUMBER)))
        return newlines(s, run_without(s, n, CH_SPACE | LETTER_OR_NUMBER));
    return spaces_to_newline(s);
}

size_t scan_llama3(struct str s) { return scan_modern(s, 3); }
size_t scan_qwen2(struct str s) { return scan_modern(s, 1); }
