/* Renders one template over many variables: template_driver FILE < JSON lines > JSON lines with
 * "text" or "error". For templates.py, which compares with jinja2. */
#include "base/json.h"
#include "text/template.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

static void answer(const char *key, struct str text) {
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    buf_printf(&b, "{\"%s\":", key);
    json_write_str(&b, text);
    printf("%s}\n", b.p);
    buf_release(&b);
}

static void render_line(const struct chat_template *t, struct str line) {
    struct err err;
    struct buf out;
    json_t *vars = NULL;
    buf_init(&out, (size_t)64 << 20);
    int rc = json_read(line, "input", &vars, &err);
    if (!rc) rc = template_render(t, vars, &out, &err);
    answer(rc ? "error" : "text", rc ? str_of(err.msg) : buf_view(&out));
    json_decref(vars);
    buf_release(&out);
}

int main(int argc, char **argv) {
    struct err err;
    struct buf source;
    struct chat_template *t = NULL;
    char *line = NULL;
    size_t cap = 0;
    buf_init(&source, (size_t)1 << 20);
    if (argc != 2 || file_read(argv[1], &source, &err)) return 2;
    int rc = template_compile(buf_view(&source), "template", &t, &err);
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        if (rc)
            answer("error", str_of(err.msg));
        else
            render_line(t, (struct str){line, (size_t)n});
    }
    free(line);
    buf_release(&source);
    template_free(t);
    return 0;
}
