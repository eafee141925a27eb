/* attune data VERB: one function for each verb, in cmd_data_<verb>.c. A verb is added in this list
 * alone; argv[0] is "data", argv[1] the verb's first argument. */
#ifndef CLI_CMD_DATA_H
#define CLI_CMD_DATA_H

#define DATA_VERBS(X) X(check, "what is wrong with a file of examples, row by row")

#define X(name, help) int cmd_data_##name(int argc, char **argv);
DATA_VERBS(X)
#undef X

#endif
