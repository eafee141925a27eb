/* A row as tokens with the mask of what is trained. The mask comes from rendering prefixes of the
 * conversation and comparing, never from the template's markup. Rendering is the same call serving
 * makes (template_render_chat), so that the model meets in training what it meets later. */
#include "data/rows.h"

#include "base/mem.h"
#include "data/conversation.h"

#include <assert.h>

#define RENDERED_MAX_BYTES ((size_t)256 << 20)

struct render {
    const struct render_options *o;
    struct token_list ids; /* the row */
    float *train;          /* as many as ids */
    int issues;
    struct err *err;
};

static int encode(struct render *r, struct str text, struct token_list *out) {
    return tokenizer_encode(r->o->tokenizer, text, false, out, r->err);
}

static int64_t common_prefix(const struct token_list *a, const struct token_list *b) {
    int64_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->ids[i] == b->ids[i]) i++;
    return i;
}

static void mask_new(struct render *r) {
    r->train = mem_zalloc((size_t)r->ids.n + 1, sizeof *r->train);
}

static void mask_set(struct render *r, int64_t from, int64_t to, float weight) {
    if (from == 0) from = 1; /* nothing precedes the first token */
    for (int64_t i = from; i < to; i++) r->train[i] = weight;
}

/* --- completion and text
 * -------------------------------------------------------------------------- */

/* What the post-processor puts before a text: its ids for no text at all, without a closing EOS. */
static int add_head(struct render *r) {
    int rc = tokenizer_encode(r->o->tokenizer, STR_LIT(""), true, &r->ids, r->err);
    int32_t eos = tokenizer_eos(r->o->tokenizer);
    if (!rc && r->ids.n > 1 && eos >= 0 && r->ids.ids[r->ids.n - 1] == eos) r->ids.n--;
    return rc;
}

static void add_eos(struct render *r) {
    int32_t eos = tokenizer_eos(r->o->tokenizer);
    if (eos >= 0 && (r->ids.n == 0 || r->ids.ids[r->ids.n - 1] != eos))
        token_list_add(&r->ids, eos);
}

static int render_text(struct render *r, const json_t *row) {
    if (add_head(r) || encode(r, json_str(json_object_get(row, "text")), &r->ids))
        return r->err->code;
    add_eos(r);
    mask_new(r);
    mask_set(r, 0, r->ids.n, 1);
    return 0;
}

static int render_completion(struct render *r, const json_t *row) {
    struct str prompt = json_str(json_object_get(row, "prompt"));
    struct token_list alone = {0};
    struct buf text;
    buf_init(&text, RENDERED_MAX_BYTES);
    buf_str(&text, prompt);
    buf_str(&text, json_str(json_object_get(row, "completion")));
    int rc = add_head(r);
    for (int64_t i = 0; i < r->ids.n; i++) token_list_add(&alone, r->ids.ids[i]);
    if (!rc) rc = encode(r, prompt, &alone);
    if (!rc) rc = encode(r, buf_view(&text), &r->ids);
    if (!rc) {
        add_eos(r);
        mask_new(r);
        int64_t start = common_prefix(&alone, &r->ids);
        if (start < alone.n) r->issues |= ROW_SERVES_OTHERWISE;
        mask_set(r, start, r->ids.n, 1);
    }
    token_list_release(&alone);
    buf_release(&text);
    return rc;
}

/* --- chat
 * ----------------------------------------------------------------------------------------- */

static bool is_bookkeeping(const char *key) {
    return !strcmp(key, "id") || !strcmp(key, "weight") || !strcmp(key, "metadata");
}

/* The row's template variables; messages are filled in by the caller. */
static json_t *vars_new(const json_t *row) {
    json_t *vars = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)row, key, value) {
        if (!is_bookkeeping(key)) json_object_set(vars, key, value);
    }
    json_object_del(vars, "functions");
    json_object_del(vars, "tools");
    json_t *tools = conversation_tools(row);
    if (tools) json_object_set_new(vars, "tools", tools);
    return vars;
}

