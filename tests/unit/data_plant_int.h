/* Rows with defects at known places, from a seed: the same rows everywhere. plant_row writes row
 * after row; what it returns is the kind that the row must be found to have, or none. A kind is
 * added in `plants`: its writer, and whether only a check with more than format sees it. */
#ifndef TESTS_DATA_PLANT_INT_H
#define TESTS_DATA_PLANT_INT_H

#include "base/buf.h"
#include "base/rng.h"
#include "data/findings.h"

#define PLANT_NONE FINDING_KINDS
#define PLANT_FEEDBACK_MIN 3 /* what low_feedback is planted for */

struct plant {
    struct rng rng;
    int64_t row;     /* of the one written last */
    int words;       /* of a question or an answer, about */
    double defects;  /* the part of the rows that has one */
    struct buf text; /* scratch */
};

static inline void plant_init(struct plant *p, uint64_t seed, int words, double defects) {
    *p = (struct plant){.words = words, .defects = defects};
    rng_init(&p->rng, seed);
    buf_init(&p->text, 1 << 20);
}
static inline void plant_release(struct plant *p) { buf_release(&p->text); }

static inline unsigned plant_pick(struct plant *p, unsigned n) {
    return (unsigned)rng_below(&p->rng, n);
}

/* words made of syllables: no two rows have much in common */
static inline struct str plant_text(struct plant *p) {
    static const char *const syllables[] = {"ba", "ke", "li", "mo", "nu", "ra", "se", "ti",
                                            "vo", "da", "fe", "gi", "ho", "ju", "la", "me"};
    int words = p->words / 2 + (int)plant_pick(p, (unsigned)p->words + 1);
    buf_clear(&p->text);
    for (int i = 0; i <= words; i++) {
        if (i) buf_byte(&p->text, ' ');
        for (unsigned k = 2 + plant_pick(p, 3); k; k--)
            buf_z(&p->text, syllables[plant_pick(p, 16)]);
    }
    return buf_view(&p->text);
}

/* {"role":..,"content":"..." more}; a text for NULL */
static inline void plant_message(struct plant *p, struct buf *b, const char *role,
                                 const char *content, const char *more) {
    struct str s = content ? str_of(content) : plant_text(p);
    buf_printf(b, "{\"role\":\"%s\",\"content\":\"%.*s\"%s}", role, STR_ARG(s), more);
}
static inline void plant_user(struct plant *p, struct buf *b) {
    plant_message(p, b, "user", NULL, "");
    buf_byte(b, ',');
}
static inline void plant_answer(struct plant *p, struct buf *b) {
    plant_message(p, b, "assistant", NULL, "");
}

/* a whole row around an answer that is written as it is given */
static inline void plant_around(struct plant *p, struct buf *b, const char *answer) {
    buf_z(b, "{\"messages\":[");
    plant_user(p, b);
    buf_z(b, answer);
    buf_z(b, "]}");
}

#define PLANT_TOOLS                                                                                \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"book\",\"parameters\":{"           \
    "\"type\":\"object\",\"properties\":{\"day\":{\"type\":\"string\"},\"people\":{\"type\":"      \
    "\"integer\",\"minimum\":1}},\"required\":[\"day\"],\"additionalProperties\":false}}}]"

/* user, call, result of call `answered`, answer */
static inline void plant_call(struct plant *p, struct buf *b, const char *arguments,
                              const char *answered) {
    buf_z(b, "{\"messages\":[");
    plant_user(p, b);
    buf_printf(b,
               "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
               "\"function\",\"function\":{\"name\":\"book\",\"arguments\":\"%s\"}}]},",
               arguments);
    if (*answered)
        buf_printf(b, "{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":\"done\"},",
                   answered);
    plant_answer(p, b);
    buf_z(b, "]," PLANT_TOOLS "}");
}

#define PLANT_RIGHT_ARGUMENTS "{\\\"people\\\":2,\\\"day\\\":\\\"Monday\\\"}"

