/* OpenAI's rows: chat, prompt and completion, text, preference pairs. What cannot be made into an
 * example is refused here; what an example may not be is the checks' affair (source.h). */
#include "data/source_int.h"

#include <math.h>

enum role role_of(struct str name) {
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {{"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM},
                 {"tool", ROLE_TOOL}, {"developer", ROLE_SYSTEM},    {"function", ROLE_TOOL}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (str_is(name, roles[i].name)) return roles[i].role;
    return ROLE_OTHER;
}

void parse_own_json(struct parsing *p, const struct json_view *row) {
    const struct json_view *id = json_view_get(row, "id");
    bool named = json_view_is(id, VIEW_STRING) || json_view_is(id, VIEW_NUMBER);
    struct str raw = row->text;
    p->ret->id = named ? id->text : (struct str){"", 0};
    p->ret->json = raw;
    if (!memchr(raw.p, '\n', raw.n) && !memchr(raw.p, '\r', raw.n)) return;
    buf_clear(&p->scratch->json);
    json_view_write(&p->scratch->json, row);
    p->ret->json = arena_str(p->arena, buf_view(&p->scratch->json));
}

bool parse_string(struct parsing *p, const struct json_view *row, const char *key,
                  struct str *ret) {
    const struct json_view *v = json_view_get(row, key);
    if (!json_view_is(v, VIEW_STRING))
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "\"%s\" must be a string, not %s", key,
                            json_view_type_name(v));
    *ret = v->text;
    return true;
}

/* --- messages ------------------------------------------------------------------------------- */

struct reading {
    struct parsing *p;
    struct message *m;
    int32_t at; /* the message's place */
    const struct json_view *content, *tool_calls, *function_call, *weight;
};

static bool bad_part(struct reading *r, uint32_t i, const struct json_view *part) {
    const struct json_view *type = json_view_get(part, "type");
    if (json_view_is(type, VIEW_STRING) && !str_is(type->text, "text"))
        return parse_refuse(
            r->p, FINDING_INVALID_FORMAT, r->at,
            "content[%u] is of type \"%.*s\"; only \"text\" parts can be trained on", i,
            excerpt(type->text, 40), type->text.p);
    return parse_refuse(r->p, FINDING_INVALID_FORMAT, r->at,
                        "content[%u] must be an object with \"type\" and \"text\"", i);
}

/* text parts, joined by a line end */
static bool read_parts(struct reading *r) {
    const struct json_view *list = r->content, *part = json_view_first(list);
    struct buf *b = &r->p->scratch->text;
    struct str text = {"", 0};
    buf_clear(b);
    for (uint32_t i = 0; i < list->count; i++, part = json_view_next(part)) {
        const struct json_view *type = json_view_get(part, "type");
        const struct json_view *said = json_view_get(part, "text");
        if (!json_view_is(type, VIEW_STRING) || !str_is(type->text, "text") ||
            !json_view_is(said, VIEW_STRING))
            return bad_part(r, i, part);
        if (i) buf_byte(b, '\n');
        buf_str(b, text = said->text);
    }
    r->m->text = list->count == 1 ? text : arena_str(r->p->arena, buf_view(b));
    return true;
}

static bool read_content(struct reading *r) {
    const struct json_view *v = r->content;
    r->m->text = (struct str){"", 0};
    r->m->has_content = v != NULL;
    if (!v || v->type == VIEW_NULL) return true;
    if (v->type == VIEW_STRING) {
        r->m->text = v->text;
        return true;
    }
    if (v->type == VIEW_ARRAY) return read_parts(r);
    return parse_refuse(r->p, FINDING_MISSING_CONTENT, r->at,
                        "\"content\" must be a string or a list of text parts, not %s",
                        json_view_type_name(v));
}

static void read_call(const struct json_view *v, struct call *ret) {
    const struct json_view *id = json_view_get(v, "id"), *f = json_view_get(v, "function");
    if (!f) f = v; /* the flat form {"name","arguments"} */
    const struct json_view *name = json_view_get(f, "name");
    const struct json_view *arguments = json_view_get(f, "arguments");
    *ret = (struct call){{"", 0}, {"", 0}, {"", 0}};
    if (json_view_is(id, VIEW_STRING)) ret->id = id->text;
    if (json_view_is(name, VIEW_STRING)) ret->name = name->text;
    if (arguments) ret->arguments = arguments->text;
}

static bool read_calls(struct reading *r) {
    const struct json_view *list = r->tool_calls, *f = r->function_call;
    bool none = !list || list->type == VIEW_NULL;
    if (!none && list->type != VIEW_ARRAY)
        return parse_refuse(r->p, FINDING_INVALID_FORMAT, r->at,
                            "\"tool_calls\" must be a list, not %s", json_view_type_name(list));
    bool old = (none || !list->count) && json_view_is(f, VIEW_OBJECT);
    size_t count = old ? 1 : none ? 0 : list->count;
    if (count == 0) return true;
    struct call *calls = arena_array(r->p->arena, count, sizeof *calls);
    if (!calls) return false;
    const struct json_view *v = old ? f : json_view_first(list);
    for (size_t i = 0; i < count; i++, v = json_view_next(v)) read_call(v, &calls[i]);
    r->m->calls = calls;
    r->m->call_count = count;
    return true;
}

/* one that is no number, or of a message that is never trained, has no meaning: not a number */
static void read_weight(struct reading *r) {
    const struct json_view *w = r->weight;
    r->m->weight = 1;
    if (!w || w->type == VIEW_NULL) return;
    bool meant = w->type == VIEW_NUMBER && r->m->role == ROLE_ASSISTANT;
    r->m->weight = meant ? json_view_number(w) : (double)NAN;
}

static void read_role(struct reading *r, const struct json_view *v) {
    if (v->type == VIEW_NULL) return;
    r->m->role_name = v->text;
    if (v->type == VIEW_STRING) r->m->role = role_of(v->text);
}

static void unknown_key(struct reading *r, struct str key, bool *told) {
    if (!*told)
        parse_note(r->p, FINDING_MESSAGE_UNRECOGNIZED_KEY, r->at, "\"%.*s\"", excerpt(key, 60),
                   key.p);
    *told = true;
}

/* keys that the API or templates know, but no check looks at */
static bool is_known(struct str key) {
    static const char *const keys[] = {"refusal",           "annotations", "audio",    "parsed",
                                       "reasoning_content", "thinking",    "reasoning"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (str_is(key, keys[i])) return true;
    return false;
}

static bool read_message(struct parsing *p, const struct json_view *v, struct message *m,
                         int32_t at) {
    struct reading r = {.p = p, .m = m, .at = at};
    bool told = false;
    *m = (struct message){.role = ROLE_OTHER, .role_name = {"", 0}};
    if (v->type != VIEW_OBJECT)
        return parse_refuse(p, FINDING_INVALID_FORMAT, at, "a message must be an object, not %s",
                            json_view_type_name(v));
    const struct json_view *key = json_view_first(v);
    for (uint32_t i = 0; i < v->count; i++, key += 1 + key[1].size) {
        const struct json_view *value = key + 1;
        struct str k = key->text;
        if (str_is(k, "role"))
            read_role(&r, value);
        else if (str_is(k, "content"))
            r.content = value;
        else if (str_is(k, "tool_calls"))
            r.tool_calls = value;
        else if (str_is(k, "function_call"))
            r.function_call = value;
        else if (str_is(k, "weight"))
            r.weight = value;
        else if (str_is(k, "name"))
            m->name = value->type == VIEW_STRING ? value->text : STR_LIT("");
        else if (str_is(k, "tool_call_id"))
            m->tool_call_id = value->type == VIEW_STRING ? value->text : STR_LIT("");
        else if (!is_known(k))
            unknown_key(&r, k, &told);
    }
    if (!m->name.p) m->name = STR_LIT("");
    if (!m->tool_call_id.p) m->tool_call_id = STR_LIT("");
    read_weight(&r);
    return read_calls(&r) && read_content(&r);
}

/* those of `from`, with room for `more` behind them */
static bool read_messages(struct parsing *p, const struct json_view *from, const char *in,
                          size_t more) {
    const struct json_view *list = json_view_get(from, "messages");
    if (!json_view_is(list, VIEW_ARRAY))
        return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1,
                            "\"%smessages\" must be a list of messages, not %s", in,
                            json_view_type_name(list));
    if (list->count == 0)
        return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1, "\"%smessages\" is empty", in);
    struct message *m = arena_array(p->arena, list->count + more, sizeof *m);
    if (!m) return false;
    p->ret->messages = m;
    p->ret->message_count = list->count + more;
    const struct json_view *v = json_view_first(list);
    for (uint32_t i = 0; i < list->count; i++, v = json_view_next(v))
        if (!read_message(p, v, &m[i], (int32_t)i)) return false;
    return true;
}