static int render_prefix(struct render *r, json_t *vars, const json_t *messages, size_t count,
                         bool prompt, struct token_list *ret) {
    json_t *part = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(part, conversation_message(json_array_get(messages, i)));
    json_object_set_new(vars, "messages", part);
    struct buf text;
    buf_init(&text, RENDERED_MAX_BYTES);
    ret->n = 0;
    int rc = template_render_chat(r->o->chat, vars, tokenizer_special_map(r->o->tokenizer), prompt,
                                  &text, r->err);
    if (!rc) rc = encode(r, buf_view(&text), ret);
    buf_release(&text);
    return rc;
}

static void remove_key(json_t *row, const char *key) {
    size_t i;
    json_t *m;
    json_object_del(row, key);
    json_array_foreach(json_object_get(row, "messages"), i, m) json_object_del(m, key);
}

static bool has_key(const json_t *row, const char *key) {
    size_t i;
    const json_t *m, *own = json_object_get(row, key);
    bool found = json_array_size(own) > 0 || json_object_size(own) > 0;
    json_array_foreach(json_object_get(row, "messages"), i, m) {
        const json_t *its = json_object_get(m, key);
        found = found || json_array_size(its) > 0 || json_object_size(its) > 0;
    }
    return found;
}

/* The row reads the same without what stands under `key`. */
static bool is_unseen(struct render *r, const json_t *row, const char *key) {
    if (!has_key(row, key)) return false;
    json_t *without = json_deep_copy(row);
    remove_key(without, key);
    json_t *vars = vars_new(without), *messages = json_object_get(without, "messages");
    struct token_list ids = {0};
    int rc = render_prefix(r, vars, messages, json_array_size(messages), false, &ids);
    bool same = !rc && ids.n == r->ids.n && common_prefix(&ids, &r->ids) == ids.n;
    token_list_release(&ids);
    json_decref(vars);
    json_decref(without);
    return same;
}

/* the template hides them */
static int unseen_tools(struct render *r, const json_t *row) {
    int issues = 0;
    if (is_unseen(r, row, "tools") || is_unseen(r, row, "functions")) issues |= ROW_TOOLS_UNSEEN;
    if (is_unseen(r, row, "tool_calls") || is_unseen(r, row, "function_call"))
        issues |= ROW_CALLS_UNSEEN;
    return issues;
}

/* One past the last special token in [from, n), or n when there is none. */
static int64_t answer_end(const struct render *r, const struct token_list *full, int64_t from) {
    for (int64_t i = full->n; i > from; i--)
        if (tokenizer_is_special(r->o->tokenizer, full->ids[i - 1])) return i;
    return full->n;
}

/* prompt: messages before the answer with the generation prompt; full: up to and with the answer.
 */
static void mask_answer(struct render *r, const struct token_list *prompt,
                        const struct token_list *full, float weight) {
    int64_t start = common_prefix(prompt, full);
    if (start < prompt->n) r->issues |= ROW_SERVES_OTHERWISE;
    int64_t end = answer_end(r, full, start), same = common_prefix(full, &r->ids);
    if (same < end) { /* later messages changed this answer's text or what stands before it */
        r->issues |= ROW_SERVES_OTHERWISE;
        return;
    }
    mask_set(r, start, end, weight);
}

static float weight_of(const json_t *message) {
    const json_t *w = json_object_get(message, "weight");
    return json_is_number(w) ? (float)json_number_value(w) : 1;
}

static bool is_answer(const json_t *message) {
    return str_is(json_str(json_object_get(message, "role")), "assistant");
}

