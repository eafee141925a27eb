/* Models, fine-tuning jobs, their events and checkpoints over HTTP. No worker runs here: the tests
 * write what one would. */
#include "api_fixture.h"

#include "base/mem.h"
#include "store/ftjobs.h"
#include "store/routes.h"
#include "store/tuned.h"
#include "weights/models.h"

#include <stdlib.h>

static const struct http_route *const tables[] = {file_routes,       model_routes,  ftjob_routes,
                                                  checkpoint_routes, health_routes, NULL};
#define ROW "{\"messages\":[]}\n"
#define TUNED "ft:small:local:mine:abcdefgh"

static void put_file(const char *dir, const char *name, const char *text) {
    struct err err;
    char *path = path_join(dir, name);
    if (dir_make(dir, &err) || file_write_atomic(path, str_of(text), &err)) fail_msg("%s", err.msg);
    mem_free(path);
}

static void put_tuned(struct api_fixture *f, const char *name, const char *kind, const char *parent,
                      const char *adapter) {
    struct err err;
    struct tuned_model m = {
        .name = name, .kind = kind, .base = "small", .adapter = adapter, .parent = parent};
    char *dir = catalog_path(f->api.catalog, adapter);
    put_file(dir, "adapter_config.json", "{}");
    if (tuned_add(f->api.catalog, &m, &err)) fail_msg("%s", err.msg);
    mem_free(dir);
}

/* a home with the base "small", a tuned model and its checkpoint, and the alias "production" */
static void start(struct api_fixture *f) {
    struct err err;
    fixture_start(f, tables);
    setenv("ATTUNE_HOME", f->home, 1);
    setenv("ATTUNE_SHARE", "/nonexistent", 1);
    char *dir = model_home_path("small");
    put_file(dir, "config.json",
             "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
             "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":8}");
    mem_free(dir);
    put_tuned(f, TUNED, "tuned", NULL, "jobs/1/out");
    put_tuned(f, TUNED ":ckpt-step-4", "checkpoint", TUNED, "jobs/1/out/epochs/4");
    put_tuned(f, "org/imported", "imported", NULL, "imported/1");
    if (routes_set(f->api.catalog, "production", TUNED, &(struct audit_cause){.actor = "test"},
                   &err))
        fail_msg("%s", err.msg);
}

static void stop(struct api_fixture *f) {
    fixture_stop(f);
    unsetenv("ATTUNE_HOME");
    unsetenv("ATTUNE_SHARE");
}

/* --- models --- */

static void models_are_shown_under_every_spelling(void **state) {
    (void)state;
    static const struct {
        const char *target, *id;
    } cases[] = {{"/v1/models/small", "small"},
                 {"/v1models/small", "small"},
                 {"/v1/models/" TUNED, TUNED},
                 {"/v1/models/ft%3Asmall%3Alocal:mine:abcdefgh:ckpt-step-4", TUNED ":ckpt-step-4"},
                 {"/v1/models/org/imported", "org/imported"},
                 {"/v1/models/org%2Fimported", "org/imported"},
                 {"/v1/models/production", TUNED}};
    struct api_fixture f;
    char ids[500];
    start(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = fixture_ok(&f, "GET", cases[i].target, "", NULL);
        assert_string_equal(member_text(v, "id"), cases[i].id);
        expect_member(v, "object", "\"model\"");
        assert_true(json_is_integer(json_object_get(v, "created")));
        assert_true(json_is_string(json_object_get(v, "owned_by")));
        json_decref(v);
    }
    json_t *v = fixture_ok(&f, "GET", "/v1/models", "", NULL);
    list_ids(v, ids, sizeof ids);
    const char *own = strncmp(ids, "starter ", 8) == 0 ? ids + 8 : ids; /* shipped beside it */
    assert_string_equal(own, "small " TUNED " " TUNED ":ckpt-step-4 org/imported production ");
    assert_int_equal(json_object_size(v), 2);
    json_decref(v);
    fixture_wrong(&f, "GET", "/v1/models/nobody", NULL, 404, "model_not_found", "model",
                  "The model `nobody` does not exist");
    fixture_wrong(&f, "GET", "/v1/models/..%2f..", NULL, 404, "model_not_found", "model", "../..");
    stop(&f);
}

