/* What a check found, for scripts, terminals and browsers. The same report gives the same bytes. */
#ifndef DATA_REPORT_H
#define DATA_REPORT_H

#include "base/buf.h"
#include "data/check.h"

bool report_is_clean(const struct check_report *r); /* no findings; notes do not count */

/* One object on one line: {"rows","clean","findings":[{"kind","row",...}],"notes":[...],"counts",
 * "verdict",...}; docs/data-check.md has all keys. */
void report_json(const struct check_report *r, struct buf *out);
/* For people: figures, problems by kind with row numbers and an example, the verdict and the next
 * step. colour: with terminal colours, and the first example with what is trained marked. */
void report_text(const struct check_report *r, bool colour, struct buf *out);
/* One self-contained page without scripts. */
void report_html(const struct check_report *r, struct buf *out);

/* For the three forms: what to do about a kind, and the verdict in words. */
const char *report_advice(enum finding_kind kind);
struct report_verdict {
    char text[200], next[240];
};
void report_verdict(const struct check_report *r, struct report_verdict *ret);

#endif
