/* The seven linear layers of a block as PEFT names them; public because command lines speak them.
 */
#ifndef MODEL_MODEL_NAMES_H
#define MODEL_MODEL_NAMES_H

#include "base/err.h"

/* "q_proj,v_proj" or "all" into a bit for each enum linear_kind; unknown names are ERR_USAGE. */
int linear_names_parse(const char *list, unsigned *ret_targets, struct err *err);

#endif
