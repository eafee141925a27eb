/* Models of a command line that answer questions: a directory, a GGUF file, a known name, a tuned
 * model or alias of the catalog, an adapter's directory, or another server's model,
 * http(s)://HOST:PORT/v1#NAME. Those of this machine share one engine. */
#ifndef CLI_ANSWERERS_H
#define CLI_ANSWERERS_H

#include "infer/asker.h"
#include "store/catalog.h"

struct answerers {
    const char *dtype;       /* "f32", "bf16" or NULL: the machine's best */
    int threads, batch;      /* 0: all cores, 16 */
    struct engine *engine;   /* opened with the first local model */
    struct catalog *catalog; /* likewise */
    struct arena mem;
};
void answerers_init(struct answerers *a);
void answerers_close(struct answerers *a); /* after its askers */

/* `ref` as a person wrote it. The key of a server comes from ATTUNE_UPSTREAM_KEY, else
 * OPENAI_API_KEY. What it stands for at this moment is in a->mem. */
struct answering {
    struct asker *asker;
    const char *id;      /* the model's own name; `ref` where that is a path or address */
    const char *version; /* changes with its files: a hash; "" of another server's */
};
int answerers_open(struct answerers *a, const char *ref, struct answering *ret, struct err *err);

#endif