static void tuned_models_can_be_deleted(void **state) {
    (void)state;
    struct api_fixture f;
    struct answer a;
    start(&f);
    client_once(f.port, "DELETE", "/v1/models/small", "", NULL, &a);
    expect_error(&a, 403, NULL, "model", "small");
    fixture_wrong(&f, "DELETE", "/v1/models/" TUNED, NULL, 400, NULL, NULL, "production");
    json_t *v = fixture_ok(&f, "DELETE", "/v1/models/org%2Fimported", "", NULL);
    expect_member(v, "deleted", "true");
    expect_member(v, "object", "\"model\"");
    expect_member(v, "id", "\"org/imported\"");
    json_decref(v);
    fixture_wrong(&f, "DELETE", "/v1/models/org/imported", NULL, 404, "model_not_found", "model",
                  "org/imported");
    stop(&f);
}

/* --- jobs --- */

static json_t *order(struct api_fixture *f, const char *file, const char *more) {
    char body[1000];
    snprintf(body, sizeof body, "{\"model\":\"small\",\"training_file\":\"%s\"%s}", file, more);
    return fixture_ok(f, "POST", "/v1/fine_tuning/jobs", "", body);
}

static void a_job_is_what_was_ordered(void **state) {
    (void)state;
    struct api_fixture f;
    char target[200];
    start(&f);
    char *file = fixture_file(&f, "t.jsonl", "fine-tune", ROW);
    json_t *v = order(&f, file,
                      ",\"suffix\":\"mine\",\"seed\":42,\"metadata\":{\"k\":\"v\"},"
                      "\"validation_file\":null,\"method\":{\"type\":\"dpo\",\"supervised\":"
                      "{\"hyperparameters\":{\"n_epochs\":9}},\"dpo\":{\"hyperparameters\":"
                      "{\"beta\":0.1,\"n_epochs\":2,\"batch_size\":\"auto\"}}},\"integrations\":"
                      "[{\"type\":\"wandb\",\"wandb\":{\"project\":\"p\"}}]");
    static const char *const members[][2] = {
        {"object", "\"fine_tuning.job\""},
        {"status", "\"validating_files\""},
        {"model", "\"small\""},
        {"seed", "42"},
        {"error", "null"},
        {"fine_tuned_model", "null"},
        {"finished_at", "null"},
        {"trained_tokens", "null"},
        {"validation_file", "null"},
        {"result_files", "[]"},
        {"metadata", "{\"k\":\"v\"}"},
        {"user_provided_suffix", "\"mine\""},
        {"organization_id", "\"org-local\""},
        {"hyperparameters",
         "{\"n_epochs\":2,\"batch_size\":\"auto\",\"learning_rate_multiplier\":\"auto\"}"},
        {"method",
         "{\"type\":\"dpo\",\"dpo\":{\"hyperparameters\":{\"n_epochs\":2,\"batch_size\":"
         "\"auto\",\"learning_rate_multiplier\":\"auto\",\"beta\":0.10000000000000001}}}"},
        {"integrations", "[{\"type\":\"wandb\",\"wandb\":{\"project\":\"p\"}}]"}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        expect_member(v, members[i][0], members[i][1]);
    assert_string_equal(member_text(v, "training_file"), file);
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s", member_text(v, "id"));
    json_t *again = fixture_ok(&f, "GET", target, "", NULL);
    assert_true(json_equal(v, again));
    json_decref(again);
    json_decref(v);
    v = order(&f, file, ",\"hyperparameters\":{\"n_epochs\":3,\"learning_rate_multiplier\":1.5}");
    expect_member(v, "method",
                  "{\"type\":\"supervised\",\"supervised\":{\"hyperparameters\":{\"n_epochs\":3,"
                  "\"batch_size\":\"auto\",\"learning_rate_multiplier\":1.5}}}");
    assert_true(json_is_integer(json_object_get(v, "seed")));
    json_decref(v);
    free(file);
    stop(&f);
}

/* FILE and OTHER become ids, ' becomes " */
static const struct {
    const char *body, *code, *param, *said;
} wrong_orders[] = {
    {"{'training_file':'FILE'}", "missing_required_parameter", "model", "'model'"},
    {"{'model':'small'}", "missing_required_parameter", "training_file", "'training_file'"},
    {"{'model':'gpt-9','training_file':'FILE'}", "model_not_available", "model", "`gpt-9`"},
    {"{'model':'small','training_file':'file-x'}", "invalid_file", "training_file",
     "invalid training_file: file-x"},
    {"{'model':'small','training_file':'FILE','validation_file':'file-y'}", "invalid_file",
     "validation_file", "invalid validation_file: file-y"},
    {"{'model':'small','training_file':'OTHER'}", "invalid_file_purpose", "training_file",
     "'user_data'"},
    {"{'model':'small','training_file':'FILE','epochs':3}", "unknown_parameter", "epochs",
     "'epochs'"},
    {"{'model':'small','training_file':'FILE','suffix':''}", "string_below_min_length", "suffix",
     "length 0"},
    {"{'model':'small','training_file':'FILE','suffix':'0123456789012345678901234567890123456"
     "7890123456789012345678901234'}",
     "string_above_max_length", "suffix", "maximum length 64"},
    {"{'model':'small','training_file':'FILE','seed':-1}", "integer_below_min_value", "seed",
     ">= 0"},
    {"{'model':'small','training_file':'FILE','seed':2147483648}", "integer_above_max_value",
     "seed", "<= 2147483647"},
    {"{'model':'small','training_file':'FILE','hyperparameters':{'n_epochs':0}}",
     "integer_below_min_value", "hyperparameters.n_epochs", ">= 1"},
    {"{'model':'small','training_file':'FILE','hyperparameters':{'n_epochs':51}}",
     "integer_above_max_value", "hyperparameters.n_epochs", "<= 50"},
    {"{'model':'small','training_file':'FILE','hyperparameters':{'n_epochs':'many'}}",
     "invalid_type", "hyperparameters.n_epochs", "an integer"},
    {"{'model':'small','training_file':'FILE','hyperparameters':{'lr':1}}", "unknown_parameter",
     "hyperparameters.lr", "'hyperparameters.lr'"},
    {"{'model':'small','training_file':'FILE','method':{}}", "missing_required_parameter",
     "method.type", "'method.type'"},
    {"{'model':'small','training_file':'FILE','method':{'type':'sft'}}", "invalid_value",
     "method.type", "'supervised', 'dpo', and 'reinforcement'"},
    {"{'model':'small','training_file':'FILE','method':{'type':'reinforcement'}}",
     "unsupported_value", "method.type", "not supported"},
    {"{'model':'small','training_file':'FILE','method':{'type':'supervised','supervised':"
     "{'hyperparameters':{'batch_size':257}}}}",
     "integer_above_max_value", "method.supervised.hyperparameters.batch_size", "<= 256"},
    {"{'model':'small','training_file':'FILE','method':{'type':'supervised','supervised':"
     "{'hyperparameters':{'learning_rate_multiplier':0}}}}",
     "decimal_below_min_value", "method.supervised.hyperparameters.learning_rate_multiplier",
     "> 0"},
    {"{'model':'small','training_file':'FILE','method':{'type':'dpo','dpo':{'hyperparameters':"
     "{'beta':2.5}}}}",
     "decimal_above_max_value", "method.dpo.hyperparameters.beta", "<= 2"},
    {"{'model':'small','training_file':'FILE','integrations':[{'type':'mlflow'}]}", "invalid_value",
     "integrations[0].type", "'wandb'"},
    {"{'model':'small','training_file':'FILE','metadata':{'a':1}}", "invalid_type", "metadata.a",
     "a string"},
};

static void wrong_orders_are_named(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    char *file = fixture_file(&f, "t.jsonl", "fine-tune", ROW);
    char *other = fixture_file(&f, "t.jsonl", "user_data", ROW);
    for (size_t i = 0; i < sizeof wrong_orders / sizeof *wrong_orders; i++) {
        struct buf b;
        buf_init(&b, 4096);
        for (const char *c = wrong_orders[i].body; *c;) {
            bool is_file = strncmp(c, "FILE", 4) == 0, is_other = strncmp(c, "OTHER", 5) == 0;
            if (is_file || is_other)
                buf_z(&b, is_file ? file : other);
            else
                buf_byte(&b, *c == '\'' ? '"' : *c);
            c += is_file ? 4 : is_other ? 5 : 1;
        }
        fixture_wrong(&f, "POST", "/v1/fine_tuning/jobs", b.p, 400, wrong_orders[i].code,
                      wrong_orders[i].param, wrong_orders[i].said);
        buf_release(&b);
    }
    json_t *v = fixture_ok(&f, "GET", "/v1/fine_tuning/jobs", "", NULL);
    expect_member(v, "data", "[]"); /* nothing was ordered */
    json_decref(v);
    free(file);
    free(other);
    stop(&f);
}

/* the job in this state; answers 200 and the object of it */
static void act(struct api_fixture *f, const char *id, const char *what, const char *status) {
    char target[200];
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s/%s", id, what);
    json_t *v =
        fixture_ok(f, "POST", target, "Content-Type: application/x-www-form-urlencoded\r\n", "");
    assert_string_equal(member_text(v, "status"), status);
    json_decref(v);
}

/* of /metrics */
static void expect_metric(struct api_fixture *f, const char *line) {
    struct answer a;
    client_once(f->port, "GET", "/metrics", "", NULL, &a);
    assert_int_equal(a.status, 200);
    if (!strstr(a.body.p, line)) fail_msg("no \"%s\" in %s", line, a.body.p);
    answer_release(&a);
}

static void jobs_are_steered(void **state) {
    (void)state;
    struct api_fixture f;
    char target[200];
    start(&f);
    char *file = fixture_file(&f, "t.jsonl", "fine-tune", ROW);
    json_t *v = order(&f, file, "");
    const char *id = member_text(v, "id");
    act(&f, id, "pause", "paused");
    expect_metric(&f, "\nattune_jobs{status=\"paused\"} 1\n");
    act(&f, id, "resume", "validating_files");
    act(&f, id, "cancel", "cancelled");
    expect_metric(&f, "\nattune_jobs{status=\"paused\"} 0\n");
    expect_metric(&f, "\nattune_jobs{status=\"cancelled\"} 1\n");
    static const char *const acts[] = {"cancel", "pause", "resume"};
    for (int i = 0; i < 3; i++) {
        snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s/%s", id, acts[i]);
        fixture_wrong(&f, "POST", target, "", 400, NULL, NULL, "is cancelled");
    }
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s", id);
    json_t *now = fixture_ok(&f, "GET", target, "", NULL);
    assert_true(json_is_integer(json_object_get(now, "finished_at")));
    json_decref(now);
    fixture_wrong(&f, "GET", "/v1/fine_tuning/jobs/ftjob-x", NULL, 404, "fine_tune_not_found",
                  "fine_tune_id", "Could not find fine tune: ftjob-x");
    fixture_wrong(&f, "POST", "/v1/fine_tuning/jobs/ftjob-x/cancel", "", 404, "fine_tune_not_found",
                  "fine_tune_id", "ftjob-x");
    json_decref(v);
    free(file);
    stop(&f);
}

static void jobs_are_listed_by_metadata(void **state) {
    (void)state;
    static const struct {
        const char *query;
        const char *want; /* digits: which jobs, in order */
    } cases[] = {{"", "210"},
                 {"?limit=1", "2"},
                 {"?metadata%5Bk%5D=a%20b", "10"},
                 {"?metadata[k]=a+b&metadata[m]=1", "1"},
                 {"?metadata=null", "2"},
                 {"?metadata=", "2"}};
    static const char *const more[] = {",\"metadata\":{\"k\":\"a b\"}",
                                       ",\"metadata\":{\"k\":\"a b\",\"m\":\"1\"}", ""};
    struct api_fixture f;
    char ids[500], want[500], target[200], id[3][64];
    start(&f);
    char *file = fixture_file(&f, "t.jsonl", "fine-tune", ROW);
    for (int i = 0; i < 3; i++) {
        json_t *v = order(&f, file, more[i]);
        snprintf(id[i], sizeof id[i], "%s", member_text(v, "id"));
        json_decref(v);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(target, sizeof target, "/v1/fine_tuning/jobs%s", cases[i].query);
        json_t *v = fixture_ok(&f, "GET", target, "", NULL);
        list_ids(v, ids, sizeof ids);
        want[0] = '\0';
        for (const char *c = cases[i].want; *c; c++) {
            size_t n = strlen(want);
            snprintf(want + n, sizeof want - n, "%s ", id[*c - '0']);
        }
        assert_string_equal(ids, want);
        expect_member(v, "has_more", i == 1 ? "true" : "false");
        json_decref(v);
    }
    free(file);
    stop(&f);
}

/* --- events and checkpoints --- */

static void events_are_listed_and_streamed(void **state) {
    (void)state;
    static const struct ftevent step = {
        .type = "metrics", .message = "Step 1/2: training loss=0.50", .data = "{\"step\":1}"};
    struct api_fixture f;
    struct answer a;
    struct err err;
    char target[200];
    start(&f);
    char *file = fixture_file(&f, "t.jsonl", "fine-tune", ROW);
    json_t *job = order(&f, file, "");
    const char *id = member_text(job, "id");
    if (ftevents_add(f.api.catalog, id, &step, &err)) fail_msg("%s", err.msg);
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s/events", id);
    json_t *v = fixture_ok(&f, "GET", target, "", NULL);
    json_t *data = json_object_get(v, "data");
    assert_int_equal(json_array_size(data), 3);
    json_t *newest = json_array_get(data, 0);
    expect_member(newest, "object", "\"fine_tuning.job.event\"");
    expect_member(newest, "data", "{\"step\":1}");
    expect_member(newest, "type", "\"metrics\"");
    expect_member(newest, "level", "\"info\"");
    expect_member(json_array_get(data, 2), "data", "{}");
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s/events?limit=1&after=%s", id,
             member_text(newest, "id"));
    json_t *page = fixture_ok(&f, "GET", target, "", NULL);
    expect_member(page, "has_more", "true");
    assert_true(
        json_equal(json_array_get(json_object_get(page, "data"), 0), json_array_get(data, 1)));
    json_decref(page);
    /* the stream begins with the oldest and ends with the job */
    act(&f, id, "cancel", "cancelled");
    snprintf(target, sizeof target, "/v1/fine_tuning/jobs/%s/events?stream=true", id);
    client_once(f.port, "GET", target, "", NULL, &a);
    const char *created = strstr(a.body.p, "Created fine-tuning job"),
               *metrics = strstr(a.body.p, "Step 1/2"),
               *done = strstr(a.body.p, "data: [DONE]\n\n");
    assert_true(created && metrics && done && created < metrics && metrics < done);
    assert_int_equal(done + strlen("data: [DONE]\n\n") - a.body.p, a.body.n);
    answer_release(&a);
    /* that of a job which goes on ends with the server */
    json_t *other = order(&f, file, "");
    snprintf(target, sizeof target,
             "GET /v1/fine_tuning/jobs/%s/events?stream=true HTTP/1.1\r\n"
             "Host: localhost\r\n\r\n",
             member_text(other, "id"));
    int fd = client_open(f.port);
    client_text(fd, target);
    struct buf b;
    buf_init(&b, 1 << 20);
    while (!(b.n && strstr(b.p, "Created fine-tuning job"))) assert_true(client_more(fd, &b));
    atomic_store(&f.api.ready, 0);
    while (!strstr(b.p, "\r\n0\r\n\r\n")) assert_true(client_more(fd, &b));
    assert_null(strstr(b.p, "[DONE]"));
    buf_release(&b);
    close(fd);
    json_decref(other);
    json_decref(v);
    json_decref(job);
    fixture_wrong(&f, "GET", "/v1/fine_tuning/jobs/x/events", NULL, 404, "fine_tune_not_found",
                  "fine_tune_id", "x");
    free(file);
    stop(&f);
}

