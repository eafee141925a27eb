/* One form for conversations, whatever spelling they came in, so that a template sees the same in
 * training and in serving. What OpenAI's API allows and templates do not know:
 *
 *   role developer             -> system
 *   role function, name        -> tool
 *   content [{"type":"text"}]  -> one string, parts joined by a line end
 *   content null or absent     -> "" (an assistant message that only calls)
 *   function_call              -> tool_calls of one
 *   arguments "{...}"          -> an object, as the templates' authors expect; text that is no JSON
 *                                 object stays a string
 *   functions                  -> tools
 *
 * Keys that only the API knows (weight, refusal, annotations, audio, parsed) are left out. The
 * input is not changed; the caller owns what is returned. Any thread.
 */
#ifndef DATA_CONVERSATION_H
#define DATA_CONVERSATION_H

#include "base/json.h"

json_t *conversation_message(const json_t *message);
/* of a row or a request: its tools, or its functions in the form of tools; NULL when it has none */
json_t *conversation_tools(const json_t *row);

#endif
