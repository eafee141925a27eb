/* What OpenAI has removed or attune leaves out, each with the sentence that helps. */
#include "api/api.h"

#define FINE_TUNES                                                                                 \
    "/v1/fine-tunes was removed by OpenAI in January 2024. Use POST /v1/fine_tuning/jobs with "    \
    "training_file, model and method instead (openai.fineTuning.jobs.create)."
#define LEFT_OUT(what) what " is not offered by attune, which tunes and serves language models."

const struct http_route old_routes[] = {
    {"*", "/v1/fine-tunes", .removed = FINE_TUNES},
    {"*", "/v1/fine-tunes/{rest*}", .removed = FINE_TUNES},
    {"*", "/v1/engines", .removed = "/v1/engines was replaced by models: use GET /v1/models.",
     .removed_status = 404},
    {"*", "/v1/engines/{rest*}",
     .removed = "/v1/engines was replaced: use POST /v1/completions or /v1/embeddings with the "
                "field model.",
     .removed_status = 404},
    {"*", "/v1/edits",
     .removed = "/v1/edits was removed by OpenAI in January 2024: use POST /v1/chat/completions.",
     .removed_status = 404},
    {"*", "/v1/answers",
     .removed = "/v1/answers was removed by OpenAI: use POST /v1/chat/completions.",
     .removed_status = 404},
    {"*", "/v1/classifications",
     .removed = "/v1/classifications was removed by OpenAI: fine-tune a classifier with POST "
                "/v1/fine_tuning/jobs, or use POST /v1/chat/completions.",
     .removed_status = 404},
    {"*", "/v1/search",
     .removed = "/v1/search was removed by OpenAI: use POST /v1/embeddings, or a vector store's "
                "search.",
     .removed_status = 404},
    {"*", "/v1/moderations", .removed = LEFT_OUT("Moderation"), .removed_status = 404},
    {"*", "/v1/images/{rest*}", .removed = LEFT_OUT("Making images"), .removed_status = 404},
    {"*", "/v1/audio/{rest*}", .removed = LEFT_OUT("Audio"), .removed_status = 404},
    {"*", "/v1/realtime/{rest*}", .removed = LEFT_OUT("The realtime API"), .removed_status = 404},
    {"*", "/v1/assistants", .removed = LEFT_OUT("The assistants API"), .removed_status = 404},
    {"*", "/v1/assistants/{rest*}", .removed = LEFT_OUT("The assistants API"),
     .removed_status = 404},
    {"*", "/v1/threads", .removed = LEFT_OUT("The assistants API"), .removed_status = 404},
    {"*", "/v1/threads/{rest*}", .removed = LEFT_OUT("The assistants API"), .removed_status = 404},
    {0}};
