/* Constrained decoding: which tokens may come next so that the text stays inside a JSON Schema.
 *
 * A schema becomes an automaton over bytes with a stack; a text is accepted exactly when it is JSON
 * that the schema allows, written with the properties in schema order, optional ones left out or
 * not, and with at most one space behind each ',' and ':' and none anywhere else. Whatever the
 * automaton has begun it can end: a token that would lead to a dead end is never allowed.
 *
 *     rc = grammar_compile(schema, &(struct grammar_options){.where = "schema"}, &g, path, err);
 *     rc = grammar_state_new(g, vocab, &s, err);           // one for each answer
 *     while (...) {
 *         grammar_mask(s, bits, n_ids);                    // sample among those ids
 *         if (id is a stop token) break;                   // allowed only when the text is whole
 *         grammar_accept(s, id);
 *     }
 *
 * docs/constrained-decoding.md lists the keywords, the choices made and the limits.
 *
 * Threads: a grammar and a vocabulary may be used by any number of threads; a state by one at a
 * time. States of one grammar share what they have computed, under a lock of the grammar. */
#ifndef TEXT_GRAMMAR_H
#define TEXT_GRAMMAR_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tokenizer;
struct grammar;
struct grammar_vocab;
struct grammar_state;

#define GRAMMAR_PATH_MAX 512

struct grammar_options {
    const char *where; /* what places begin with: "response_format.json_schema.schema" */
};

/* The schema is only read during the call. Errors: ERR_UNSUPPORTED for a keyword that cannot be
 * enforced exactly, ERR_INVALID for a malformed schema or one that no value satisfies, ERR_LIMIT
 * for one that is too big. The message names the keyword and its place; path (may be NULL) gets
 * the place alone, e.g. "response_format.json_schema.schema.properties.a.not". */
int grammar_compile(const json_t *schema, const struct grammar_options *options,
                    struct grammar **ret, char path[GRAMMAR_PATH_MAX], struct err *err);
/* Any JSON object. */
int grammar_json_object(struct grammar **ret, struct err *err);
struct grammar *grammar_ref(struct grammar *g);
void grammar_free(
    struct grammar *g); /* gives up one reference; states and vocabularies hold theirs */

/* OpenAI's rules for `strict`: root object, every property required, additionalProperties false,
 * no keyword beyond their list, limits of size. kind and name go into the message: "Invalid schema
 * for response_format 'name': In context=(), ...", "Invalid schema for function 'name': ...". */
int grammar_check_strict(const json_t *schema, const char *kind, struct str name,
                         const struct grammar_options *options, char path[GRAMMAR_PATH_MAX],
                         struct err *err);

/* The bytes of a model's tokens, sorted; once per model, about 10 MB for 150,000 tokens. The
 * tokenizer is borrowed for as long as the vocabulary lives (a state keeps it alive). stops: the
 * ids that end an answer; grammar_mask allows them when the text is whole. */
int grammar_vocab_new(const struct tokenizer *t, const int32_t *stops, int64_t stop_count,
                      struct grammar_vocab **ret, struct err *err);
struct grammar_vocab *grammar_vocab_ref(struct grammar_vocab *v);
void grammar_vocab_free(struct grammar_vocab *v);

/* ERR_UNSUPPORTED when the vocabulary cannot write what the grammar asks for (a byte that no token
 * stands for). */
int grammar_state_new(struct grammar *g, struct grammar_vocab *v, struct grammar_state **ret,
                      struct err *err);
struct grammar_state *grammar_state_copy(const struct grammar_state *s);
void grammar_state_free(struct grammar_state *s);

/* Sets bit i of bits (ids / 64 words, rounded up) where token i may come next, stop tokens
 * included; clears all others. At least one bit is set. */
void grammar_mask(struct grammar_state *s, uint64_t *bits, int64_t ids);
/* The token was chosen. False, and the state as before, when it is not allowed; stop tokens change
 * nothing and are accepted when the text is whole. */
bool grammar_accept(struct grammar_state *s, int32_t id);
/* The text so far is whole: the model may stop here. */
bool grammar_finished(const struct grammar_state *s);
/* Nothing but a stop token may follow. */
bool grammar_must_stop(const struct grammar_state *s);

/* Without a tokenizer: the text is accepted; whole: as all of it, else as the beginning of a text
 * that is. */
bool grammar_accepts_text(const struct grammar *g, struct str text, bool whole);

#endif
