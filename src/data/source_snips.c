/* The snips corpus of voice commands: {"INTENT": [{"data": [{"text"}, {"text", "entity"}, ...]}]}.
 * The command is the question; the answer is JSON of intent and slots, as an assistant would have
 * to give it: {"intent":"GetWeather","slots":{"city":"Oslo"}}, a list where a slot comes again. */
#include "data/source_int.h"

static bool named(const struct json_view *piece, struct str entity) {
    const struct json_view *e = json_view_get(piece, "entity");
    return json_view_is(e, VIEW_STRING) && str_eq(e->text, entity);
}

/* the pieces from `from` on that fill this slot */
static uint32_t write_values(struct buf *b, const struct json_view *from, uint32_t left,
                             struct str entity) {
    uint32_t n = 0;
    for (; left; left--, from = json_view_next(from)) {
        if (!named(from, entity)) continue;
        if (n++ && b) buf_byte(b, ',');
        if (b) json_view_quote(b, json_view_get(from, "text")->text);
    }
    return n;
}

static bool came_before(const struct json_view *data, uint32_t i, struct str entity) {
    const struct json_view *piece = json_view_first(data);
    for (uint32_t j = 0; j < i; j++, piece = json_view_next(piece))
        if (named(piece, entity)) return true;
    return false;
}

static struct str answer_of(struct parsing *p, const struct json_view *data) {
    struct buf *b = &p->scratch->text;
    const struct json_view *piece = json_view_first(data);
    bool first = true;
    buf_clear(b);
    buf_z(b, "{\"intent\":");
    json_view_quote(b, (struct str){p->record->key, p->record->key_n});
    buf_z(b, ",\"slots\":{");
    for (uint32_t i = 0; i < data->count; i++, piece = json_view_next(piece)) {
        const struct json_view *e = json_view_get(piece, "entity");
        if (!json_view_is(e, VIEW_STRING) || came_before(data, i, e->text)) continue;
        bool list = write_values(NULL, piece, data->count - i, e->text) > 1;
        if (!first) buf_byte(b, ',');
        first = false;
        json_view_quote(b, e->text);
        buf_z(b, list ? ":[" : ":");
        write_values(b, piece, data->count - i, e->text);
        if (list) buf_byte(b, ']');
    }
    buf_z(b, "}}");
    return arena_str(p->arena, buf_view(b));
}

bool parse_snips(struct parsing *p, const struct json_view *row) {
    const struct json_view *data = json_view_get(row, "data");
    struct buf *b = &p->scratch->text;
    if (!json_view_is(data, VIEW_ARRAY) || data->count == 0 || data->count > 1000)
        return parse_refuse(p, FINDING_MISSING_MESSAGES_LIST, -1,
                            "\"data\" must be a list of pieces of text, 1 to 1000, not %s",
                            json_view_is(data, VIEW_ARRAY) ? "so many" : json_view_type_name(data));
    const struct json_view *piece = json_view_first(data);
    buf_clear(b);
    for (uint32_t i = 0; i < data->count; i++, piece = json_view_next(piece)) {
        const struct json_view *text = json_view_get(piece, "text");
        if (!json_view_is(text, VIEW_STRING))
            return parse_refuse(p, FINDING_MISSING_CONTENT, -1,
                                "data[%u]: \"text\" must be a string, not %s", i,
                                json_view_type_name(text));
        buf_str(b, text->text);
    }
    draft_start(p, row);
    draft_message(p, ROLE_USER, arena_str(p->arena, buf_view(b)));
    draft_message(p, ROLE_ASSISTANT, answer_of(p, data));
    return draft_finish(p, ROW_CHAT);
}