static void checkpoints_have_permissions(void **state) {
    (void)state;
#define PERMISSIONS                                                                                \
    "/v1/fine_tuning/checkpoints/ft%3Asmall:local:mine:abcdefgh:ckpt-step-4/permissions"
    struct api_fixture f;
    char target[300];
    start(&f);
    json_t *v =
        fixture_ok(&f, "POST", PERMISSIONS, "", "{\"project_ids\":[\"proj_a\",\"proj_b\"]}");
    assert_int_equal(json_array_size(json_object_get(v, "data")), 2);
    json_decref(v);
    v = fixture_ok(&f, "GET", PERMISSIONS "?project_id=proj_b&order=ascending", "", NULL);
    const json_t *one = json_array_get(json_object_get(v, "data"), 0);
    expect_member(one, "object", "\"checkpoint.permission\"");
    expect_member(one, "project_id", "\"proj_b\"");
    expect_member(v, "has_more", "false");
    snprintf(target, sizeof target, "%s/%s", PERMISSIONS, member_text(one, "id"));
    json_decref(v);
    v = fixture_ok(&f, "DELETE", target, "", NULL);
    expect_member(v, "deleted", "true");
    json_decref(v);
    fixture_wrong(&f, "DELETE", target, NULL, 404, NULL, "id", "No such permission");
    fixture_wrong(&f, "POST", PERMISSIONS, "{\"project_ids\":[]}", 400, "empty_array",
                  "project_ids", "empty array");
    fixture_wrong(&f, "GET", "/v1/fine_tuning/checkpoints/no/permissions", NULL, 404,
                  "model_not_found", "model", "`no`");
    stop(&f);
}

UNIT_TESTS(api_jobs, cmocka_unit_test(models_are_shown_under_every_spelling),
           cmocka_unit_test(tuned_models_can_be_deleted),
           cmocka_unit_test(a_job_is_what_was_ordered), cmocka_unit_test(wrong_orders_are_named),
           cmocka_unit_test(jobs_are_steered), cmocka_unit_test(jobs_are_listed_by_metadata),
           cmocka_unit_test(events_are_listed_and_streamed),
           cmocka_unit_test(checkpoints_have_permissions))