/* functions as tools */
static struct str old_functions(struct parsing *p, const struct json_view *list) {
    struct buf *b = &p->scratch->text;
    const struct json_view *f = json_view_first(list);
    buf_clear(b);
    for (uint32_t i = 0; i < list->count; i++, f = json_view_next(f)) {
        buf_z(b, i ? ",{\"type\":\"function\",\"function\":"
                   : "[{\"type\":\"function\",\"function\":");
        json_view_write(b, f);
        buf_byte(b, '}');
    }
    buf_byte(b, ']');
    return arena_str(p->arena, buf_view(b));
}

static void read_tools(struct parsing *p, const struct json_view *from) {
    const struct json_view *tools = json_view_get(from, "tools");
    const struct json_view *functions = json_view_get(from, "functions");
    p->ret->tools = (struct str){"", 0};
    if (tools && tools->type != VIEW_NULL && !(tools->type == VIEW_ARRAY && !tools->count)) {
        p->ret->tools = tools->text;
        if (tools->type != VIEW_STRING) return;
        buf_clear(&p->scratch->text);
        json_view_quote(&p->scratch->text, tools->text);
        p->ret->tools = arena_str(p->arena, buf_view(&p->scratch->text));
    } else if (json_view_is(functions, VIEW_ARRAY) && functions->count) {
        p->ret->tools = old_functions(p, functions);
    }
}

