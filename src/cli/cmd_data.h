/* attune data VERB: one function for each verb, in cmd_data_<verb>.c. A verb is added in this list
 * alone; argv[0] is "data", argv[1] the verb's first argument. */
#ifndef CLI_CMD_DATA_H
#define CLI_CMD_DATA_H

#define DATA_VERBS(X)                                                                              \
    X(check, "what is wrong with a file of examples, row by row")                                  \
    X(build, "a version of a dataset: checked, without duplicates and leaks, split")               \
    X(show, "what a version holds; without a name, all datasets")                                  \
    X(log, "the versions of a dataset")                                                            \
    X(diff, "what a version has, lacks or changed beside another")                                 \
    X(export, "the rows as train.jsonl, valid.jsonl and test.jsonl")                               \
    X(rejected, "rows that were dropped or changed, with the reasons")                             \
    X(restore, "rejected rows come back, for a reason")                                            \
    X(reproduce, "build a version again and compare the root")                                     \
    X(synth, "new rows in the manner of yours, written by a teacher")                              \
    X(distill, "a teacher's answers to your inputs, under a shorter prompt")

#define X(name, help) int cmd_data_##name(int argc, char **argv);
DATA_VERBS(X)
#undef X

#endif
