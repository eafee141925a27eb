/* sharegpt: "conversations" of {"from", "value"}, with the turns function_call and observation for
 * tools, and "chosen" and "rejected" for pairs. */
#include "data/source_int.h"

enum turn { TURN_SAYS, TURN_CALLS, TURN_ANSWERS };

static enum role role_from(struct str from, enum turn *turn) {
    static const struct {
        const char *from;
        enum role role;
        enum turn turn;
    } names[] = {{"human", ROLE_USER, TURN_SAYS},
                 {"gpt", ROLE_ASSISTANT, TURN_SAYS},
                 {"system", ROLE_SYSTEM, TURN_SAYS},
                 {"function_call", ROLE_ASSISTANT, TURN_CALLS},
                 {"tool_call", ROLE_ASSISTANT, TURN_CALLS},
                 {"observation", ROLE_TOOL, TURN_ANSWERS},
                 {"tool", ROLE_TOOL, TURN_ANSWERS},
                 {"function", ROLE_TOOL, TURN_ANSWERS},
                 {"function_response", ROLE_TOOL, TURN_ANSWERS},
                 {"tool_response", ROLE_TOOL, TURN_ANSWERS},
                 {"user", ROLE_USER, TURN_SAYS},
                 {"assistant", ROLE_ASSISTANT, TURN_SAYS},
                 {"chatgpt", ROLE_ASSISTANT, TURN_SAYS},
                 {"bing", ROLE_ASSISTANT, TURN_SAYS},
                 {"bard", ROLE_ASSISTANT, TURN_SAYS},
                 {"bot", ROLE_ASSISTANT, TURN_SAYS},
                 {"model", ROLE_ASSISTANT, TURN_SAYS}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!str_is(from, names[i].from)) continue;
        *turn = names[i].turn;
        return names[i].role;
    }
    *turn = TURN_SAYS;
    return ROLE_OTHER;
}

/* calls of a turn belong to the assistant's turn right before it */
static void add_calls(struct parsing *p, struct str value) {
    struct scratch *s = p->scratch;
    struct message *last = s->message_count ? &s->messages[s->message_count - 1] : NULL;
    if (!last || last->role != ROLE_ASSISTANT)
        draft_message(p, ROLE_ASSISTANT, STR_LIT(""))->has_content = false;
    draft_calls(p, value);
}

static bool add_turn(struct parsing *p, const struct json_view *v, int32_t at) {
    const struct json_view *from = json_view_get(v, "from"), *value = json_view_get(v, "value");
    enum turn turn;
    if (v->type != VIEW_OBJECT)
        return parse_refuse(p, FINDING_INVALID_FORMAT, at, "a turn must be an object, not %s",
                            json_view_type_name(v));
    if (!from) from = json_view_get(v, "role");
    if (!value) value = json_view_get(v, "content");
    if (!from || !value)
        return parse_refuse(p, FINDING_MESSAGE_MISSING_KEY, at,
                            "a turn has \"from\" and \"value\"");
    if (value->type != VIEW_STRING && value->type != VIEW_NULL)
        return parse_refuse(p, FINDING_MISSING_CONTENT, at, "\"value\" must be a string, not %s",
                            json_view_type_name(value));
    struct str text = value->type == VIEW_STRING ? value->text : STR_LIT("");
    enum role role = role_from(from->text, &turn);
    if (turn == TURN_CALLS) {
        add_calls(p, text);
        return true;
    }
    struct message *m = draft_message(p, role, text);
    if (role == ROLE_OTHER) m->role_name = from->text;
    if (turn == TURN_ANSWERS) draft_answers_call(p);
    return true;
}

/* of a pair: one turn, a list of one, or a text */
static bool add_output(struct parsing *p, const struct json_view *v, const char *key, int32_t at) {
    if (json_view_is(v, VIEW_ARRAY) && v->count == 1) v = json_view_first(v);
    if (json_view_is(v, VIEW_STRING)) {
        draft_message(p, ROLE_ASSISTANT, v->text);
        return true;
    }
    size_t before = p->scratch->message_count;
    if (json_view_is(v, VIEW_OBJECT) && !add_turn(p, v, at)) return false;
    if (p->scratch->message_count == before + 1) return true;
    return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "\"%s\" must be one turn of text, not %s",
                        key, json_view_type_name(v));
}

bool parse_sharegpt(struct parsing *p, const struct json_view *row) {
    const struct json_view *list = json_view_get(row, "conversations");
    const struct json_view *system = json_view_get(row, "system");
    const struct json_view *chosen = json_view_get(row, "chosen");
    const struct json_view *rejected = json_view_get(row, "rejected");
    bool pair = chosen || rejected;
    if (!list) list = json_view_get(row, "conversation");
    if (!list) list = json_view_get(row, "messages");
    if (!json_view_is(list, VIEW_ARRAY) || list->count == 0)
        return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1,
                            "\"conversations\" must be a list of turns, not %s",
                            json_view_is(list, VIEW_ARRAY) ? "an empty one"
                                                           : json_view_type_name(list));
    draft_start(p, row);
    if (json_view_is(system, VIEW_STRING) && system->text.n)
        draft_message(p, ROLE_SYSTEM, system->text);
    const struct json_view *v = json_view_first(list);
    for (uint32_t i = 0; i < list->count; i++, v = json_view_next(v))
        if (!add_turn(p, v, (int32_t)i)) return false;
    draft_tools(p, json_view_get(row, "tools"));
    if (pair && (!add_output(p, chosen, "chosen", (int32_t)list->count) ||
                 !add_output(p, rejected, "rejected", (int32_t)list->count + 1)))
        return false;
    return draft_finish(p, pair ? ROW_PAIR : ROW_CHAT);
}
