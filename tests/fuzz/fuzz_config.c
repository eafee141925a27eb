/* config.json and generation_config.json, separated by a NUL. What is accepted must be written as
 * something that reads as the same configuration. */
#include "weights/config.h"

#include <stdlib.h>
#include <string.h>

static void write_and_read(const struct model_config *c) {
    struct err err;
    struct model_config again;
    json_t *config = model_config_write(c, "float32"),
           *generation = model_config_write_generation(c);
    if (model_config_read(config, generation, "written", &again, &err) != 0) abort();
    if (again.dim != c->dim || again.window != c->window || again.window_from != c->window_from ||
        again.rope.kind != c->rope.kind || again.head_dim != c->head_dim ||
        again.qkv_bias != c->qkv_bias)
        abort();
    json_decref(config);
    json_decref(generation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err;
    struct model_config c;
    json_t *config = NULL, *generation = NULL;
    struct str text = {(const char *)data, n}, rest = {"", 0};
    const char *split = n ? memchr(data, 0, n) : NULL;
    if (split) rest = str_from(text, (size_t)(split - text.p) + 1);
    if (split) text.n = (size_t)(split - text.p);
    if (json_read(text, "config", &config, &err) == 0) {
        if (rest.n && json_read(rest, "generation", &generation, &err) != 0) generation = NULL;
        if (model_config_read(config, generation, "config", &c, &err) == 0) write_and_read(&c);
    }
    json_decref(config);
    json_decref(generation);
    return 0;
}
