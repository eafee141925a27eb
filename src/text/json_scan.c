/* See json_scan.h. A state machine with a stack of one bit a level. */
#include "text/json_scan.h"

#include "text/grammar_int.h"

enum {
    VALUE,       /* a value must come */
    FIRST_VALUE, /* behind `[`: a value or `]` */
    FIRST_KEY,   /* behind `{`: a key or `}` */
    KEY,         /* behind `,` in an object */
    COLON,
    AFTER, /* behind a value: `,` or an end */
    STRING,
    NUMBER,
    LITERAL,
    DONE,
};

/* of numbers */
enum { MINUS, ZERO, WHOLE, POINT, FRACTION, E, SIGN, EXPONENT };

static const char *const literals[] = {"null", "true", "false"};

void json_scan_init(struct json_scan *s) { *s = (struct json_scan){.state = VALUE}; }

static bool is_space(unsigned char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

static void end_value(struct json_scan *s) { s->state = s->depth ? AFTER : DONE; }

static bool open(struct json_scan *s, bool object) {
    if (s->depth >= JSON_SCAN_DEPTH) return false;
    s->objects[s->depth++] = object;
    s->state = object ? FIRST_KEY : FIRST_VALUE;
    return true;
}

static bool close(struct json_scan *s, bool object) {
    if (!s->depth || s->objects[s->depth - 1] != object) return false;
    s->depth--;
    end_value(s);
    return true;
}

static void begin(struct json_scan *s, uint8_t state, uint8_t inside) {
    s->state = state;
    s->inside = inside;
    s->is_key = false;
}

static bool begin_value(struct json_scan *s, unsigned char c) {
    switch (c) {
    case '{': return open(s, true);
    case '[': return open(s, false);
    case '"': return begin(s, STRING, STRING_BODY), true;
    case '-': return begin(s, NUMBER, MINUS), true;
    case '0': return begin(s, NUMBER, ZERO), true;
    case 'n': return begin(s, LITERAL, 1), true;
    case 't': return begin(s, LITERAL, 16 + 1), true;
    case 'f': return begin(s, LITERAL, 32 + 1), true;
    default: return is_digit(c) && (begin(s, NUMBER, WHOLE), true);
    }
}

static bool begin_key(struct json_scan *s, unsigned char c) {
    if (c != '"') return false;
    begin(s, STRING, STRING_BODY);
    s->is_key = true;
    return true;
}

static bool in_string(struct json_scan *s, unsigned char c) {
    unsigned to = string_next(s->inside, c);
    if (to == STRING_BAD) return false;
    s->inside = (uint8_t)to;
    if (to != STRING_END) return true;
    if (s->is_key)
        s->state = COLON;
    else
        end_value(s);
    return true;
}

/* 255: the number ended before c */
static unsigned number_next(unsigned at, unsigned char c) {
    bool e = c == 'e' || c == 'E';
    switch (at) {
    case MINUS: return c == '0' ? ZERO : is_digit(c) ? WHOLE : 254u;
    case ZERO: return c == '.' ? POINT : e ? E : 255u;
    case WHOLE: return is_digit(c) ? WHOLE : c == '.' ? POINT : e ? E : 255u;
    case POINT: return is_digit(c) ? FRACTION : 254u;
    case FRACTION: return is_digit(c) ? FRACTION : e ? E : 255u;
    case E: return c == '+' || c == '-' ? SIGN : is_digit(c) ? EXPONENT : 254u;
    case SIGN: return is_digit(c) ? EXPONENT : 254u;
    default: return is_digit(c) ? EXPONENT : 255u;
    }
}

static bool after_value(struct json_scan *s, unsigned char c) {
    bool object = s->objects[s->depth - 1];
    if (c == ',') {
        s->state = object ? KEY : VALUE;
        return true;
    }
    return c == (object ? '}' : ']') && close(s, object);
}

static bool in_number(struct json_scan *s, unsigned char c) {
    unsigned to = number_next(s->inside, c);
    if (to == 254) return false;
    if (to != 255) {
        s->inside = (uint8_t)to;
        return true;
    }
    end_value(s);
    return s->state == AFTER && (is_space(c) || after_value(s, c));
}

static bool in_literal(struct json_scan *s, unsigned char c) {
    const char *word = literals[s->inside >> 4];
    if (c != (unsigned char)word[s->inside & 15]) return false;
    s->inside++;
    if (!word[s->inside & 15]) end_value(s);
    return true;
}

bool json_scan_byte(struct json_scan *s, unsigned char c) {
    if (s->state == STRING) return in_string(s, c);
    if (s->state == NUMBER) return in_number(s, c);
    if (s->state == LITERAL) return in_literal(s, c);
    if (s->state == DONE) return false;
    if (is_space(c)) return true;
    switch (s->state) {
    case VALUE: return begin_value(s, c);
    case FIRST_VALUE: return c == ']' ? close(s, false) : begin_value(s, c);
    case FIRST_KEY: return c == '}' ? close(s, true) : begin_key(s, c);
    case KEY: return begin_key(s, c);
    case COLON: s->state = VALUE; return c == ':';
    default: return after_value(s, c);
    }
}

bool json_scan_done(const struct json_scan *s) { return s->state == DONE; }

/* the way from the middle of a string to its end */
static void close_string(unsigned at, struct buf *out) {
    static const char order[] = "\"\\u0dcnD"; /* one of them always leads on */
    for (int steps = 0; at != STRING_END && steps < 16; steps++) {
        unsigned to = STRING_BAD;
        const char *c = order;
        for (; *c && to == STRING_BAD; c += to == STRING_BAD)
            to = string_next(at, (unsigned char)*c);
        if (to == STRING_BAD) { /* inside a character: its last bytes */
            unsigned char tail = 0x80;
            while (tail < 0xC0 && (to = string_next(at, tail)) == STRING_BAD) tail++;
            buf_byte(out, (char)tail);
        } else {
            buf_byte(out, *c);
        }
        at = to;
    }
}

void json_scan_close(const struct json_scan *s, struct buf *out) {
    switch (s->state) {
    case VALUE: buf_z(out, "null"); break;
    case KEY: buf_z(out, "\"\":null"); break;
    case COLON: buf_z(out, ":null"); break;
    case STRING:
        close_string(s->inside, out);
        if (s->is_key) buf_z(out, ":null");
        break;
    case NUMBER:
        if (s->inside == MINUS || s->inside == POINT || s->inside == E || s->inside == SIGN)
            buf_byte(out, '0');
        break;
    case LITERAL: buf_z(out, literals[s->inside >> 4] + (s->inside & 15)); break;
    default: break;
    }
    for (uint16_t d = s->depth; d-- > 0;) buf_byte(out, s->objects[d] ? '}' : ']');
}
