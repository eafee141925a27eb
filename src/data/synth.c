#include "data/synth.h"

#include "base/mem.h"

#include <string.h>

#define ROLE_NAMES_MAX 5
#define SHOWN_TEXT_MAX ((size_t)4 << 20)

static const char *role_name(const struct message *m) {
    static const char *const names[ROLE_NAMES_MAX] = {"system", "user", "assistant", "tool", NULL};
    return m->role < ROLE_OTHER ? names[m->role] : NULL;
}

/* --- seeds --- */

static json_t *calls_of(const struct message *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < m->call_count; i++) {
        const struct call *c = &m->calls[i];
        json_array_append_new(
            list, json_pack("{s:s%, s:s, s:{s:s%, s:s%}}", "id", c->id.p ? c->id.p : "", c->id.n,
                            "type", "function", "function", "name", c->name.p, c->name.n,
                            "arguments", c->arguments.p ? c->arguments.p : "", c->arguments.n));
    }
    return list;
}

static json_t *message_of(const struct message *m) {
    json_t *o = json_pack("{s:s, s:s%}", "role", role_name(m), "content",
                          m->text.p ? m->text.p : "", m->text.n);
    if (m->call_count) json_object_set_new(o, "tool_calls", calls_of(m));
    if (m->tool_call_id.n)
        json_object_set_new(o, "tool_call_id", json_stringn(m->tool_call_id.p, m->tool_call_id.n));
    return o;
}

int synth_seed_of(const struct example *e, struct synth_seed *ret, struct err *err) {
    size_t last = e->message_count;
    bool asked = false;
    *ret = (struct synth_seed){.number = e->number, .question = json_array()};
    if (last && e->messages[last - 1].role == ROLE_ASSISTANT && e->kind != ROW_TEXT) {
        struct str text = e->messages[--last].text;
        ret->answer = (struct str){mem_strndup(text.p ? text.p : "", text.n), text.n};
    }
    for (size_t i = 0; i < last; i++) {
        asked |= e->messages[i].role == ROLE_USER;
        if (role_name(&e->messages[i]))
            json_array_append_new(ret->question, message_of(&e->messages[i]));
    }
    struct err none;
    if (e->tools.n) json_read(e->tools, "tools", &ret->tools, &none);
    if (asked && e->kind != ROW_PAIR) return 0;
    synth_seed_release(ret);
    return err_set(err, ERR_INVALID, "row %lld has no question of a user to be answered",
                   (long long)e->number);
}

void synth_seed_release(struct synth_seed *s) {
    json_decref(s->question);
    json_decref(s->tools);
    mem_free((char *)s->answer.p);
    *s = (struct synth_seed){0};
}

static bool is_system(const json_t *m) {
    const char *role = json_string_value(json_object_get(m, "role"));
    return role && strcmp(role, "system") == 0;
}

json_t *synth_with_system(const json_t *messages, struct str prompt) {
    json_t *list = json_array();
    if (prompt.n)
        json_array_append_new(
            list, json_pack("{s:s, s:s%}", "role", "system", "content", prompt.p, prompt.n));
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        if (!is_system(m)) json_array_append(list, m);
    }
    return list;
}

/* --- rows --- */

json_t *synth_row(const json_t *question, const json_t *tools, struct str answer,
                  const struct synth_origin *o) {
    json_t *messages = json_copy((json_t *)question);
    json_array_append_new(
        messages, json_pack("{s:s, s:s%}", "role", "assistant", "content", answer.p, answer.n));
    json_t *row = json_pack("{s:o}", "messages", messages);
    if (tools) json_object_set(row, "tools", (json_t *)tools);
    json_object_set_new(row, "source", json_string("synthetic"));
    json_object_set_new(row, "generator", json_string(o->generator));
    json_object_set_new(row, "prompt_sha256", json_string(o->prompt_sha256));
    json_object_set_new(row, "temperature", json_real(o->temperature));
    if (o->seed_row) json_object_set_new(row, "seed_row", json_integer(o->seed_row));
    return row;
}

