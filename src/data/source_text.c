/* Plain text and Markdown, for continued training: paragraphs or a section as one document. */
#include "data/source_int.h"

#include <string.h>

bool parse_text(struct parsing *p) {
    struct str s = p->text;
    while (s.n && s.p[0] && strchr("\r\n", s.p[0])) s = str_from(s, 1);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]) && s.p[s.n - 1]) s.n--;
    if (s.n && memchr(s.p, 0, s.n))
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "a NUL byte in text; remove it");
    draft_start(p, NULL);
    draft_message(p, ROLE_ASSISTANT, s);
    return draft_finish(p, ROW_TEXT);
}
