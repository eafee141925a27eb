/* JSON Lines as an upload has to be: every line that is not blank a JSON object, at least one.
 * Lines end in \n or \r\n; a byte order mark at the beginning is skipped. What is in the objects is
 * a job's affair (data/rows.h). */
#ifndef API_JSONL_H
#define API_JSONL_H

#include "base/err.h"
#include "base/str.h"

/* ERR_INVALID: "Line 3 is not valid JSON: ..."; lines count from 1, blank ones too. */
int jsonl_check(struct str text, struct err *err);

#endif
