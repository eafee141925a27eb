/* What a model name in a request stands for: a base model, a tuned one, a checkpoint, an imported
 * adapter, or an alias of any of them.
 *
 *   starter                              a base model (attune models)
 *   ft:{base}:{org}:{suffix}:{8 alnum}   a tuned one; suffix may be empty
 *   ft:...:ckpt-step-N                   as it was after step N
 *   NAME                                 an imported adapter
 *   production                           an alias; a model's own name goes before it
 *
 * Names are never paths. Any thread; what is returned lies in the caller's arena. */
#ifndef REGISTRY_NAMES_H
#define REGISTRY_NAMES_H

#include "store/audit.h"
#include "store/catalog.h"

#define NAMES_ORG "local"

enum name_kind { NAME_BASE, NAME_TUNED, NAME_CHECKPOINT, NAME_IMPORTED, NAME_ALIAS };

struct named_model {
    const char *id;       /* the model's own name, also where an alias was asked for */
    enum name_kind kind;  /* NAME_ALIAS: only in lists */
    const char *base;     /* name of the base model; the same as id for base models */
    const char *path;     /* of the base's directory */
    const char *adapter;  /* directory; NULL: the base alone */
    const char *job;      /* that made it, or NULL */
    const char *target;   /* of an alias, else NULL */
    const char *owned_by; /* "system" for base models, else the organisation */
    int64_t created, step;
};
struct named_list {
    struct named_model *list;
    size_t count;
};

/* ERR_NOT_FOUND: nothing of this name, or an alias that leads nowhere. */
int names_resolve(struct catalog *c, const char *name, struct arena *mem, struct named_model *ret,
                  struct err *err);
/* Base models first, then what was made or taken in, oldest first, then aliases. */
int names_list(struct catalog *c, struct arena *mem, struct named_list *ret, struct err *err);
/* A tuned model with its checkpoints and files; an imported adapter; a checkpoint. ERR_INVALID for
 * base models and aliases, ERR_CONFLICT while an alias leads to it. */
int names_delete(struct catalog *c, const char *name, struct err *err);
/* An alias, made or moved: ERR_NOT_FOUND where the target is nothing, ERR_CONFLICT where the name
 * is a model's or the way would lead back to it. */
int names_check_alias(struct catalog *c, const char *name, const char *target, struct err *err);
int names_set_alias(struct catalog *c, const char *name, const char *target,
                    const struct audit_cause *cause, struct err *err);

/* A PEFT adapter under a name of its own. base NULL: the one that it says it belongs to. Opened
 * over its base before it is taken in; `warning` ("": none) says that it was trained on another. */
struct name_import {
    const char *dir, *name, *base;
};
int names_import(struct catalog *c, const struct name_import *i, char warning[240],
                 struct err *err);

/* --- composing --- */

#define NAME_SIZE 256
struct tuned_name {
    const char *base, *org, *suffix; /* suffix NULL: none */
    const char *unique;              /* 8 letters and digits */
};
/* What may not stand in a part (':', spaces, ...) becomes '-'. */
void names_compose(const struct tuned_name *n, char ret[NAME_SIZE]);
void names_checkpoint(const char *model, int64_t step, char ret[NAME_SIZE]);

#endif
