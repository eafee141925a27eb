/* What a grammar is made of; for src/text/grammar*.c and tool_grammar.c only.
 *
 * An automaton has rules (its procedures) of states. A state's edges consume a byte, nothing, or
 * call a rule: the place to go on is pushed. No rule accepts the empty text and no rule calls
 * itself before it has consumed a byte, so a configuration is closed in finite time. */
#ifndef TEXT_GRAMMAR_INT_H
#define TEXT_GRAMMAR_INT_H

#include "base/arena.h"
#include "base/mem.h"
#include "text/grammar.h"

#include <pthread.h>
#include <stdatomic.h>

#define NO_STATE UINT32_MAX
#define NO_HEIGHT UINT16_MAX
#define GRAMMAR_STATES_MAX (1u << 18)
#define GRAMMAR_EDGES_MAX (1u << 20)
#define GRAMMAR_DEPTH_MAX 500 /* frames: about as many open arrays and objects */
#define COUNT_MAX UINT32_MAX  /* of a counter: no upper bound */

/* --- automaton, grammar_build.c ------------------------------------------------------------- */

enum edge_kind {
    EDGE_BYTE, /* lo..hi */
    EDGE_EMPTY,
    EDGE_CALL, /* of rule `arg`, back at target */
    EDGE_MARK, /* one token: mark `arg` */
};
enum edge_op {
    OP_NONE,
    OP_COUNT, /* begins a character: needs count < max of counter `arg` */
    OP_CLOSE, /* the end: needs count >= min */
};
struct edge {
    uint32_t target, arg;
    uint8_t kind, lo, hi, op;
};
struct state {
    uint32_t edges, edge_count; /* into automaton.edges */
    uint32_t counter;           /* of a plain string's body: its counter, else NO_STATE */
    bool accept, leaf;          /* end of its rule; and nothing else */
};
struct counter {
    uint32_t min, max;
};
struct mark {
    char *text; /* the token as the vocabulary has it */
};

struct automaton {
    struct state *states;
    struct edge *edges;
    uint32_t *first_edge, *next_edge; /* while building: the list of a state's edges, last first */
    uint32_t *starts, *ranks; /* by rule: first state; callers have lower ranks than what they
                                 call at their start */
    struct counter *counters;
    struct mark *marks;
    uint32_t state_count, edge_count, rule_count, counter_count, mark_count;
    size_t state_cap, first_cap, edge_cap, next_cap, rule_cap, counter_cap, mark_cap;
    bool over; /* a limit was hit: sticks */
};

uint32_t build_state(struct automaton *a);
void build_accept(struct automaton *a, uint32_t s);
void build_byte(struct automaton *a, uint32_t s, unsigned lo, unsigned hi, uint32_t to);
void build_count(struct automaton *a, uint32_t s, unsigned lo, unsigned hi, uint32_t to,
                 enum edge_op op, uint32_t counter);
void build_empty(struct automaton *a, uint32_t s, uint32_t to);
void build_call(struct automaton *a, uint32_t s, uint32_t rule, uint32_t to);
void build_mark(struct automaton *a, uint32_t s, uint32_t mark, uint32_t to);
uint32_t build_rule(struct automaton *a); /* its start is a new state */
/* Bytes one behind another from s; the state behind them. */
uint32_t build_text(struct automaton *a, uint32_t s, struct str text);
/* The same, sharing edges that are there already: a tree of texts. */
uint32_t build_branch(struct automaton *a, uint32_t s, unsigned byte);
/* s, then at most one space; the state behind. */
uint32_t build_space(struct automaton *a, uint32_t s);
uint32_t build_find_edge(const struct automaton *a, uint32_t s, unsigned byte);
uint32_t build_counter(struct automaton *a, uint32_t min, uint32_t max);
uint32_t build_mark_text(struct automaton *a, struct str text); /* its number */
/* No more changes: edges lie by state, those to dead ends are gone. The caller frees heights. */
int build_finish(struct automaton *a, uint16_t **ret_heights, struct err *err);
void automaton_release(struct automaton *a);
/* For each state how many frames must be free to end its rule, NO_HEIGHT: it cannot be ended; with
 * what the vocabulary can write (NULL: every byte). The caller frees it. */
