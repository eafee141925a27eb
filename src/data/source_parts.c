/* Messages whose content is parts of {"type", "value"}: text, reasoning, tool_call; loss_weight
 * instead of weight; pairs as chosen_messages and rejected_messages. Reasoning becomes
 * "reasoning_content" of the row's JSON, which templates of reasoning models read. */
#include "data/source_int.h"

#include <math.h>

#define PARTS_MAX 1000 /* of a message */

struct said {
    struct str text, reasoning;
    size_t texts;
};

static struct str joined(struct parsing *p, struct str a, struct str b) {
    struct buf *out = &p->scratch->text;
    if (!a.n) return b;
    buf_clear(out);
    buf_str(out, a);
    buf_byte(out, '\n');
    buf_str(out, b);
    return arena_str(p->arena, buf_view(out));
}

static bool add_part(struct parsing *p, const struct json_view *part, struct said *said,
                     int32_t at) {
    const struct json_view *type = json_view_get(part, "type"), *v = json_view_get(part, "value");
    if (!v) v = json_view_get(part, "text");
    if (!json_view_is(type, VIEW_STRING) || !json_view_is(v, VIEW_STRING))
        return parse_refuse(p, FINDING_INVALID_FORMAT, at,
                            "a part of \"content\" has \"type\" and \"value\", both strings");
    if (str_is(type->text, "text")) {
        said->text = joined(p, said->text, v->text);
        said->texts++;
        return true;
    }
    if (str_is(type->text, "reasoning") || str_is(type->text, "thinking")) {
        said->reasoning = joined(p, said->reasoning, v->text);
        return true;
    }
    if (str_is(type->text, "tool_call") || str_is(type->text, "tool_calls")) return true;
    return parse_refuse(p, FINDING_INVALID_FORMAT, at,
                        "a part of type \"%.*s\"; only text, reasoning and tool_call are read",
                        excerpt(type->text, 40), type->text.p);
}

static void add_calls(struct parsing *p, const struct json_view *list) {
    const struct json_view *part = json_view_first(list);
    for (uint32_t i = 0; i < list->count; i++, part = json_view_next(part)) {
        const struct json_view *type = json_view_get(part, "type"),
                               *v = json_view_get(part, "value");
        if (!str_is(type->text, "tool_call") && !str_is(type->text, "tool_calls")) continue;
        draft_calls(p, v ? v->text : STR_LIT(""));
    }
}

/* Zero of a message that is never trained says nothing; what is none is not a number. */
static void set_weight(struct message *m, const struct json_view *w) {
    if (!w || w->type == VIEW_NULL) return;
    double x = w->type == VIEW_NUMBER ? json_view_number(w) : (double)NAN;
    if (m->role == ROLE_ASSISTANT)
        m->weight = x;
    else if (!(x <= 0 && x >= 0))
        m->weight = (double)NAN;
}

static bool add_message(struct parsing *p, const struct json_view *v, int32_t at) {
    const struct json_view *role = json_view_get(v, "role"), *content = json_view_get(v, "content");
    struct said said = {{"", 0}, {"", 0}, 0};
    if (v->type != VIEW_OBJECT)
        return parse_refuse(p, FINDING_INVALID_FORMAT, at, "a message must be an object, not %s",
                            json_view_type_name(v));
    bool listed = json_view_is(content, VIEW_ARRAY);
    if (listed && content->count > PARTS_MAX)
        return parse_refuse(p, FINDING_INVALID_FORMAT, at, "%u parts; at most %d are read",
                            content->count, PARTS_MAX);
    if (json_view_is(content, VIEW_STRING))
        said.text = content->text;
    else if (!listed && content && content->type != VIEW_NULL)
        return parse_refuse(p, FINDING_MISSING_CONTENT, at,
                            "\"content\" must be a list of parts or a string, not %s",
                            json_view_type_name(content));
    const struct json_view *part = listed ? json_view_first(content) : NULL;
    for (uint32_t i = 0; listed && i < content->count; i++, part = json_view_next(part))
        if (!add_part(p, part, &said, at)) return false;
    struct message *m = draft_message(p, ROLE_OTHER, said.text);
    m->role_name = role && role->type != VIEW_NULL ? role->text : STR_LIT("");
    m->role = json_view_is(role, VIEW_STRING) ? role_of(role->text) : ROLE_OTHER;
    m->has_content = listed ? said.texts > 0 || !content->count : content != NULL;
    const struct json_view *weight = json_view_get(v, "loss_weight");
    set_weight(m, weight ? weight : json_view_get(v, "weight"));
    draft_reasoning(p, said.reasoning);
    if (m->role == ROLE_TOOL) draft_answers_call(p);
    if (listed) add_calls(p, content);
    return true;
}

static bool add_messages(struct parsing *p, const struct json_view *row, const char *key,
                         bool last_only, const struct json_view **ret) {
    const struct json_view *list = json_view_get(row, key);
    if (!json_view_is(list, VIEW_ARRAY) || list->count == 0)
        return parse_refuse(
            p, FINDING_MISSING_MESSAGES_LIST, -1, "\"%s\" must be a list of messages, not %s", key,
            json_view_is(list, VIEW_ARRAY) ? "an empty one" : json_view_type_name(list));
    const struct json_view *v = json_view_first(list);
    *ret = list;
    for (uint32_t i = 0; i < list->count; i++, v = json_view_next(v))
        if ((!last_only || i + 1 == list->count) && !add_message(p, v, (int32_t)i)) return false;
    return true;
}

/* both have the same messages but for the last one */
static bool same_beginning(const struct json_view *a, const struct json_view *b) {
    if (a->count != b->count) return false;
    const struct json_view *x = json_view_first(a), *y = json_view_first(b);
    for (uint32_t i = 0; i + 1 < a->count; i++, x = json_view_next(x), y = json_view_next(y))
        if (!str_eq(x->text, y->text)) return false;
    return true;
}

bool parse_parts(struct parsing *p, const struct json_view *row) {
    const struct json_view *chosen = json_view_get(row, "chosen_messages");
    const struct json_view *rejected = json_view_get(row, "rejected_messages"), *list;
    bool pair = chosen || rejected;
    draft_start(p, row);
    if (!add_messages(p, row, pair ? "chosen_messages" : "messages", false, &chosen)) return false;
    if (pair && !add_messages(p, row, "rejected_messages", true, &rejected)) return false;
    if (pair && !same_beginning(chosen, rejected))
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "\"chosen_messages\" and \"rejected_messages\" differ before their "
                            "last message: they do not answer the same");
    list = json_view_get(row, "tools");
    draft_tools(p, list);
    return draft_finish(p, pair ? ROW_PAIR : ROW_CHAT);
}
