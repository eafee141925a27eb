/* Rows of other forms become OpenAI's: messages are collected, then written as one line of JSON. */
#include "base/mem.h"
#include "data/source_int.h"

#include <stdio.h>

static struct str copy(struct parsing *p, struct buf *b) {
    return arena_str(p->arena, buf_view(b));
}

void draft_start(struct parsing *p, const struct json_view *row) {
    struct scratch *s = p->scratch;
    const struct json_view *id = json_view_get(row, "id");
    s->message_count = s->call_count = s->pending = 0;
    s->tools = (struct str){"", 0};
    bool named = json_view_is(id, VIEW_STRING) || json_view_is(id, VIEW_NUMBER);
    p->ret->id = named ? id->text : (struct str){"", 0};
}

struct message *draft_message(struct parsing *p, enum role role, struct str text) {
    static const char *const names[] = {"system", "user", "assistant", "tool", ""};
    struct scratch *s = p->scratch;
    if (s->message_count == s->message_cap)
        mem_grow((void **)&s->messages, &s->message_cap, s->message_count + 1, sizeof *s->messages);
    if (s->message_count == s->draft_cap)
        mem_grow((void **)&s->drafts, &s->draft_cap, s->message_count + 1, sizeof *s->drafts);
    s->drafts[s->message_count] = (struct draft){.calls = s->call_count};
    struct message *m = &s->messages[s->message_count++];
    *m = (struct message){.role = role,
                          .role_name = str_of(names[role]),
                          .text = text,
                          .has_content = true,
                          .weight = 1};
    return m;
}

void draft_reasoning(struct parsing *p, struct str text) {
    p->scratch->drafts[p->scratch->message_count - 1].reasoning = text;
}

/* one call of the last message */
static void add_call(struct parsing *p, struct str name, struct str arguments) {
    struct scratch *s = p->scratch;
    char id[32];
    if (s->call_count == s->call_cap)
        mem_grow((void **)&s->calls, &s->call_cap, s->call_count + 1, sizeof *s->calls);
    int n = snprintf(id, sizeof id, "call_%zu", s->call_count + 1);
    s->calls[s->call_count++] = (struct call){
        .id = arena_str(p->arena, (struct str){id, (size_t)n}),
        .name = name,
        .arguments = arguments,
    };
    s->messages[s->message_count - 1].call_count++;
}

static void add_call_of(struct parsing *p, const struct json_view *v) {
    const struct json_view *f = json_view_get(v, "function");
    if (json_view_is(f, VIEW_OBJECT)) v = f;
    const struct json_view *name = json_view_get(v, "name");
    const struct json_view *arguments = json_view_get(v, "arguments");
    if (!arguments) arguments = json_view_get(v, "parameters");
    add_call(p, json_view_is(name, VIEW_STRING) ? name->text : STR_LIT(""),
             arguments ? arguments->text : STR_LIT("{}"));
}

void draft_calls(struct parsing *p, struct str json) {
    enum json_view_fault fault;
    struct err ignored;
    struct json_views *views = &p->scratch->inner;
    const struct json_view *v;
    if (json_view_read(json, p->arena, views, &fault, &ignored)) {
        add_call(p, STR_LIT(""), json); /* the checks will say that it is none */
        return;
    }
    v = views->list;
    if (v->type != VIEW_ARRAY) {
        add_call_of(p, v);
        return;
    }
    uint32_t count = v->count;
    v = json_view_first(v);
    for (uint32_t i = 0; i < count; i++, v = json_view_next(v)) add_call_of(p, v);
}

void draft_answers_call(struct parsing *p) {
    struct scratch *s = p->scratch;
    if (s->pending < s->call_count)
        s->messages[s->message_count - 1].tool_call_id = s->calls[s->pending++].id;
}

/* --- tools --------------------------------------------------------------------------------- */

static void write_tool(struct buf *b, const struct json_view *tool) {
    bool whole = json_view_get(tool, "function") || !json_view_is(tool, VIEW_OBJECT);
    if (!whole) buf_z(b, "{\"type\":\"function\",\"function\":");
    json_view_write(b, tool);
    if (!whole) buf_byte(b, '}');
}