/* answers before messages[from] are not trained */
static int render_chat(struct render *r, const json_t *row, size_t from) {
    if (!r->o->chat)
        return err_set(
            r->err, ERR_INVALID,
            "chat rows need a chat template and this model has none; use prompt/completion rows, "
            "or put a chat_template.jinja into the model's directory");
    const json_t *messages = json_object_get(row, "messages");
    size_t count = json_array_size(messages);
    struct token_list prompt = {0}, full = {0};
    json_t *vars = vars_new(row);
    int rc = render_prefix(r, vars, messages, count, false, &r->ids);
    if (!rc) mask_new(r);
    if (!rc) r->issues |= unseen_tools(r, row);
    if (r->issues & ROW_CALLS_UNSEEN) count = 0;
    for (size_t i = from; i < count && !rc; i++) {
        const json_t *m = json_array_get(messages, i);
        float weight = weight_of(m);
        if (!is_answer(m) || weight <= 0) continue;
        rc = render_prefix(r, vars, messages, i, true, &prompt);
        if (rc &&
            i == 0) { /* many templates refuse an empty conversation; serving never asks for it */
            r->issues |= ROW_SERVES_OTHERWISE;
            rc = 0;
            continue;
        }
        if (!rc) rc = render_prefix(r, vars, messages, i + 1, false, &full);
        if (!rc)
            mask_answer(r, &prompt, &full, weight);
        else
            err_wrap(r->err, "rendering up to messages[%zu]", i);
    }
    json_decref(vars);
    token_list_release(&prompt);
    token_list_release(&full);
    return rc;
}

/* --- the row
 * -------------------------------------------------------------------------------------- */

static void finish(struct render *r, struct row_tokens *ret) {
    *ret =
        (struct row_tokens){.ids = r->ids.ids, .train = r->train, .n = r->ids.n, .uncut = r->ids.n};
    if (r->o->max_length > 0 && ret->n > r->o->max_length) {
        ret->n = r->o->max_length;
        r->issues |= ROW_CUT;
    }
    for (int64_t i = 0; i < ret->n; i++) ret->trained += ret->train[i] > 0;
    if (ret->trained == 0) r->issues |= ROW_TRAINS_NOTHING;
    ret->issues = r->issues;
}

static int end(struct render *r, int rc, const struct row *row, struct row_tokens *ret) {
    if (rc) {
        token_list_release(&r->ids);
        mem_free(r->train);
        return err_wrap(r->err, "row %lld (line %lld)", (long long)row->number,
                        (long long)row->line);
    }
    assert(r->train);
    finish(r, ret);
    return 0;
}

int row_render(const struct row *row, enum row_kind kind, const struct render_options *o,
               struct row_tokens *ret, struct err *err) {
    struct render r = {.o = o, .err = err};
    int rc = 0;
    switch (kind) {
    case ROW_CHAT: rc = render_chat(&r, row->json, 0); break;
    case ROW_COMPLETION: rc = render_completion(&r, row->json); break;
    case ROW_TEXT: rc = render_text(&r, row->json); break;
    case ROW_PAIR: assert(kind != ROW_PAIR); break; /* that is two samples */
    }
    return end(&r, rc, row, ret);
}

/* the conversation that ends in this output */
static json_t *pair_chat(const json_t *row, enum pair_side side) {
    const json_t *input = json_object_get(row, "input");
    json_t *chat = json_copy((json_t *)input);
    json_t *messages = json_copy(json_object_get(input, "messages"));
    json_array_append(messages, pair_output(row, side));
    json_object_set_new(chat, "messages", messages);
    return chat;
}

int row_render_pair(const struct row *row, const struct render_options *o, struct row_tokens *ret,
                    struct err *err) {
    struct row_tokens both[PAIR_SIDES] = {0};
    size_t answer =
        json_array_size(json_object_get(json_object_get(row->json, "input"), "messages"));
    int rc = 0;
    for (enum pair_side side = 0; !rc && side < PAIR_SIDES; side++) {
        struct render r = {.o = o, .err = err};
        json_t *chat = pair_chat(row->json, side);
        rc = end(&r, render_chat(&r, chat, answer), row, &both[side]);
        json_decref(chat);
    }
    for (int side = 0; side < PAIR_SIDES; side++) {
        if (rc)
            row_tokens_release(&both[side]);
        else
            ret[side] = both[side];
    }
    return rc;
}

void row_tokens_release(struct row_tokens *t) {
    mem_free(t->ids);
    mem_free(t->train);
    *t = (struct row_tokens){0};
}
