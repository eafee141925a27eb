/* Where records begin and end. Resumable at any byte, so that a file of any size passes through a
 * block of some megabytes; a record is never looked at twice. */
#include "data/source_int.h"

#include <string.h>

#define TEXT_BYTES 2048 /* paragraphs are gathered until there are as many */
#define BLANK_BYTES 65536

void cutter_init(struct cutter *c, enum layout layout, char delim) {
    *c = (struct cutter){.layout = layout, .delim = delim, .line = 1, .field_start = true};
    if (layout == LAYOUT_VALUES) c->frame = FRAME_VALUES;
}

static void begin(struct cutter *c) {
    c->inside = true;
    c->start = c->at;
    c->first_line = c->line;
}

static bool end_at(struct cutter *c, size_t end, const char *problem, struct piece *ret) {
    *ret = (struct piece){c->start, end, c->first_line, problem};
    c->inside = false;
    return true;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool is_blank(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!is_space(s.p[i])) return false;
    return true;
}

static bool is_blank_record(const struct cutter *c, struct str block, size_t end) {
    return !c->skipping && is_blank((struct str){block.p + c->start, end - c->start});
}

/* --- lines --------------------------------------------------------------------------------- */

static bool next_line(struct cutter *c, struct str block, bool at_end, struct piece *ret) {
    while (c->inside || c->at < block.n) {
        if (!c->inside) begin(c);
        const char *nl = memchr(block.p + c->at, '\n', block.n - c->at);
        if (!nl && !at_end) {
            c->at = block.n;
            return false;
        }
        size_t end = nl ? (size_t)(nl - block.p) : block.n;
        c->at = nl ? end + 1 : end;
        c->line++;
        if (is_blank_record(c, block, end))
            c->inside = false;
        else
            return end_at(c, end, NULL, ret);
    }
    return false;
}

/* --- JSON values ---------------------------------------------------------------------------- */

static void skip_space(struct cutter *c, struct str block) {
    while (c->at < block.n && is_space(block.p[c->at])) c->line += block.p[c->at++] == '\n';
}

/* To the next quote or backslash. Line ends do not belong into strings, but are counted. */
static size_t string_stop(struct cutter *c, struct str block) {
    size_t i = c->at;
    while (i < block.n && block.p[i] != '"' && block.p[i] != '\\') c->line += block.p[i++] == '\n';
    return i;
}

/* goes on in a string; true behind its closing quote */
static bool string_ends(struct cutter *c, struct str block, bool at_end) {
    for (;;) {
        c->at = string_stop(c, block);
        if (c->at >= block.n) return false;
        if (block.p[c->at] == '"') {
            c->at++;
            c->quoted = false;
            return true;
        }
        if (c->at + 1 >= block.n) { /* the backslash is the last byte */
            if (at_end) c->at++;
            return false;
        }
        c->line += block.p[c->at + 1] == '\n';
        c->at += 2;
    }
}

/* goes on in a value; true behind its end */
static bool value_ends(struct cutter *c, struct str block, bool at_end) {
    for (;;) {
        if (c->quoted) {
            if (!string_ends(c, block, at_end)) return false;
            if (c->depth == 0) return true;
        }
        while (c->at < block.n) {
            char b = block.p[c->at];
            if (b == '"' && c->depth == 0 && c->at > c->start) return true; /* 1"a" */
            if (b == '"') break;
            bool close = b == '}' || b == ']';
            if (c->depth == 0 && (close || b == ',' || is_space(b))) return true;
            c->line += b == '\n';
            c->depth += b == '{' || b == '[';
            c->depth -= close;
            c->at++;
            if (close && c->depth == 0) return true;
        }
        if (c->at >= block.n) return false;
        c->quoted = true;
        c->at++;
    }
}

static bool problem_here(struct cutter *c, const char *problem, struct piece *ret) {
    c->frame = FRAME_DONE;
    c->spoken = true;
    *ret = (struct piece){c->at, c->at, c->line, problem};
    return true;
}

