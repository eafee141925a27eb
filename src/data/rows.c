/* Reading and checking training rows. A pure function of the text: every line is checked in full
 * before the next, the first bad one is the error. What a row trains is render.c's. */
#include "data/rows.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

#define LINE_MAX_BYTES ((size_t)64 << 20)
#define NESTING_MAX 100
#define WHERE_MAX 260

struct reader {
    const char *file;
    char where[WHERE_MAX]; /* "data.jsonl: row 17 (line 18)" */
    int64_t line;
    struct rows rows;
    size_t cap;
    struct err *err;
};

static const char *const kind_names[] = {"chat (\"messages\")", "prompt/completion",
                                         "text (\"text\")", "preference (\"preferred_output\")"};

/* newer and older spelling */
static const char *const output_keys[PAIR_SIDES][2] = {
    {"preferred_output", "preferred_completion"},
    {"non_preferred_output", "non_preferred_completion"}};

static int bad(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int bad(struct reader *r, const char *fmt, ...) {
    char text[360];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->err, ERR_INVALID, "%s: %s", r->where, text);
}

static const char *type_name(const json_t *v) {
    if (!v) return "absent";
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

/* --- chat rows
 * ------------------------------------------------------------------------------------ */

static bool is_role(struct str role) {
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (str_is(role, roles[i])) return true;
    return false;
}

static int check_part(struct reader *r, const json_t *part, const char *at) {
    const json_t *type = json_object_get(part, "type"), *text = json_object_get(part, "text");
    if (!json_is_object(part) || !json_is_string(type))
        return bad(r, "%s must be an object with \"type\" and \"text\", not %s", at,
                   type_name(part));
    if (!str_is(json_str(type), "text"))
        return bad(r, "%s is of type \"%.40s\"; only \"text\" parts can be trained on", at,
                   json_string_value(type));
    if (!json_is_string(text))
        return bad(r, "%s: \"text\" must be a string, not %s", at, type_name(text));
    return 0;
}

static int check_content(struct reader *r, const json_t *m, const char *at) {
    const json_t *content = json_object_get(m, "content");
    bool calls = json_array_size(json_object_get(m, "tool_calls")) > 0 ||
                 json_is_object(json_object_get(m, "function_call"));
    if (!content || json_is_null(content)) {
        if (calls) return 0;
        return bad(r,
                   "%s: \"content\" is %s; give a string (null is for assistant messages with "
                   "\"tool_calls\" only)",
                   at, type_name(content));
    }
    if (json_is_string(content)) return 0;
    if (!json_is_array(content))
        return bad(r, "%s: \"content\" must be a string or a list of text parts, not %s", at,
                   type_name(content));
    size_t i;
    const json_t *part;
    json_array_foreach(content, i, part) {
        char name[80];
        snprintf(name, sizeof name, "%s.content[%zu]", at, i);
        if (check_part(r, part, name)) return r->err->code;
    }
    return 0;
}

static int check_tool_calls(struct reader *r, const json_t *m, const char *at) {
    const json_t *calls = json_object_get(m, "tool_calls"), *call;
    if (!calls || json_is_null(calls)) return 0;
    if (!json_is_array(calls))
        return bad(r, "%s: \"tool_calls\" must be a list, not %s", at, type_name(calls));
    size_t i;
    json_array_foreach(calls, i, call) {
        const json_t *f = json_object_get(call, "function");
        if (!f) f = call; /* the flat form {"name","arguments"} */
        const json_t *args = json_object_get(f, "arguments");
        if (!json_is_string(json_object_get(f, "name")))
            return bad(r,
                       "%s.tool_calls[%zu] needs \"function\": {\"name\": ..., \"arguments\": ...}",
                       at, i);
        if (!json_is_string(args) && !json_is_object(args))
            return bad(
                r,
                "%s.tool_calls[%zu]: \"arguments\" must be a string of JSON or an object, not %s",
                at, i, type_name(args));
    }
    return 0;
}

static int check_weight(struct reader *r, const json_t *m, bool assistant, const char *at) {
    const json_t *w = json_object_get(m, "weight");
    if (!w || json_is_null(w)) return 0;
    if (!assistant)
        return bad(
            r, "%s: \"weight\" is for assistant messages; remove it, nothing else is trained", at);
    double x = json_number_value(w);
    if (!json_is_number(w) || !isfinite(x) || x < 0 || x > 1e6)
        return bad(r, "%s: \"weight\" must be a number from 0 (not trained) to 1 or more, not %s",
                   at, json_is_number(w) ? "this one" : type_name(w));
    return 0;
}

static int check_message(struct reader *r, const json_t *m, const char *at, int *answers) {
    if (!json_is_object(m)) return bad(r, "%s must be an object, not %s", at, type_name(m));
    const json_t *role = json_object_get(m, "role");
    if (!json_is_string(role))
        return bad(r, "%s: \"role\" must be a string such as \"user\", but it is %s", at,
                   type_name(role));
    if (!is_role(json_str(role)))
        return bad(
            r,
            "%s: unknown role \"%.40s\"; use system, developer, user, assistant, tool or function",
            at, json_string_value(role));
    bool assistant = str_is(json_str(role), "assistant");
    *answers += assistant;
    if (check_content(r, m, at) || check_tool_calls(r, m, at)) return r->err->code;
    return check_weight(r, m, assistant, at);
}

/* `in`: "" or "input." */
static int check_messages(struct reader *r, const json_t *from, const char *in, int *answers) {
    const json_t *messages = json_object_get(from, "messages"), *m;
    size_t i;
    if (!json_is_array(messages))
        return bad(r, "\"%smessages\" must be a list of messages, not %s", in, type_name(messages));
    if (json_array_size(messages) == 0)
        return bad(r, "\"%smessages\" is empty; give at least a user%s", in,
                   *in ? " message" : " and an assistant message");
    json_array_foreach(messages, i, m) {
        char at[60];
        snprintf(at, sizeof at, "%smessages[%zu]", in, i);
        if (check_message(r, m, at, answers)) return r->err->code;
    }
    return 0;
}

static int check_tools(struct reader *r, const json_t *from, const char *in) {
    const json_t *tools = json_object_get(from, "tools"), *tool;
    size_t i;
    if (!tools || json_is_null(tools)) return 0;
    if (!json_is_array(tools))
        return bad(r, "\"%stools\" must be a list, not %s", in, type_name(tools));
    json_array_foreach(tools, i, tool) if (!json_is_object(tool)) return bad(
        r, "%stools[%zu] must be an object, not %s", in, i, type_name(tool));
    return 0;
}

static int check_chat(struct reader *r, const json_t *row) {
    int answers = 0;
    if (check_messages(r, row, "", &answers)) return r->err->code;
    if (!answers)
        return bad(
            r,
            "no message has the role \"assistant\", so there is nothing to learn; add the answer");
    return check_tools(r, row, "");
}

/* --- preference pairs
 * ----------------------------------------------------------------------------- */

static bool is_pair(const json_t *row) {
    for (int i = 0; i < PAIR_SIDES * 2; i++)
        if (json_object_get(row, output_keys[i / 2][i % 2])) return true;
    return false;
}

json_t *pair_output(const json_t *row, enum pair_side side) {
    const json_t *list = json_object_get(row, output_keys[side][0]);
    if (!list) list = json_object_get(row, output_keys[side][1]);
    return json_array_get(list, 0);
}

static bool is_empty_text(const json_t *content) {
    size_t i, bytes = json_str(content).n;
    const json_t *part;
    json_array_foreach(content, i, part) bytes += json_str(json_object_get(part, "text")).n;
    return bytes == 0;
}

/* what may be compared: one assistant message of text */
static int check_output_message(struct reader *r, const json_t *m, const char *at) {
    int answers = 0;
    if (check_message(r, m, at, &answers)) return r->err->code;
    const json_t *weight = json_object_get(m, "weight");
    if (!answers)
        return bad(r, "%s: the role must be \"assistant\", not \"%.40s\"", at,
                   json_string_value(json_object_get(m, "role")));
    if (json_array_size(json_object_get(m, "tool_calls")) > 0 ||
        json_is_object(json_object_get(m, "function_call")))
        return bad(r, "%s calls a tool; outputs that are compared must be text", at);
    if (is_empty_text(json_object_get(m, "content")))
        return bad(r, "%s: \"content\" is empty; fill it or remove the row", at);
    if (json_is_number(weight) && json_number_value(weight) != 1)
        return bad(r, "%s: \"weight\" has no meaning in a pair; remove it", at);
    return 0;
}

static int check_output(struct reader *r, const json_t *row, enum pair_side side) {
    const char *const *names = output_keys[side];
    const json_t *newer = json_object_get(row, names[0]), *older = json_object_get(row, names[1]);
    const char *key = older && !newer ? names[1] : names[0];
    const json_t *list = newer ? newer : older;
    char at[60];
    if (newer && older)
        return bad(r, "\"%s\" and \"%s\" are two names of one thing; keep the first", names[0],
                   names[1]);
    if (!list)
        return bad(r,
                   "\"%s\" is missing; a preference row has \"input\", \"preferred_output\" and "
                   "\"non_preferred_output\"",
                   key);
    if (!json_is_array(list))
        return bad(r, "\"%s\" must be a list of one assistant message, not %s", key,
                   type_name(list));
    if (json_array_size(list) != 1)
        return bad(r, "\"%s\" has %zu messages; it takes exactly one", key, json_array_size(list));
    snprintf(at, sizeof at, "%s[0]", key);
    return check_output_message(r, json_array_get(list, 0), at);
}

static int check_pair(struct reader *r, const json_t *row) {
    const json_t *input = json_object_get(row, "input");
    int answers = 0;
    if (json_object_get(row, "messages") || json_object_get(row, "tools"))
        return bad(r, "\"%s\" of a preference row belongs into \"input\"",
                   json_object_get(row, "messages") ? "messages" : "tools");
    if (json_is_array(input))
        return bad(r, "\"input\" is a list; write \"input\": {\"messages\": [...]}");
    if (!json_is_object(input))
        return bad(r, "\"input\" must be an object with \"messages\", not %s", type_name(input));
    if (check_messages(r, input, "input.", &answers)) return r->err->code;
    const json_t *messages = json_object_get(input, "messages");
    size_t last = json_array_size(messages) - 1;
    if (str_is(json_str(json_object_get(json_array_get(messages, last), "role")), "assistant"))
        return bad(r, "input.messages[%zu] is the assistant's; answers belong into the outputs",
                   last);
    if (check_tools(r, input, "input.")) return r->err->code;
    if (check_output(r, row, PAIR_PREFERRED)) return r->err->code;
    return check_output(r, row, PAIR_NON_PREFERRED);
}

/* --- the other kinds
 * ------------------------------------------------------------------------------ */

static int check_string(struct reader *r, const json_t *row, const char *key) {
    const json_t *v = json_object_get(row, key);
    if (json_is_string(v)) return 0;
    return bad(r, "\"%s\" must be a string, not %s", key, type_name(v));
}

static int check_completion(struct reader *r, const json_t *row) {
    if (check_string(r, row, "prompt") || check_string(r, row, "completion")) return r->err->code;
    if (json_str(json_object_get(row, "completion")).n == 0)
        return bad(
            r, "\"completion\" is empty, so there is nothing to learn; fill it or remove the row");
    return 0;
}

static int check_text(struct reader *r, const json_t *row) {
    if (check_string(r, row, "text")) return r->err->code;
    if (json_str(json_object_get(row, "text")).n == 0)
        return bad(r, "\"text\" is empty; fill it or remove the row");
    return 0;
}

static int unknown_kind(struct reader *r, const json_t *row) {
    static const char *const hints[][2] = {
        {"conversations",
         "sharegpt: rename \"conversations\" to \"messages\" with \"role\" and \"content\""},
        {"instruction",
         "alpaca: write \"instruction\" and \"input\" as \"prompt\", \"output\" as \"completion\""},
        {"chosen", "a preference pair is {\"input\": {\"messages\": [...]}, "
                   "\"preferred_output\": [...], \"non_preferred_output\": [...]}"},
        {"prompt", "\"completion\" is missing"},
        {"completion", "\"prompt\" is missing"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (json_object_get(row, hints[i][0]))
            return bad(r,
                       "not a training row (%s); a row has \"messages\", or \"prompt\" and "
                       "\"completion\", or \"text\"",
                       hints[i][1]);
    return bad(r, "not a training row; it needs \"messages\" (chat), or \"prompt\" and "
                  "\"completion\", or \"text\"");
}

static int row_kind_of(struct reader *r, const json_t *row, enum row_kind *ret) {
    if (!json_is_object(row)) return bad(r, "a row must be a JSON object, not %s", type_name(row));
    if (is_pair(row))
        *ret = ROW_PAIR;
    else if (json_object_get(row, "messages"))
        *ret = ROW_CHAT;
    else if (json_object_get(row, "prompt") && json_object_get(row, "completion"))
        *ret = ROW_COMPLETION;
    else if (json_object_get(row, "text"))
        *ret = ROW_TEXT;
    else
        return unknown_kind(r, row);
    return 0;
}

static int check_row(struct reader *r, const json_t *row) {
    enum row_kind kind = ROW_TEXT;
    if (row_kind_of(r, row, &kind)) return r->err->code;
    if (r->rows.count == 0) r->rows.kind = kind;
    if (kind != r->rows.kind)
        return bad(r, "this is a %s row, but row 1 is a %s row; one file holds one kind",
                   kind_names[kind], kind_names[r->rows.kind]);
    switch (kind) {
    case ROW_CHAT: return check_chat(r, row);
    case ROW_COMPLETION: return check_completion(r, row);
    case ROW_TEXT: return check_text(r, row);
    case ROW_PAIR: return check_pair(r, row);
    }
    return 0;
}

/* --- lines
 * ---------------------------------------------------------------------------------------- */

/* Depth of brackets outside strings: refused before the JSON parser recurses into it. */
static bool too_nested(struct str line) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > NESTING_MAX)
            return true;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return false;
}

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.n; i++)
        if (!strchr(" \t\r", line.p[i]) || !line.p[i]) return false;
    return true;
}

