/* A grader's configuration, an answer and a case, separated by NUL: templates, schemas, patterns,
 * metrics. What is accepted gives a finite score. */
#include "eval/grader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct str cut(struct str *rest) {
    const char *end = rest->n ? memchr(rest->p, 0, rest->n) : NULL;
    struct str s = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    *rest = str_from(*rest, s.n + 1);
    return s;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct str rest = {(const char *)data, size};
    struct str config = cut(&rest), output = cut(&rest), item = cut(&rest);
    json_t *c = NULL, *i = NULL, *sample = NULL;
    struct grader *g = NULL;
    struct grade grade;
    struct err err;
    if (size > 4096) return 0; /* long edit distances are slow, not wrong */
    if (json_read(config, "config", &c, &err) == 0 && grader_new(c, "grader", &g, &err) == 0) {
        sample = grader_sample(output);
        if (json_read(item, "item", &i, &err)) i = json_pack("{s:s}", "expected", "1");
        if (grader_grade(g, &(struct placeholder_scope){i, sample}, &grade, &err) == 0 &&
            !isfinite(grade.score))
            abort();
    }
    grader_free(g);
    json_decref(c);
    json_decref(i);
    json_decref(sample);
    return 0;
}