/* "KEY" : of the object around the lists */
static bool frame_key(struct cutter *c, struct str block, bool at_end, const char **problem) {
    size_t from = c->at + 1, i = from;
    while (i < block.n && block.p[i] != '"' && i - from < 4096) i += block.p[i] == '\\' ? 2 : 1;
    if (i >= block.n || block.p[i] != '"') {
        if (at_end || i - from >= 4096) *problem = "the key around the list has no end";
        return false;
    }
    c->key_n = i - from < sizeof c->key ? i - from : sizeof c->key;
    memcpy(c->key, block.p + from, c->key_n);
    c->at = i + 1;
    c->frame = FRAME_COLON;
    return true;
}

/* One step in what is around the values; false: more bytes are needed, or there is a problem. */
static bool frame_step(struct cutter *c, struct str block, bool at_end, const char **problem) {
    char b = block.p[c->at];
    switch (c->frame) {
    case FRAME_OPEN: /* detection has seen the bracket */
        c->frame = c->layout == LAYOUT_WRAPPED ? FRAME_KEY : FRAME_VALUES;
        c->commas = 1;
        c->at++;
        return true;
    case FRAME_KEY:
        if (b == '"') return frame_key(c, block, at_end, problem);
        *problem = "a key in quotes is missing here";
        return false;
    case FRAME_COLON:
        c->frame = FRAME_LIST;
        *problem = b == ':' ? NULL : "a colon is missing here";
        c->at++;
        return b == ':';
    case FRAME_LIST: /* what is no list belongs to no row */
        c->frame = FRAME_VALUES;
        c->commas = 1;
        c->ignored = b != '[';
        if (c->ignored)
            begin(c);
        else
            c->at++;
        return true;
    case FRAME_COMMA:
        c->frame = b == ',' ? FRAME_KEY : FRAME_DONE;
        if (b != ',' && b != '}') *problem = "a comma is missing here";
        c->at++;
        return !*problem;
    default: break;
    }
    *problem = "text behind the end of the list";
    return false;
}

/* Between values: true where one begins. */
static bool value_begins(struct cutter *c, char b) {
    bool listed = c->layout != LAYOUT_VALUES;
    if (listed && b == ']') {
        c->frame = c->layout == LAYOUT_WRAPPED ? FRAME_COMMA : FRAME_DONE;
        c->at++;
        return false;
    }
    if (listed && b == ',') {
        c->commas++;
        c->at++;
        return false;
    }
    begin(c);
    c->depth = 0;
    c->quoted = false;
    c->problem = NULL;
    if (listed && c->commas != 1)
        c->problem = c->commas ? "a comma too many before it" : "a comma is missing before it";
    c->commas = 0;
    return true;
}

/* behind a value, or at the end of a file that breaks off in it */
static bool value_done(struct cutter *c, bool whole, struct piece *ret) {
    if (!whole) {
        c->problem = "it has no end: a bracket or quote is missing";
        c->frame = FRAME_DONE;
        c->spoken = true;
    }
    if (c->ignored && whole) {
        c->ignored = c->inside = false;
        c->frame = FRAME_COMMA;
        return false;
    }
    return end_at(c, c->at, c->problem, ret);
}

static bool next_value(struct cutter *c, struct str block, bool at_end, struct piece *ret) {
    const char *problem = NULL;
    for (;;) {
        if (c->inside) {
            bool ends = value_ends(c, block, at_end);
            if (!ends && !at_end) return false;
            if (value_done(c, ends || (!c->depth && !c->quoted), ret)) return true;
            continue;
        }
        skip_space(c, block);
        if (c->at >= block.n) break;
        char b = block.p[c->at];
        if (c->spoken) {
            c->at = block.n;
        } else if (c->frame == FRAME_VALUES) {
            if (!value_begins(c, b)) continue;
            if (!strchr("}],:", b)) continue;
            c->at++;
            return end_at(c, c->at, "a bracket, comma or colon that belongs to nothing", ret);
        } else if (!frame_step(c, block, at_end, &problem)) {
            return problem ? problem_here(c, problem, ret) : false;
        }
    }
    if (!at_end || c->spoken || c->frame == FRAME_DONE || c->layout == LAYOUT_VALUES) return false;
    return problem_here(c, "the list has no end: the file may be cut off", ret);
}