/* --- rows with nothing wrong --- */

static inline void plant_clean(struct plant *p, struct buf *b) {
    unsigned turns = 1 + plant_pick(p, 3), kind = plant_pick(p, 8);
    if (kind == 0) {
        plant_call(p, b, PLANT_RIGHT_ARGUMENTS, "c1");
        return;
    }
    buf_z(b, "{\"messages\":[");
    if (kind == 2) buf_z(b, "{\"role\":\"system\",\"content\":\"Answer in short.\"},");
    for (unsigned i = 0; i < turns; i++) {
        if (i) buf_byte(b, ',');
        plant_user(p, b);
        plant_message(p, b, "assistant", NULL,
                      kind == 3 ? i + 1 < turns ? ",\"weight\":0" : ",\"weight\":1" : "");
    }
    buf_z(b, kind == 4 ? "],\"feedback\":5}" : "]}");
}

/* --- defects: v chooses among the forms of one --- */

static inline void plant_invalid_format(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {"[1,2,3]", "{\"messages\":[{\"role\":\"user\"", "null",
                                        "{\"messages\":[\"hello\"]}", "{\"a\":1,\"a\":2}"};
    (void)p;
    buf_z(b, forms[v % 4]);
}
static inline void plant_no_list(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {"{\"messages\":[]}", "{\"messages\":\"hello\"}",
                                        "{\"mesages\":[]}"};
    (void)p;
    buf_z(b, forms[v % 3]);
}
static inline void plant_no_role(struct plant *p, struct buf *b, unsigned v) {
    (void)v;
    plant_around(p, b, "{\"content\":\"hello\"},{\"role\":\"assistant\",\"content\":\"yes\"}");
}
static inline void plant_extra_key(struct plant *p, struct buf *b, unsigned v) {
    (void)v;
    plant_around(p, b, "{\"role\":\"assistant\",\"content\":\"yes\",\"contnet\":\"no\"}");
}
static inline void plant_bad_role(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {"bot", "asistant", "Assistant", "gpt"};
    plant_around(p, b, "");
    b->n -= 2;
    plant_message(p, b, forms[v % 4], NULL, "");
    buf_z(b, "]}");
}
static inline void plant_bad_order(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {"U,A", "A,U", "A,A", "A,S,U,A", "S,A"};
    plant_around(p, b, "");
    b->n -= 2;
    for (const char *f = forms[v % 5]; *f; f++) {
        if (*f == ',') buf_byte(b, ',');
        if (*f == 'U') plant_message(p, b, "user", NULL, "");
        if (*f == 'A') plant_message(p, b, "assistant", NULL, "");
        if (*f == 'S') plant_message(p, b, "system", NULL, "");
    }
    buf_z(b, "]}");
}
static inline void plant_no_content(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {
        "{\"role\":\"assistant\",\"content\":null}", "{\"role\":\"assistant\",\"content\":\"\"}",
        "{\"role\":\"assistant\",\"content\":\" \\n \"}", "{\"role\":\"assistant\",\"content\":5}"};
    plant_around(p, b, forms[v % 4]);
}
static inline void plant_no_answer(struct plant *p, struct buf *b, unsigned v) {
    buf_z(b, v % 2 ? "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}," : "{\"messages\":[");
    plant_message(p, b, "user", NULL, "");
    buf_z(b, "]}");
}
static inline void plant_bad_weight(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {",\"weight\":0.5", ",\"weight\":-1", ",\"weight\":\"1\"",
                                        ",\"weight\":2"};
    plant_around(p, b, "");
    b->n -= 2;
    plant_message(p, b, "assistant", NULL, forms[v % 4]);
    buf_z(b, "]}");
}
static inline void plant_bad_tools(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {
        "{\"name\":\"f\"}", "5", "[{\"type\":\"function\"}]", "[{\"name\":\"f\"}]",
        "[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]"};
    plant_around(p, b, "{\"role\":\"assistant\",\"content\":\"yes\"}");
    b->n--;
    buf_printf(b, ",\"tools\":%s}", forms[v % 5]);
}
static inline void plant_bad_arguments(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {
        "{\\\"people\\\":2}", "{\\\"day\\\":\\\"Monday\\\",\\\"people\\\":0}",
        "{\\\"day\\\":5}",    "{\\\"day\\\":\\\"Monday\\\",\\\"x\\\":1}",
        "{\\\"day\\\":",      "[]"};
    plant_call(p, b, forms[v % 6], "c1");
}
static inline void plant_unpaired(struct plant *p, struct buf *b, unsigned v) {
    if (v % 2)
        plant_call(p, b, PLANT_RIGHT_ARGUMENTS, "c2");
    else
        plant_around(p, b,
                     "{\"role\":\"tool\",\"tool_call_id\":\"c9\",\"content\":\"done\"},"
                     "{\"role\":\"assistant\",\"content\":\"yes\"}");
}
static inline void plant_refusal(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {
        "I'm sorry, but I can't help with that.", "As an AI language model, I cannot do this.",
        "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre.", "Lo siento, pero no puedo ayudarte."};
    plant_around(p, b, "");
    b->n -= 2;
    plant_message(p, b, "assistant", forms[v % 5], "");
    buf_z(b, "]}");
}
static inline void plant_low_feedback(struct plant *p, struct buf *b, unsigned v) {
    static const char *const forms[] = {"\"feedback\":1", "\"score\":2.5",
                                        "\"metadata\":{\"feedback\":{\"score\":0}}"};
    plant_around(p, b, "{\"role\":\"assistant\",\"content\":\"yes\"}");
    b->n--;
    buf_printf(b, ",%s}", forms[v % 3]);
}
static inline void plant_untrained(struct plant *p, struct buf *b, unsigned v) {
    (void)v;
    plant_around(p, b, "{\"role\":\"assistant\",\"content\":\"yes\",\"weight\":0}");
}

