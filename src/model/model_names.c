#include "model/model_names.h"

#include "model/model_int.h"

int linear_names_parse(const char *list, unsigned *ret_targets, struct err *err) {
    unsigned targets = 0;
    if (strcmp(list, "all") == 0 || strcmp(list, "all-linear") == 0) {
        *ret_targets = (1u << LIN_COUNT) - 1;
        return 0;
    }
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        unsigned bit = 0;
        for (int k = 0; k < LIN_COUNT; k++)
            if (str_is((struct str){at, n}, linear_name((enum linear_kind)k))) bit = 1u << k;
        if (!bit)
            return err_set(err, ERR_USAGE,
                           "no linear layer is called \"%.*s\"; known: q_proj k_proj v_proj o_proj "
                           "gate_proj up_proj down_proj, or all",
                           (int)n, at);
        targets |= bit;
        at += n + (at[n] == ',');
    }
    if (!targets) return err_set(err, ERR_USAGE, "no target layers given");
    *ret_targets = targets;
    return 0;
}
