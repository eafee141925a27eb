/* Cases and answers to them, separated by NUL. Every case has an id and an expected answer. */
#include "eval/cases.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct str text = {(const char *)data, size}, rest = {"", 0};
    const char *split = size ? memchr(data, 0, size) : NULL;
    if (split) rest = str_from(text, (size_t)(split - text.p) + 1);
    if (split) text.n = (size_t)(split - text.p);
    struct cases c;
    struct outputs o;
    struct err err;
    if (cases_from_text(text, "cases", size % 2 ? "g" : NULL, &c, &err)) return 0;
    for (int64_t i = 0; i < c.n; i++)
        if (!c.ids[i].n || !json_object_get(c.items[i], "expected")) abort();
    if (outputs_from_text(rest, "outputs", &c, &o, &err) == 0) outputs_release(&o, &c);
    cases_release(&c);
    return 0;
}