const char *synth_refusal(struct str answer, const char *finish) {
    while (answer.n && strchr(" \t\r\n", answer.p[0])) answer = str_from(answer, 1);
    if (!answer.n) return "empty answer";
    if (finish && strcmp(finish, "length") == 0)
        return "cut: the answer did not end within --max-tokens";
    if (finish && strcmp(finish, "content_filter") == 0) return "withheld by the teacher's filter";
    return NULL;
}

/* --- inputs --- */

static struct str last_user_text(const struct synth_seed *s) {
    for (size_t i = json_array_size(s->question); i-- > 0;) {
        const json_t *m = json_array_get(s->question, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && strcmp(role, "user") == 0) return json_str(json_object_get(m, "content"));
    }
    return (struct str){"", 0};
}

static struct str system_text(const struct synth_seed *s) {
    const json_t *first = json_array_get(s->question, 0);
    return is_system(first) ? json_str(json_object_get(first, "content")) : (struct str){"", 0};
}

json_t *synth_ask_inputs(const struct synth_seed *const *shown, size_t shown_count, int count,
                         struct str about) {
    struct buf b;
    buf_init(&b, SHOWN_TEXT_MAX);
    struct str system = shown_count ? system_text(shown[0]) : (struct str){"", 0};
    if (system.n) buf_printf(&b, "An assistant has this task:\n%.*s\n\n", STR_ARG(system));
    buf_z(&b, "These are messages that its users sent:\n");
    for (size_t i = 0; i < shown_count; i++) {
        buf_z(&b, "- ");
        json_write_str(&b, last_user_text(shown[i]));
        buf_byte(&b, '\n');
    }
    buf_printf(
        &b,
        "\nWrite %d new messages that other users could send. Vary subject, length, tone and "
        "wording; copy none of those above.",
        count);
    if (about.n) buf_printf(&b, " %.*s", STR_ARG(about));
    buf_z(&b, "\nAnswer with JSON: {\"inputs\": [\"...\", ...]}");
    json_t *list = json_pack("[{s:s, s:s%}]", "role", "user", "content", b.p ? b.p : "", b.n);
    buf_release(&b);
    return list;
}

json_t *synth_inputs_schema(int count) {
    return json_pack("{s:s, s:{s:{s:s, s:{s:s, s:i}, s:i, s:i}}, s:[s], s:b}", "type", "object",
                     "properties", "inputs", "type", "array", "items", "type", "string",
                     "minLength", 1, "minItems", count, "maxItems", count, "required", "inputs",
                     "additionalProperties", 0);
}

int synth_take_inputs(struct str answer, json_t *list, struct err *err) {
    json_t *o = NULL;
    int rc = json_read(answer, "the teacher's answer", &o, err);
    if (rc) return rc;
    const json_t *inputs = json_object_get(o, "inputs");
    if (!json_is_array(inputs))
        rc = err_set(err, ERR_INVALID, "the teacher's answer has no list of inputs");
    for (size_t i = 0; !rc && i < json_array_size(inputs); i++) {
        json_t *one = json_array_get(inputs, i);
        if (json_is_string(one) && json_string_length(one)) json_array_append(list, one);
    }
    json_decref(o);
    return rc;
}

json_t *synth_question(const struct synth_seed *const *shown, size_t shown_count,
                       struct str input) {
    json_t *list = json_array();
    struct str system = shown_count ? system_text(shown[0]) : (struct str){"", 0};
    if (system.n)
        json_array_append_new(
            list, json_pack("{s:s, s:s%}", "role", "system", "content", system.p, system.n));
    for (size_t i = 0; i < shown_count; i++) {
        struct str asked = last_user_text(shown[i]);
        if (!shown[i]->answer.n) continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s%}", "role", "user", "content", asked.p, asked.n));
        json_array_append_new(list, json_pack("{s:s, s:s%}", "role", "assistant", "content",
                                              shown[i]->answer.p, shown[i]->answer.n));
    }
    json_array_append_new(list,
                          json_pack("{s:s, s:s%}", "role", "user", "content", input.p, input.n));
    return list;
}