void draft_tools(struct parsing *p, const struct json_view *tools) {
    enum json_view_fault fault;
    struct err ignored;
    struct scratch *s = p->scratch;
    if (!tools || tools->type == VIEW_NULL) return;
    buf_clear(&s->text);
    if (tools->type == VIEW_STRING) {
        struct str text = tools->text;
        if (text.n == 0) return;
        if (json_view_read(text, p->arena, &s->inner, &fault, &ignored)) {
            json_view_quote(&s->text, text); /* no list: the checks will say so */
            s->tools = copy(p, &s->text);
            return;
        }
        tools = s->inner.list;
    }
    if (tools->type == VIEW_ARRAY && tools->count == 0) return;
    if (tools->type != VIEW_ARRAY) {
        json_view_write(&s->text, tools);
    } else {
        const struct json_view *tool = json_view_first(tools);
        buf_byte(&s->text, '[');
        for (uint32_t i = 0; i < tools->count; i++, tool = json_view_next(tool)) {
            if (i) buf_byte(&s->text, ',');
            write_tool(&s->text, tool);
        }
        buf_byte(&s->text, ']');
    }
    s->tools = copy(p, &s->text);
}

/* --- the row ------------------------------------------------------------------------------- */

static void write_member(struct buf *b, const char *name, struct str value) {
    buf_printf(b, ",\"%s\":", name);
    json_view_quote(b, value);
}

static void write_message(struct buf *b, const struct message *m, struct str reasoning) {
    buf_z(b, "{\"role\":");
    json_view_quote(b, m->role_name);
    if (m->has_content)
        write_member(b, "content", m->text);
    else if (m->call_count)
        buf_z(b, ",\"content\":null");
    if (reasoning.n) write_member(b, "reasoning_content", reasoning);
    for (size_t i = 0; i < m->call_count; i++) {
        buf_z(b, i ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
        json_view_quote(b, m->calls[i].id);
        buf_z(b, ",\"type\":\"function\",\"function\":{\"name\":");
        json_view_quote(b, m->calls[i].name);
        write_member(b, "arguments", m->calls[i].arguments);
        buf_z(b, i + 1 < m->call_count ? "}}" : "}}]");
    }
    if (m->tool_call_id.n) write_member(b, "tool_call_id", m->tool_call_id);
    if (m->weight < 1 || m->weight > 1) buf_printf(b, ",\"weight\":%.17g", m->weight);
    buf_byte(b, '}');
}

static void write_messages(struct parsing *p, size_t from, size_t to) {
    struct buf *b = &p->scratch->json;
    for (size_t i = from; i < to; i++) {
        if (i > from) buf_byte(b, ',');
        write_message(b, &p->ret->messages[i], p->scratch->drafts[i].reasoning);
    }
    buf_byte(b, ']');
}

static void write_row(struct parsing *p) {
    struct scratch *s = p->scratch;
    struct buf *b = &s->json;
    size_t n = s->message_count;
    bool pair = p->ret->kind == ROW_PAIR;
    buf_clear(b);
    buf_byte(b, '{');
    if (p->ret->id.n) {
        buf_z(b, "\"id\":");
        json_view_quote(b, p->ret->id);
        buf_byte(b, ',');
    }
    if (p->ret->kind == ROW_TEXT) {
        buf_z(b, "\"text\":");
        json_view_quote(b, p->ret->messages[0].text);
    } else {
        buf_z(b, pair ? "\"input\":{\"messages\":[" : "\"messages\":[");
        write_messages(p, 0, pair ? n - 2 : n);
        if (s->tools.n) buf_z(b, ",\"tools\":");
        buf_str(b, s->tools);
    }
    if (pair) {
        buf_z(b, "},\"preferred_output\":[");
        write_messages(p, n - 2, n - 1);
        buf_z(b, ",\"non_preferred_output\":[");
        write_messages(p, n - 1, n);
    }
    buf_byte(b, '}');
    p->ret->json = copy(p, b);
}

bool draft_finish(struct parsing *p, enum row_kind kind) {
    struct scratch *s = p->scratch;
    size_t n = s->message_count;
    struct message *messages = arena_array(p->arena, n, sizeof *messages);
    struct call *calls = arena_array(p->arena, s->call_count, sizeof *calls);
    if (!messages || !calls) return false; /* the owner looks at arena.over */
    if (n) memcpy(messages, s->messages, n * sizeof *messages);
    if (s->call_count) memcpy(calls, s->calls, s->call_count * sizeof *calls);
    for (size_t i = 0; i < n; i++)
        if (messages[i].call_count) messages[i].calls = calls + s->drafts[i].calls;
    p->ret->kind = kind;
    p->ret->messages = messages;
    p->ret->message_count = n;
    p->ret->tools = s->tools;
    write_row(p);
    return !s->json.over && !p->arena->over;
}