uint16_t *automaton_heights(const struct automaton *a, const struct grammar_vocab *v);

/* --- values of strings, grammar_chars.c and grammar_regex.c ---------------------------------- */

struct char_edge {
    uint32_t lo, hi, to; /* code points */
};
struct char_row {
    uint32_t first, count;
    bool accept;
};
/* A deterministic automaton over code points 1..10FFFF without surrogates. State 0 is the start. */
struct chars {
    struct char_row *rows;
    struct char_edge *edges; /* of a row: rising, not touching */
    uint32_t row_count, edge_count;
    size_t row_cap, edge_cap;
    uint64_t work; /* what making it took, in steps */
};
#define CHARS_ROWS_MAX 20000
#define CHARS_EDGES_MAX 400000

void chars_release(struct chars *c);
uint32_t chars_row(struct chars *c, bool accept);
void chars_edge(struct chars *c, uint32_t lo, uint32_t hi, uint32_t to); /* of the last row */
int chars_both(const struct chars *a, const struct chars *b, struct chars *ret, struct err *err);
void chars_length(uint32_t min, uint32_t max, struct chars *ret);
void chars_not(const struct chars *a, struct chars *ret);
void chars_names(const struct str *names, size_t count, struct chars *ret); /* exactly those */
bool chars_match(const struct chars *c, struct str utf8);
/* The language of an ECMA-262 pattern, searched anywhere in the text. */
int chars_pattern(struct str pattern, struct chars *ret, struct err *err);
int chars_format(struct str format, struct chars *ret, struct err *err); /* ERR_NOT_FOUND */

/* The inside of a JSON string from s on: each character in one spelling, then the quote to `to`. */
void build_chars(struct automaton *a, uint32_t s, const struct chars *c, uint32_t to);
/* Any string of min..max characters in any spelling, as a rule that ends with the quote. */
uint32_t build_string(struct automaton *a, uint32_t min, uint32_t max);
/* The spelling used for names and given values, without quotes. */
void chars_spell(struct buf *b, struct str utf8);

/* The inside of a plain string as a machine: what tokens may stand in any string. */
enum { STRING_BODY = 0, STRING_END = 63, STRING_BAD = 255 };
unsigned string_next(unsigned state, unsigned char byte);

/* --- numbers, grammar_number.c -----------------------------------------------------------------
 */

struct decimal { /* 0.d1d2d3... x 10^exponent; no digits: zero */
    bool negative;
    int exponent;
    uint8_t count, digits[20];
};
struct numbers {
    bool integer;
    bool has_lo, has_hi, lo_open, hi_open;
    struct decimal lo, hi;
    uint64_t step; /* multiples of step x 10^-step_places; 0: any */
    int step_places;
};
bool decimal_of(const json_t *number, struct decimal *ret);
int decimal_cmp(const struct decimal *a, const struct decimal *b);
int numbers_step(struct numbers *n, const json_t *step, struct err *err); /* and what it had */
bool numbers_allow(const struct numbers *n, const json_t *number);
int build_number(struct automaton *a, const struct numbers *n, uint32_t *ret_rule, struct err *err);
void number_spell(struct buf *b, const json_t *number);

/* --- schemas, grammar_schema.c (reading, merging) and grammar_value.c (rules) ---------------- */

struct schemas; /* documents, their parts, and the rules made of them so far */
struct schemas *schemas_new(struct automaton *a);
void schemas_free(struct schemas *s);
/* Adds a document; its rule is complete after schemas_finish. NULL: any object. */
int schemas_add(struct schemas *s, const json_t *schema, const char *where, uint32_t *ret_rule,
                struct err *err);
int schemas_finish(struct schemas *s, struct err *err);
/* After the automaton's heights are known: what only they can tell. */
int schemas_check(struct schemas *s, const uint16_t *heights, struct err *err);
const char *schemas_path(const struct schemas *s); /* of the last error */

/* Takes the automaton, whose rule 0 is the start. */
int grammar_make(struct automaton *a, struct schemas *s, struct grammar **ret, struct err *err);

/* --- vocabulary, grammar_vocab.c ------------------------------------------------------------- */

