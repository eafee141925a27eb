/* Rows that a teacher wrote: what it is asked, what becomes of its answers, and where each row came
 * from. Pure; asking is the caller's.
 *
 * Distillation: the teacher answers the inputs with its long system prompt, the row carries the
 * short one. Synthesis: the teacher is shown some of the seed rows and writes new inputs like them,
 * then answers those. Provenance is in the row's own keys, which a dataset's build keeps:
 *
 *   "source":"synthetic","generator":"gpt-x","prompt_sha256":"...","seed_row":12
 */
#ifndef DATA_SYNTH_H
#define DATA_SYNTH_H

#include "base/buf.h"
#include "base/json.h"
#include "data/example.h"

/* A chat row to ask about or to learn from: the conversation up to the last answer, and that
 * answer. */
struct synth_seed {
    int64_t number;    /* row of its file */
    json_t *question;  /* messages before the last answer, system included; owned */
    json_t *tools;     /* or NULL; owned */
    struct str answer; /* empty where the row has none; mem_free answer.p */
};
/* ERR_INVALID where there is no question in it: no user message, or plain text. */
int synth_seed_of(const struct example *e, struct synth_seed *ret, struct err *err);
void synth_seed_release(struct synth_seed *s);

/* The conversation with `prompt` as its system message in place of its own; empty: without one. A
 * new reference. */
json_t *synth_with_system(const json_t *messages, struct str prompt);

/* --- distillation and answers --- */

struct synth_origin {
    const char *generator;     /* the teacher's name */
    const char *prompt_sha256; /* of what the teacher was told besides the question */
    int64_t seed_row;
    double temperature;
};
/* {"messages":[..., answer],"tools"?,"source":"synthetic",...}; a new reference. */
json_t *synth_row(const json_t *question, const json_t *tools, struct str answer,
                  const struct synth_origin *o);
/* Why an answer must not be learnt: NULL when it may. finish: as the model ended. */
const char *synth_refusal(struct str answer, const char *finish);

/* --- synthesis of inputs --- */

/* What the teacher is asked to get `count` new inputs in the manner of the seeds shown; its answer
 * keeps to synth_inputs_schema. about: a wish of the user's, may be empty. New references. */
json_t *synth_ask_inputs(const struct synth_seed *const *shown, size_t shown_count, int count,
                         struct str about);
json_t *synth_inputs_schema(int count);
/* The strings of its answer; appended to `list` (json array). ERR_INVALID: not of the schema. */
int synth_take_inputs(struct str answer, json_t *list, struct err *err);
/* The question of a new input: the seed's system message, the seeds shown as turns before it. */
json_t *synth_question(const struct synth_seed *const *shown, size_t shown_count, struct str input);

#endif