static const struct {
    enum finding_kind kind;
    void (*write)(struct plant *p, struct buf *b, unsigned v);
} plants[] = {{FINDING_INVALID_FORMAT, plant_invalid_format},
              {FINDING_MISSING_MESSAGES_LIST, plant_no_list},
              {FINDING_MESSAGE_MISSING_KEY, plant_no_role},
              {FINDING_MESSAGE_UNRECOGNIZED_KEY, plant_extra_key},
              {FINDING_UNRECOGNIZED_ROLE, plant_bad_role},
              {FINDING_INVALID_ROLE_ORDER, plant_bad_order},
              {FINDING_MISSING_CONTENT, plant_no_content},
              {FINDING_EXAMPLE_MISSING_ASSISTANT_MESSAGE, plant_no_answer},
              {FINDING_INVALID_WEIGHT, plant_bad_weight},
              {FINDING_INVALID_TOOLS, plant_bad_tools},
              {FINDING_INVALID_TOOL_ARGUMENTS, plant_bad_arguments},
              {FINDING_UNPAIRED_TOOL_CALL, plant_unpaired},
              {FINDING_REFUSING_ANSWER, plant_refusal},
              {FINDING_LOW_FEEDBACK, plant_low_feedback},
              {FINDING_TRAINS_NOTHING, plant_untrained}};
#define PLANT_COUNT (sizeof plants / sizeof *plants)

/* The next row, with its line end. */
static inline enum finding_kind plant_row(struct plant *p, struct buf *b) {
    enum finding_kind kind = PLANT_NONE;
    p->row++;
    if (rng_double(&p->rng) < p->defects) {
        unsigned i = plant_pick(p, PLANT_COUNT), v = plant_pick(p, 60);
        plants[i].write(p, b, v);
        kind = plants[i].kind;
    } else {
        plant_clean(p, b);
    }
    buf_byte(b, '\n');
    return kind;
}

#endif
