/* The verbs of `attune data` over versions of datasets, and what they share. */
#ifndef CLI_DATA_VERSIONS_H
#define CLI_DATA_VERSIONS_H

#include "base/json.h"
#include "store/datasets.h"

int cmd_data_build(int argc, char **argv);
int cmd_data_restore(int argc, char **argv);
int cmd_data_reproduce(int argc, char **argv);
int cmd_data_show(int argc, char **argv);
int cmd_data_log(int argc, char **argv);
int cmd_data_diff(int argc, char **argv);
int cmd_data_export(int argc, char **argv);
int cmd_data_rejected(int argc, char **argv);

/* NAME, or NAME@NUMBER */
int data_version_named(struct catalog *c, const char *text, struct arena *mem,
                       struct dataset_version *ret, struct err *err);
void data_counts_print(const json_t *counts);

#endif