/* --- CSV ------------------------------------------------------------------------------------ */

/* a doubled quote closes and opens again */
static void csv_byte(struct cutter *c, char b) {
    if (b == '"') {
        bool opens = !c->quoted && (c->field_start || c->reopens);
        c->reopens = c->quoted;
        c->quoted = opens;
        c->field_start = false;
    } else {
        c->reopens = false;
        c->field_start = !c->quoted && b == c->delim;
    }
}

static bool next_csv(struct cutter *c, struct str block, bool at_end, struct piece *ret) {
    while (c->inside || c->at < block.n) {
        bool ended = false;
        if (!c->inside) {
            begin(c);
            c->field_start = true;
            c->quoted = c->reopens = false;
        }
        while (c->at < block.n && !ended) {
            char b = block.p[c->at++];
            csv_byte(c, b);
            if (b != '\n') continue;
            c->line++;
            ended = !c->quoted;
        }
        if (!ended && !at_end) return false;
        if (is_blank_record(c, block, c->at - ended))
            c->inside = false;
        else
            return end_at(c, c->at - ended, c->quoted ? "a quote is not closed" : NULL, ret);
    }
    return false;
}

/* --- text and Markdown ---------------------------------------------------------------------- */

static bool is_heading(struct cutter *c, struct str line) {
    size_t marks = 0, spaces = 0;
    while (spaces < 3 && spaces < line.n && line.p[spaces] == ' ') spaces++;
    line = str_from(line, spaces);
    bool fence = str_starts(line, STR_LIT("```")) || str_starts(line, STR_LIT("~~~"));
    if (fence && (!c->fence || c->fence == line.p[0])) c->fence = c->fence ? 0 : line.p[0];
    while (marks < line.n && line.p[marks] == '#') marks++;
    return !c->fence && marks >= 1 && marks <= 6 && (marks == line.n || is_space(line.p[marks]));
}

/* the line at line_start is not whole yet */
static void part_of_line(struct cutter *c, struct str block) {
    struct str part = {block.p + c->line_start, block.n - c->line_start};
    bool blank = is_blank(part);
    if (!c->inside && !blank) {
        c->at = c->line_start;
        begin(c);
    }
    if (blank && part.n > BLANK_BYTES) c->line_start = block.n;
    c->at = block.n;
}

static bool next_text(struct cutter *c, struct str block, bool at_end, struct piece *ret) {
    bool markdown = c->layout == LAYOUT_MARKDOWN;
    while (c->line_start < block.n || (at_end && c->inside)) {
        const char *nl = c->at < block.n ? memchr(block.p + c->at, '\n', block.n - c->at) : NULL;
        if (!nl && !at_end) {
            part_of_line(c, block);
            return false;
        }
        size_t end = nl ? (size_t)(nl - block.p) : block.n, here = c->line_start;
        struct str line = {block.p + here, end - here};
        bool blank = is_blank(line), heading = markdown && is_heading(c, line);
        bool cut = c->inside && here > c->start &&
                   (markdown ? heading : blank && here - c->start >= TEXT_BYTES);
        if (cut) end_at(c, here, NULL, ret);
        c->at = here;
        if (!c->inside && !blank) begin(c);
        c->at = c->line_start = nl ? end + 1 : end;
        c->line += nl != NULL;
        if (cut) return true;
        if (at_end && c->at >= block.n && c->inside) return end_at(c, c->at, NULL, ret);
    }
    return false;
}

bool cutter_next(struct cutter *c, struct str block, bool at_end, struct piece *ret) {
    switch (c->layout) {
    case LAYOUT_LINES: return next_line(c, block, at_end, ret);
    case LAYOUT_CSV: return next_csv(c, block, at_end, ret);
    case LAYOUT_TEXT:
    case LAYOUT_MARKDOWN: return next_text(c, block, at_end, ret);
    default: return next_value(c, block, at_end, ret);
    }
}