static int read_line(struct reader *r, struct str line) {
    snprintf(r->where, sizeof r->where, "%.150s: row %lld (line %lld)", r->file,
             (long long)r->rows.count + 1, (long long)r->line);
    if (line.n > LINE_MAX_BYTES)
        return bad(r, "the line has %zu bytes; the limit is %zu", line.n, LINE_MAX_BYTES);
    size_t valid = utf8_valid_prefix(line);
    if (valid < line.n)
        return bad(r, "not UTF-8 at byte %zu of the line (0x%02x); save the file as UTF-8", valid,
                   (unsigned)(unsigned char)line.p[valid]);
    if (too_nested(line)) return bad(r, "nested more than %d levels deep", NESTING_MAX);
    json_t *row = NULL;
    int rc = json_read(line, r->where, &row, r->err);
    if (!rc) rc = check_row(r, row);
    if (rc) {
        json_decref(row);
        return rc;
    }
    mem_grow((void **)&r->rows.list, &r->cap, (size_t)r->rows.count + 1, sizeof *r->rows.list);
    r->rows.list[r->rows.count] =
        (struct row){.number = r->rows.count + 1, .line = r->line, .json = row};
    r->rows.count++;
    return 0;
}

int rows_from_text(struct str text, const char *where, struct rows *ret, struct err *err) {
    struct reader r = {.file = where, .err = err};
    sha256_of(text, r.rows.sha256);
    if (str_starts(text, STR_LIT("\xEF\xBB\xBF"))) {
        r.rows.had_bom = true;
        text = str_from(text, 3);
    }
    int rc = 0;
    while (text.n && !rc) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        text = str_from(text, line.n + 1);
        r.line++;
        if (!is_blank(line)) rc = read_line(&r, line);
    }
    if (!rc && r.rows.count == 0)
        rc = err_set(err, ERR_INVALID, "%s: no rows; expected one JSON object per line", where);
    if (rc)
        rows_release(&r.rows);
    else
        *ret = r.rows;
    return rc;
}

int rows_read(const char *path, size_t max_bytes, struct rows *ret, struct err *err) {
    struct buf b;
    buf_init(&b, max_bytes);
    int rc = file_read(path, &b, err);
    if (!rc) rc = rows_from_text(buf_view(&b), path, ret, err);
    buf_release(&b);
    return rc;
}

void rows_release(struct rows *r) {
    for (int64_t i = 0; i < r->count; i++) json_decref(r->list[i].json);
    mem_free(r->list);
    *r = (struct rows){0};
}