/* --- kinds ---------------------------------------------------------------------------------- */

static bool parse_chat(struct parsing *p, const struct json_view *row) {
    const struct json_view *label = json_view_get(row, "label");
    p->ret->kind = ROW_CHAT;
    if (!read_messages(p, row, "", 0)) return false;
    read_tools(p, row);
    if (json_view_is(label, VIEW_FALSE))
        parse_note(p, FINDING_LOW_FEEDBACK, -1,
                   "\"label\" is false: an answer that was disliked, not one to learn");
    return true;
}

static const char *const output_keys[PAIR_SIDES][2] = {
    {"preferred_output", "preferred_completion"},
    {"non_preferred_output", "non_preferred_completion"}};

static bool parse_output(struct parsing *p, const struct json_view *row, enum pair_side side,
                         struct message *m, int32_t at) {
    const char *const *keys = output_keys[side];
    const struct json_view *a = json_view_get(row, keys[0]), *b = json_view_get(row, keys[1]);
    const struct json_view *list = a ? a : b;
    if (a && b)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "\"%s\" and \"%s\" are two names of one thing; keep the first", keys[0],
                            keys[1]);
    if (!json_view_is(list, VIEW_ARRAY) || list->count != 1)
        return parse_refuse(
            p, FINDING_INVALID_FORMAT, -1, "\"%s\" must be a list of one assistant message, not %s",
            b ? keys[1] : keys[0],
            json_view_is(list, VIEW_ARRAY) ? "of more or none" : json_view_type_name(list));
    return read_message(p, json_view_first(list), m, at);
}

static bool parse_pair(struct parsing *p, const struct json_view *row) {
    const struct json_view *input = json_view_get(row, "input");
    bool stray = json_view_get(row, "messages") != NULL;
    p->ret->kind = ROW_PAIR;
    if (stray || json_view_get(row, "tools"))
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "\"%s\" of a preference row belongs into \"input\"",
                            stray ? "messages" : "tools");
    if (!json_view_is(input, VIEW_OBJECT))
        return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1,
                            "\"input\" must be an object with \"messages\", not %s",
                            json_view_type_name(input));
    if (!read_messages(p, input, "input.", 2)) return false;
    read_tools(p, input);
    size_t n = p->ret->message_count;
    struct message *m = (struct message *)p->ret->messages;
    return parse_output(p, row, PAIR_PREFERRED, &m[n - 2], (int32_t)n - 2) &&
           parse_output(p, row, PAIR_NON_PREFERRED, &m[n - 1], (int32_t)n - 1);
}

static struct message plain(enum role role, const char *name, struct str text) {
    return (struct message){.role = role,
                            .role_name = str_of(name),
                            .text = text,
                            .has_content = true,
                            .tool_call_id = {"", 0},
                            .name = {"", 0},
                            .weight = 1};
}

static bool parse_plain(struct parsing *p, const struct json_view *row, enum row_kind kind) {
    struct message *m = arena_array(p->arena, 2, sizeof *m);
    struct str prompt = {"", 0}, text = {"", 0};
    bool two = kind == ROW_COMPLETION;
    if (!m || (two && !parse_string(p, row, "prompt", &prompt)) ||
        !parse_string(p, row, two ? "completion" : "text", &text))
        return false;
    if (two) m[0] = plain(ROLE_USER, "user", prompt);
    m[two] = plain(ROLE_ASSISTANT, "assistant", text);
    p->ret->kind = kind;
    p->ret->messages = m;
    p->ret->message_count = two ? 2 : 1;
    return true;
}

static bool is_pair(const struct json_view *row) {
    for (int i = 0; i < PAIR_SIDES * 2; i++)
        if (json_view_get(row, output_keys[i / 2][i % 2])) return true;
    return false;
}

bool parse_openai(struct parsing *p, const struct json_view *row) {
    p->ret->tools = (struct str){"", 0};
    parse_own_json(p, row);
    if (is_pair(row)) return parse_pair(p, row);
    if (json_view_get(row, "messages")) return parse_chat(p, row);
    if (json_view_get(row, "prompt") && json_view_get(row, "completion"))
        return parse_plain(p, row, ROW_COMPLETION);
    if (json_view_get(row, "text")) return parse_plain(p, row, ROW_TEXT);
    return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1,
                        "a row has \"messages\", or \"prompt\" and \"completion\", or \"text\"");
}
