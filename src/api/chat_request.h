/* The body of POST /chat/completions: read, checked, in one form. Follows the API's section on chat
 * completions; fields that do not concern a local engine (service_tier, user, prompt_cache_key,
 * ...) are accepted and ignored, features it has not (audio, web search, images) are refused by
 * name. */
#ifndef API_CHAT_REQUEST_H
#define API_CHAT_REQUEST_H

#include "api/reader.h"

enum tool_choice { TOOLS_NONE, TOOLS_AUTO, TOOLS_REQUIRED, TOOLS_NAMED };
enum response_kind { RESPONSE_TEXT, RESPONSE_JSON_OBJECT, RESPONSE_JSON_SCHEMA };

#define STOP_MAX 4

/* What chat and legacy completions share. */
struct sampling_request {
    double temperature, top_p, presence_penalty, frequency_penalty;
    int64_t n, max_tokens; /* max_tokens -1: as many as fit */
    int64_t seed;
    bool has_seed;
    struct str stop[STOP_MAX];
    int stop_count;
    int32_t *bias_id; /* (bias_count), owned */
    float *bias;
    int64_t bias_count;
    bool stream, include_usage;
};

struct chat_request {
    struct str model;
    json_t *messages; /* in the form of data/conversation.h; owned */
    json_t *tools;    /* NULL: none; owned */
    enum tool_choice tool_choice;
    struct str tool_name;       /* TOOLS_NAMED */
    const json_t *tools_chosen; /* of allowed_tools, borrowed from the body; NULL: all */
    bool parallel_tool_calls;
    struct sampling_request sampling;
    bool logprobs;
    int64_t top_logprobs;
    enum response_kind response;
    struct str schema_name;
    const json_t *schema; /* borrowed from the body */
    bool schema_strict;
    bool store;
    const json_t *metadata;
};

/* Strings and JSON that are not owned live as long as the body. On a problem f->rc is set and *ret
 * holds nothing. */
int chat_request_read(struct reader *f, struct chat_request *ret);
void chat_request_release(struct chat_request *r);
/* may the function of this name be called? */
bool chat_request_allows(const struct chat_request *r, struct str name);

/* The shared part; the defaults of max_tokens and n come from the caller in *s. */
void sampling_request_read(struct reader *f, struct sampling_request *s);
void sampling_request_release(struct sampling_request *s);

#endif
