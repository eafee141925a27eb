/* Writing a model directory: what import, export and full training share. Files of a source
 * directory are copied byte for byte; for a GGUF source they are made from its metadata. */
#ifndef MODEL_SAVE_H
#define MODEL_SAVE_H

#include "model/model.h"
#include "weights/tensors.h"

/* Everything but the weights: config.json, generation_config.json, tokenizer and template. dir
 * exists. */
int model_save_assets(const struct model *m, enum tensor_type type, const char *dir,
                      struct err *err);
/* A complete directory under the final name `dir`, which must not exist: written beside it, then
 * renamed. `list` replaces the weights (NULL: the model's own, converted to `type`; norms too). */
int model_save(const struct model *m, enum tensor_type type, const struct tensor_out *list,
               int64_t count, const char *dir, struct err *err);
/* Import PATH as $ATTUNE_HOME/models/NAME (name NULL: from the path), matrices as `type`. *ret_dir:
 * caller frees. ERR_CONFLICT when the name is taken. */
int model_import(const char *path, const char *name, enum tensor_type type, char **ret_dir,
                 struct err *err);

#endif
