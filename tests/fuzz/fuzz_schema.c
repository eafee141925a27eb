/* A JSON Schema on the first line, a value after it: arguments of tool calls are held against what
 * somebody wrote into a row. */
#include "data/toolset.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct str text = {(const char *)data, size};
    const char *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - text.p) : size;
    json_t *schema = NULL, *value = NULL;
    struct err err;
    char why[SCHEMA_WHY_MAX];
    struct toolset_cache *c = toolset_cache_new();
    toolset_put(c, toolset_get(c, (struct str){text.p, n}));
    toolset_cache_free(c);
    if (json_read((struct str){text.p, n}, "schema", &schema, &err) == 0 &&
        json_read(str_from(text, n + 1), "value", &value, &err) == 0) {
        struct schema *s = schema_new(schema);
        schema_check(s, value, why);
        schema_free(s);
    }
    json_decref(schema);
    json_decref(value);
    return 0;
}