struct grammar_vocab {
    atomic_int refs;
    const struct tokenizer *tokenizer;
    int64_t size; /* ids */
    int32_t *stops;
    int64_t stop_count;
    /* a tree of the tokens' bytes; nodes in preorder, node 0 is the root */
    uint8_t *byte;
    uint16_t *depth;
    uint32_t *skip;  /* the node behind all that are below */
    uint32_t *first; /* tokens that end here: first[node] .. first[node + 1] of `ids` */
    int32_t *ids;
    uint32_t node_count, token_count;
    uint16_t longest;
    /* tokens that stay inside a string that they begin inside of */
    uint8_t *inside; /* by id: characters they begin; 255: they do not stay */
    uint64_t *inside_bits;
    uint32_t *quote_nodes; /* where a string ends and tokens go on, and characters before that */
    uint8_t *quote_chars;
    uint32_t quote_count;
    int32_t *quote_ids; /* tokens that end with the quote; characters before it */
    uint8_t *quote_id_chars;
    uint32_t quote_id_count;
    uint8_t most_chars;   /* highest number in the three lists */
    uint64_t *usable;     /* by id: tokens of the tree */
    uint64_t *quote_bits; /* those of quote_ids */
    bool writes[256];     /* a token is this byte alone */
    bool complete;        /* all bytes that JSON may need */
    int32_t *char_ids;    /* tokens that are one character of several bytes */
    uint32_t char_count;
};

/* --- running, grammar_run.c ------------------------------------------------------------------ */

struct thread {
    uint32_t state, count, node;
};
struct frame {
    uint32_t ret, parent; /* NO_STATE: the end of the text, or below what is looked at */
};
struct stack_node {
    uint32_t first, count, depth, next; /* frames; next in its hash chain */
};
/* Stacks as shared sets of frames. Node 0 is the bottom. */
struct stacks {
    struct stack_node *nodes;
    struct frame *frames;
    uint32_t node_count, frame_count, *heads, head_count;
    size_t node_cap, frame_cap;
};
void stacks_init(struct stacks *s);
void stacks_release(struct stacks *s);
void stacks_copy(const struct stacks *from, struct stacks *to);
uint32_t stacks_put(struct stacks *s, const struct frame *frames, uint32_t count);

struct threads {
    struct thread *at;
    uint32_t count;
    size_t cap;
    bool ended; /* the bottom was popped: what was begun below may go on */
};
struct runner { /* scratch, and what all steps need */
    const struct automaton *a;
    const uint16_t *heights;
    struct stacks *stacks;
    uint32_t room; /* frames */
    struct threads work, next;
    uint64_t *seen; /* hash table: round << 32 | index into work + 1 */
    uint32_t seen_size, round;
    struct pending_call *calls;
    uint32_t call_count;
    size_t call_cap, frame_cap;
    struct frame *frames;
};
void runner_init(struct runner *r, const struct automaton *a, const uint16_t *heights,
                 struct stacks *stacks);
void runner_release(struct runner *r);
/* Follows what consumes nothing: out gets the threads that can consume, sorted, without doubles. */
void runner_close(struct runner *r, const struct thread *from, uint32_t count, struct threads *out);
void runner_step(struct runner *r, const struct thread *from, uint32_t count, unsigned byte,
                 struct threads *out);
void runner_mark(struct runner *r, const struct thread *from, uint32_t count, uint32_t mark,
                 struct threads *out);
/* A token may end here. rest drops the threads where it may not. */
bool runner_rests(const struct runner *r, struct thread t);
void runner_rest(const struct runner *r, struct threads *t);
void threads_release(struct threads *t);

/* --- masks, grammar_mask.c ------------------------------------------------------------------- */

struct mask_cache; /* of one grammar with one vocabulary */
struct mask_cache *mask_cache_new(const struct grammar *g, struct grammar_vocab *v);
struct mask_cache *mask_cache_next(const struct mask_cache *c);
void mask_cache_free(struct mask_cache *c);

struct grammar {
    atomic_int refs;
    struct automaton automaton;
    uint16_t *heights;
    pthread_mutex_t lock; /* caches and what is in them */
    struct mask_cache *caches;
};

struct grammar_state {
    struct grammar *grammar;
    struct mask_cache *cache;
    struct stacks stacks;
    struct threads now;
    struct runner runner;
};

#endif
