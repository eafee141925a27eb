/* A question and an answer under names of their own: alpaca (instruction, input, output, system,
 * history) and its kin (question and answer, prompt and response, prompt with chosen and rejected).
 * They become a conversation, since chat models are asked through their template. */
#include "data/source_int.h"

static const struct json_view *any_of(const struct json_view *row, const char *const *names) {
    for (; *names; names++) {
        const struct json_view *v = json_view_get(row, *names);
        if (v && v->type != VIEW_NULL) return v;
    }
    return NULL;
}

static const char *const prompts[] = {"instruction", "prompt", "question", "query",
                                      "utterance",   "source", "input",    NULL};
static const char *const answers[] = {"output", "response", "answer", "completion",
                                      "target", "solution", NULL};

static bool is_text(struct parsing *p, const struct json_view *v, const char *what) {
    if (json_view_is(v, VIEW_STRING)) return true;
    if (!v) return parse_refuse(p, FINDING_MESSAGE_MISSING_KEY, -1, "there is no %s", what);
    return parse_refuse(p, FINDING_MISSING_CONTENT, -1, "the %s must be a string, not %s", what,
                        json_view_type_name(v));
}

/* [["question", "answer"], ...] before this turn */
static bool add_history(struct parsing *p, const struct json_view *history) {
    if (!history || history->type == VIEW_NULL) return true;
    bool fine = history->type == VIEW_ARRAY;
    const struct json_view *turn = json_view_first(history);
    for (uint32_t i = 0; fine && i < history->count; i++, turn = json_view_next(turn)) {
        const struct json_view *q = json_view_first(turn);
        fine = turn->type == VIEW_ARRAY && turn->count == 2 && q->type == VIEW_STRING &&
               json_view_is(json_view_next(q), VIEW_STRING);
        if (!fine) break;
        draft_message(p, ROLE_USER, q->text);
        draft_message(p, ROLE_ASSISTANT, json_view_next(q)->text);
    }
    if (fine) return true;
    return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                        "\"history\" must be a list of pairs of question and answer");
}

/* the question, and the input it is about */
static struct str whole_prompt(struct parsing *p, const struct json_view *row,
                               const struct json_view *prompt) {
    const struct json_view *input = json_view_get(row, "input");
    struct buf *b = &p->scratch->text;
    if (input == prompt || !json_view_is(input, VIEW_STRING) || !input->text.n) return prompt->text;
    if (!prompt->text.n) return input->text;
    buf_clear(b);
    buf_str(b, prompt->text);
    buf_z(b, "\n\n");
    buf_str(b, input->text);
    return arena_str(p->arena, buf_view(b));
}

bool parse_alpaca(struct parsing *p, const struct json_view *row) {
    const struct json_view *prompt = any_of(row, prompts), *answer = any_of(row, answers);
    const struct json_view *chosen = json_view_get(row, "chosen");
    const struct json_view *rejected = json_view_get(row, "rejected");
    const struct json_view *system = json_view_get(row, "system");
    const struct json_view *label = json_view_get(row, "label");
    bool pair = chosen || rejected;
    if (!is_text(p, prompt, "question (\"instruction\", \"prompt\", \"question\", ...)"))
        return false;
    if (pair && (!is_text(p, chosen, "\"chosen\"") || !is_text(p, rejected, "\"rejected\"")))
        return false;
    if (!pair && !is_text(p, answer, "answer (\"output\", \"response\", \"answer\", ...)"))
        return false;
    draft_start(p, row);
    if (json_view_is(system, VIEW_STRING) && system->text.n)
        draft_message(p, ROLE_SYSTEM, system->text);
    if (!add_history(p, json_view_get(row, "history"))) return false;
    draft_tools(p, json_view_get(row, "tools"));
    draft_message(p, ROLE_USER, whole_prompt(p, row, prompt));
    draft_message(p, ROLE_ASSISTANT, pair ? chosen->text : answer->text);
    if (pair) draft_message(p, ROLE_ASSISTANT, rejected->text);
    if (json_view_is(label, VIEW_FALSE))
        parse_note(p, FINDING_LOW_FEEDBACK, -1,
                   "\"label\" is false: an answer that was disliked, not one to learn");
    return draft_finish(p, pair ? ROW_PAIR : ROW_CHAT);
}
