/* Options of `attune serve`, from four places: the command line, the environment
 * (ATTUNE_SERVE_HEADER_SECONDS for --header-seconds), a file of "key = value" lines, the defaults.
 * The first that names an option wins. docs/serve.md lists them. */
#ifndef CLI_SERVE_CONFIG_H
#define CLI_SERVE_CONFIG_H

#include "api/http.h"

struct serve_config {
    const char *config; /* the file; NULL: $ATTUNE_HOME/serve.conf where there is one */
    const char *default_model;
    struct http_options http;
    size_t header_max, json_max, upload_max;
    int64_t tokens_max;
    int stop_seconds, job_threads;
    int threads, batch_max, queue_max; /* of the engine; 0: its defaults */
    size_t memory;
    bool log, log_content, print_config;
    bool requests, requests_content; /* the request log */
    int64_t requests_rows, requests_days;
    char *file_text; /* what strings from the file point into */
};

/* -1: go on. Else the exit code: help or --print-config was printed, or the use was wrong. */
int serve_config_read(struct serve_config *c, int argc, char **argv);
void serve_config_release(struct serve_config *c);

#endif
