/* Files, uploads, stored completions and keys over HTTP. */
#include "api_fixture.h"

#include "api/keeper.h"
#include "base/clock.h"
#include "store/completions.h"
#include "store/keys.h"

static const struct http_route *const tables[] = {
    health_routes, file_routes, upload_routes, old_routes, completion_store_routes, NULL};
#define ROW "{\"messages\":[{\"role\":\"user\",\"content\":\"\xC3\xBC\"}]}"

static void files_live_and_die(void **state) {
    (void)state;
    struct api_fixture f;
    struct answer a;
    char target[200], *id;
    fixture_start(&f, tables);
    id = fixture_file(&f, "/x/train.jsonl", "fine-tune", ROW "\r\n\n" ROW);
    snprintf(target, sizeof target, "/v1/files/%s", id);
    json_t *v = fixture_ok(&f, "GET", target, "", NULL);
    assert_int_equal(strncmp(id, "file-", 5), 0);
    expect_member(v, "object", "\"file\"");
    expect_member(v, "filename", "\"train.jsonl\"");
    expect_member(v, "purpose", "\"fine-tune\"");
    expect_member(v, "status", "\"processed\"");
    char bytes[20];
    snprintf(bytes, sizeof bytes, "%zu", 2 * strlen(ROW) + 3);
    expect_member(v, "bytes", bytes);
    assert_null(json_object_get(v, "expires_at"));
    json_decref(v);
    snprintf(target, sizeof target, "/v1/files/%s/content", id);
    client_once(f.port, "GET", target, "Accept: application/binary\r\n", NULL, &a);
    assert_string_equal(a.body.p, ROW "\r\n\n" ROW);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/octet-stream");
    answer_release(&a);
    snprintf(target, sizeof target, "/v1files/%s", id);
    v = fixture_ok(&f, "DELETE", target, "", NULL);
    expect_member(v, "deleted", "true");
    expect_member(v, "object", "\"file\"");
    json_decref(v);
    free(fixture_file(&f, "upload", "fine-tune", ROW)); /* bytes without a name, by an SDK */
    fixture_wrong(&f, "GET", target, NULL, 404, NULL, "id", "No such File object: file-");
    fixture_wrong(&f, "DELETE", target, NULL, 404, NULL, "id", "No such File object: file-");
    fixture_wrong(&f, "GET", "/v1/files/..%2f..%2fcatalog.db/content", NULL, 404, NULL, "id",
                  "No such File object: ../../catalog.db");
    fixture_wrong(&f, "GET", "/v1/files/a%00b", NULL, 404, NULL, "id", "No such File object: a");
    free(id);
    fixture_stop(&f);
}

static void wrong_files_are_named_at_once(void **state) {
    (void)state;
    static const struct {
        const char *name, *purpose, *content, *fields, *code, *param, *said;
    } cases[] = {
        {"t.jsonl", "fine-tune", ROW "\n{\"a\":\n", "", "invalid_file_format", "file", "Line 2"},
        {"t.jsonl", "fine-tune", ROW "\n\n[1]\n", "", "invalid_file_format", "file",
         "Line 3 is not a JSON object"},
        {"t.jsonl", "fine-tune", ROW "\n{\"a\":\"\xff\"}", "", "invalid_file_format", "file",
         "Line 2"},
        {"t.jsonl", "fine-tune", " \n\n", "", "invalid_file_format", "file", "no line"},
        {"t.jsonl", "fine-tune", "", "", "invalid_file", "file", "'t.jsonl' is empty"},
        {"t.json", "fine-tune", ROW, "", "invalid_file_format", "file", "must end in .jsonl"},
        {"t.txt", "batch", ROW, "", "invalid_file_format", "file", "must end in .jsonl"},
        {"t.jsonl", "finetune", ROW, "", "invalid_value", "purpose", "'finetune' is not one of"},
        {"t.jsonl", "", ROW, "", "missing_required_parameter", "purpose", "'purpose'"},
        {"t.jsonl", "fine-tune", ROW,
         "--bnd\r\nContent-Disposition: form-data; name=\"purpos\"\r\n\r\nx\r\n",
         "unknown_parameter", "purpos", "'purpos'"},
        {"t.jsonl", "user_data", ROW,
         "--bnd\r\nContent-Disposition: form-data; name=\"expires_after[seconds]\"\r\n\r\n9999\r\n",
         "invalid_value", "expires_after.anchor", "created_at"},
        {"t.jsonl", "user_data", ROW,
         "--bnd\r\nContent-Disposition: form-data; name=\"expires_after[anchor]\"\r\n\r\n"
         "created_at\r\n--bnd\r\nContent-Disposition: form-data; name=\"expires_after[seconds]\""
         "\r\n\r\n60\r\n",
         "integer_below_min_value", "expires_after.seconds", "from 3600"},
    };
    struct api_fixture f;
    struct answer a;
    fixture_start(&f, tables);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_upload(&f, cases[i].name, cases[i].purpose, cases[i].content, cases[i].fields, &a);
        expect_error(&a, 400, cases[i].code, cases[i].param, cases[i].said);
    }
    f.api.file_max = 10;
    fixture_upload(&f, "t.jsonl", "fine-tune", ROW, "", &a);
    expect_error(&a, 413, NULL, "file", "at most 10");
    json_t *v = fixture_ok(&f, "GET", "/v1/files", "", NULL);
    expect_member(v, "data", "[]");
    expect_member(v, "first_id", "null");
    expect_member(v, "has_more", "false");
    json_decref(v);
    fixture_stop(&f);
}

static void files_are_listed_in_pages(void **state) {
    (void)state;
    struct api_fixture f;
    char *id[5], target[200], ids[400], want[400];
    fixture_start(&f, tables);
    for (int i = 0; i < 5; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d.jsonl", i);
        id[i] = fixture_file(&f, name, i % 2 ? "user_data" : "fine-tune", ROW);
    }
    json_t *v = fixture_ok(&f, "GET", "/v1/files?limit=2", "", NULL);
    list_ids(v, ids, sizeof ids);
    snprintf(want, sizeof want, "%s %s ", id[4], id[3]);
    assert_string_equal(ids, want);
    expect_member(v, "has_more", "true");
    assert_string_equal(member_text(v, "first_id"), id[4]);
    assert_string_equal(member_text(v, "last_id"), id[3]);
    json_decref(v);
    snprintf(target, sizeof target, "/v1/files?after=%s&purpose=fine-tune&order=asc", id[1]);
    v = fixture_ok(&f, "GET", target, "", NULL); /* after: of another purpose */
    list_ids(v, ids, sizeof ids);
    snprintf(want, sizeof want, "%s %s ", id[2], id[4]);
    assert_string_equal(ids, want);
    expect_member(v, "has_more", "false");
    json_decref(v);
    fixture_wrong(&f, "GET", "/v1/files?after=file-x", NULL, 404, NULL, "after", "file-x");
    fixture_wrong(&f, "GET", "/v1/files?limit=0", NULL, 400, "integer_below_min_value", "limit",
                  ">= 1");
    fixture_wrong(&f, "GET", "/v1/files?order=up", NULL, 400, "invalid_value", "order", "'up'");
    for (int i = 0; i < 5; i++) free(id[i]);
    fixture_stop(&f);
}

static char *new_upload(struct api_fixture *f, size_t bytes);
static void add_part(struct api_fixture *f, const char *upload, const char *bytes,
                     struct answer *a);

static void files_can_expire(void **state) {
    (void)state;
    static const char fields[] =
        "--bnd\r\nContent-Disposition: form-data; name=\"expires_after[anchor]\"\r\n\r\n"
        "created_at\r\n--bnd\r\nContent-Disposition: form-data; name=\"expires_after[seconds]\""
        "\r\n\r\n3600\r\n";
    struct api_fixture f;
    struct answer a;
    fixture_start(&f, tables);
    for (int batch = 0; batch < 2; batch++) {
        fixture_upload(&f, "b.jsonl", batch ? "batch" : "evals", ROW, batch ? "" : fields, &a);
        json_t *v = answer_json(&a);
        assert_int_equal(json_integer_value(json_object_get(v, "expires_at")) -
                             json_integer_value(json_object_get(v, "created_at")),
                         batch ? 30 * 86400 : 3600);
        json_decref(v);
        answer_release(&a);
    }
    char *upload = new_upload(&f, 4), target[200];
    struct err err;
    int64_t now = clock_unix();
    assert_int_equal(keeper_look(f.api.catalog, now, &err), 0);
    json_t *v = fixture_ok(&f, "GET", "/v1/files", "", NULL);
    assert_int_equal(json_array_size(json_object_get(v, "data")), 2);
    json_decref(v);
    assert_int_equal(keeper_look(f.api.catalog, now + 7200, &err), 0);
    v = fixture_ok(&f, "GET", "/v1/files", "", NULL);
    assert_int_equal(json_array_size(json_object_get(v, "data")), 1);
    json_decref(v);
    add_part(&f, upload, "x", &a);
    expect_error(&a, 400, NULL, NULL, "is expired");
    snprintf(target, sizeof target, "/v1/uploads/%s/cancel", upload);
    fixture_wrong(&f, "POST", target, NULL, 400, NULL, NULL, "is expired");
    free(upload);
    fixture_stop(&f);
}

/* --- uploads --- */

static char *new_upload(struct api_fixture *f, size_t bytes) {
    char body[300];
    snprintf(body, sizeof body,
             "{\"filename\":\"/d/big.jsonl\",\"purpose\":\"fine-tune\",\"bytes\":%zu,"
             "\"mime_type\":\"text/jsonl\"}",
             bytes);
    json_t *v = fixture_ok(f, "POST", "/v1/uploads", "", body);
    expect_member(v, "status", "\"pending\"");
    expect_member(v, "object", "\"upload\"");
    expect_member(v, "filename", "\"big.jsonl\"");
    char *id = strdup(member_text(v, "id"));
    json_decref(v);
    return id;
}

static void add_part(struct api_fixture *f, const char *upload, const char *bytes,
                     struct answer *a) {
    char target[200], body[600];
    snprintf(target, sizeof target, "/v1/uploads/%s/parts", upload);
    snprintf(body, sizeof body,
             "--bnd\r\nContent-Disposition: form-data; name=\"data\"; filename=\"upload\"\r\n\r\n"
             "%s\r\n--bnd--\r\n",
             bytes);
    client_once(f->port, "POST", target, FIXTURE_FORM, body, a);
}

static void uploads_become_files(void **state) {
    (void)state;
    static const char *const pieces[] = {"{\"a\"", ":1}\n{\"b", "\":2}\n"};
    struct api_fixture f;
    struct answer a;
    char target[200], body[400], part[3][80];
    fixture_start(&f, tables);
    char *id = new_upload(&f, 16);
    for (int i = 2; i >= 0; i--) {
        add_part(&f, id, pieces[i], &a);
        json_t *v = answer_json(&a);
        expect_member(v, "object", "\"upload.part\"");
        assert_string_equal(member_text(v, "upload_id"), id);
        snprintf(part[i], sizeof part[i], "%s", member_text(v, "id"));
        json_decref(v);
        answer_release(&a);
    }
    add_part(&f, id, "too much", &a);
    expect_error(&a, 400, NULL, NULL, "16 bytes were announced");
    snprintf(target, sizeof target, "/v1/uploads/%s/complete", id);
    fixture_wrong(&f, "POST", target, "{\"part_ids\":[\"part_x\"]}", 400, NULL, "part_ids",
                  "part_x");
    snprintf(body, sizeof body, "{\"part_ids\":[\"%s\"]}", part[0]);
    fixture_wrong(&f, "POST", target, body, 400, "invalid_value", "part_ids", "the parts have 4");
    snprintf(body, sizeof body, "{\"part_ids\":[\"%s\",\"%s\",\"%s\"],\"md5\":\"00\"}", part[0],
             part[1], part[2]);
    fixture_wrong(&f, "POST", target, body, 400, "invalid_value", "md5", "have the md5");
    snprintf(body, sizeof body, "{\"part_ids\":[\"%s\",\"%s\",\"%s\"]}", part[0], part[1], part[2]);
    json_t *v = fixture_ok(&f, "POST", target, "", body);
    expect_member(v, "status", "\"completed\"");
    const json_t *file = json_object_get(v, "file");
    expect_member(file, "bytes", "16");
    snprintf(target, sizeof target, "/v1/files/%s/content", member_text(file, "id"));
    client_once(f.port, "GET", target, "", NULL, &a);
    assert_string_equal(a.body.p, "{\"a\":1}\n{\"b\":2}\n");
    answer_release(&a);
    json_decref(v);
    add_part(&f, id, "x", &a);
    expect_error(&a, 400, NULL, NULL, "is completed");
    snprintf(target, sizeof target, "/v1/uploads/%s/cancel", id);
    fixture_wrong(&f, "POST", target, NULL, 400, NULL, NULL, "is completed");
    free(id);
    fixture_stop(&f);
}

static void uploads_end_in_other_ways(void **state) {
    (void)state;
    struct api_fixture f;
    struct answer a;
    char target[200], body[200];
    fixture_start(&f, tables);
    char *id = new_upload(&f, 4);
    snprintf(target, sizeof target, "/v1/uploads/%s/cancel", id);
    json_t *v = fixture_ok(&f, "POST", target, "", "");
    expect_member(v, "status", "\"cancelled\"");
    json_decref(v);
    add_part(&f, id, "x", &a);
    expect_error(&a, 400, NULL, NULL, "is cancelled");
    free(id);
    id = new_upload(&f, 3); /* what its purpose does not take does not become a file */
    add_part(&f, id, "[1]", &a);
    v = answer_json(&a);
    snprintf(body, sizeof body, "{\"part_ids\":[\"%s\"]}", member_text(v, "id"));
    json_decref(v);
    answer_release(&a);
    snprintf(target, sizeof target, "/v1/uploads/%s/complete", id);
    fixture_wrong(&f, "POST", target, body, 400, "invalid_file_format", "file", "Line 1");
    v = fixture_ok(&f, "GET", "/v1/files", "", NULL);
    expect_member(v, "data", "[]");
    json_decref(v);
    free(id);
    fixture_wrong(&f, "POST", "/v1/uploads/upload_x/cancel", NULL, 404, NULL, "id",
                  "No such Upload object: upload_x");
    fixture_wrong(&f, "POST", "/v1/uploads", "{\"filename\":\"x\",\"mime_type\":\"y\"}", 400,
                  "missing_required_parameter", "bytes", "'bytes'");
    fixture_stop(&f);
}

/* --- stored completions --- */

static void store_completion(struct api_fixture *f, const char *id, const char *metadata) {
    struct err err;
    char response[300];
    snprintf(response, sizeof response,
             "{\"id\":\"%s\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[]}", id);
    struct stored_completion s = {
        .id = id,
        .model = "m",
        .request = "{\"model\":\"m\",\"temperature\":0.5,\"user\":\"u\",\"messages\":["
                   "{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":["
                   "{\"type\":\"text\",\"text\":\"q\"}]},{\"role\":\"user\",\"content\":\"z\"}]}",
        .response = response,
        .metadata = metadata};
    if (completions_add(f->api.catalog, &s, &err)) fail_msg("%s", err.msg);
}

static void stored_completions_are_kept(void **state) {
    (void)state;
    struct api_fixture f;
    char ids[300];
    fixture_start(&f, tables);
    store_completion(&f, "chatcmpl-1", "{\"run\":\"a b\"}");
    store_completion(&f, "chatcmpl-2", NULL);
    store_completion(&f, "chatcmpl-3", "{\"run\":\"a b\",\"k\":\"\"}");
    json_t *v = fixture_ok(&f, "GET", "/v1/chat/completions?metadata%5Brun%5D=a+b", "", NULL);
    list_ids(v, ids, sizeof ids);
    assert_string_equal(ids, "chatcmpl-1 chatcmpl-3 ");
    json_decref(v);
    v = fixture_ok(&f, "GET", "/v1/chat/completions?metadata[k]=&order=desc", "", NULL);
    list_ids(v, ids, sizeof ids);
    assert_string_equal(ids, "chatcmpl-3 ");
    json_decref(v);
    v = fixture_ok(&f, "GET", "/v1/chat/completions/chatcmpl-2", "", NULL);
    expect_member(v, "temperature", "0.5");
    expect_member(v, "input_user", "\"u\"");
    expect_member(v, "metadata", "{}");
    json_decref(v);
    v = fixture_ok(&f, "POST", "/v1/chat/completions/chatcmpl-2", "",
                   "{\"metadata\":{\"n\":\"1\"}}");
    expect_member(v, "metadata", "{\"n\":\"1\"}");
    json_decref(v);
    fixture_wrong(&f, "POST", "/v1/chat/completions/chatcmpl-2", "{}", 400,
                  "missing_required_parameter", "metadata", "'metadata'");
    fixture_wrong(&f, "POST", "/v1/chat/completions/chatcmpl-2", "{\"metadata\":{\"n\":1}}", 400,
                  "invalid_type", "metadata.n", "a string");
    v = fixture_ok(&f, "GET", "/v1/chat/completions/chatcmpl-2/messages?limit=2", "", NULL);
    list_ids(v, ids, sizeof ids);
    assert_string_equal(ids, "chatcmpl-2-0 chatcmpl-2-1 ");
    expect_member(v, "has_more", "true");
    const json_t *parts = json_array_get(json_object_get(v, "data"), 1);
    expect_member(parts, "content", "null");
    expect_member(parts, "content_parts", "[{\"type\":\"text\",\"text\":\"q\"}]");
    json_decref(v);
    v = fixture_ok(&f, "GET", "/v1/chat/completions/chatcmpl-2/messages?after=chatcmpl-2-1", "",
                   NULL);
    list_ids(v, ids, sizeof ids);
    assert_string_equal(ids, "chatcmpl-2-2 ");
    json_decref(v);
    fixture_wrong(&f, "GET", "/v1/chat/completions/chatcmpl-2/messages?after=chatcmpl-2-3", NULL,
                  404, NULL, "after", "chatcmpl-2-3");
    v = fixture_ok(&f, "DELETE", "/v1/chat/completions/chatcmpl-2", "", NULL);
    expect_member(v, "object", "\"chat.completion.deleted\"");
    json_decref(v);
    fixture_wrong(&f, "GET", "/v1/chat/completions/chatcmpl-2", NULL, 404, NULL, "id",
                  "chatcmpl-2");
    fixture_stop(&f);
}

/* --- keys --- */

static void with_key(struct api_fixture *f, const char *secret, const char *method,
                     const char *target, struct answer *a) {
    char header[400];
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\nOpenAI-Project: p\r\n", secret);
    client_once(f->port, method, target, header, NULL, a);
}

static void keys_open_what_they_are_for(void **state) {
    (void)state;
    struct api_fixture f;
    struct answer a;
    struct arena mem;
    struct err err;
    struct api_key k;
    char secret[3][KEY_SIZE];
    static const unsigned scopes[] = {KEY_INFERENCE, KEY_TUNING, KEY_ADMIN};
    fixture_start(&f, tables);
    arena_init(&mem, 1 << 20);
    with_key(&f, "anything", "GET", "/v1/files", &a); /* no keys yet */
    assert_int_equal(a.status, 200);
    answer_release(&a);
    for (int i = 0; i < 3; i++) {
        struct api_key new = {.scopes = scopes[i]};
        if (keys_add(f.api.catalog, &new, secret[i], &mem, &k, &err)) fail_msg("%s", err.msg);
    }
    static const int files_status[] = {403, 200, 200};
    for (int i = 0; i < 3; i++) {
        with_key(&f, secret[i], "GET", "/v1/files", &a);
        assert_int_equal(a.status, files_status[i]);
        answer_release(&a);
        with_key(&f, secret[i], "GET", "/v1/nothing", &a);
        assert_int_equal(a.status, 404);
        answer_release(&a);
    }
    fixture_wrong(&f, "GET", "/v1/files", NULL, 401, NULL, NULL, "You didn't provide an API key");
    fixture_wrong(&f, "GET", "/v1/nothing", NULL, 401, NULL, NULL, "You didn't provide");
    with_key(&f, "sk-wrong-but-secret", "GET", "/v1/files", &a);
    assert_null(strstr(a.body.p, "but-secret"));
    expect_error(&a, 401, "invalid_api_key", NULL, "Incorrect API key");
    client_once(f.port, "GET", "/healthz", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    if (keys_revoke(f.api.catalog, k.id, &err)) fail_msg("%s", err.msg);
    with_key(&f, secret[2], "GET", "/v1/files", &a);
    expect_error(&a, 401, "invalid_api_key", NULL, "revoked");
    arena_release(&mem);
    fixture_stop(&f);
}

static void other_names_of_this_machine_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *host;
        int status;
    } cases[] = {{"localhost", 200},      {"127.0.0.1:80", 200},      {"[::1]:8080", 200},
                 {"LOCALHOST:1", 200},    {"a.localhost", 200},       {"evil.example", 403},
                 {"127.0.0.1.evil", 403}, {"localhost.evil:80", 403}, {"[::2]", 403}};
    struct api_fixture f;
    struct answer a;
    fixture_start(&f, tables);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[200];
        int fd = client_open(f.port);
        snprintf(request, sizeof request, "GET /v1/files HTTP/1.1\r\nHost: %s\r\n\r\n",
                 cases[i].host);
        client_text(fd, request);
        answer_read(fd, true, &a);
        if (a.status != cases[i].status) fail_msg("%s: %d", cases[i].host, a.status);
        answer_release(&a);
        close(fd);
    }
    fixture_stop(&f);
}

static void feedback_is_taken_and_listed(void **state) {
    (void)state;
    struct api_fixture f;
    struct err err;
    static const char at[] = "/v1/chat/completions/chatcmpl-1/feedback";
    fixture_start(&f, tables);
    struct stored_completion s = {
        .id = "chatcmpl-1", .model = "m", .request = "{}", .response = "{}"};
    if (completions_add(f.api.catalog, &s, &err)) fail_msg("%s", err.msg);
    json_t *v =
        fixture_ok(&f, "POST", at, "", "{\"score\":-0.5,\"correction\":\"so\",\"comment\":\"c\"}");
    expect_member(v, "object", "\"chat.completion.feedback\"");
    expect_member(v, "completion_id", "\"chatcmpl-1\"");
    expect_member(v, "score", "-0.5");
    expect_member(v, "correction", "\"so\"");
    json_decref(v);
    v = fixture_ok(&f, "GET", at, "", NULL);
    assert_int_equal(json_array_size(json_object_get(v, "data")), 1);
    json_decref(v);
    fixture_wrong(&f, "POST", at, "{\"score\":1.5}", 400, "decimal_above_max_value", "score",
                  "'score'");
    fixture_wrong(&f, "POST", at, "{}", 400, NULL, "score", "Give a 'score'");
    fixture_wrong(&f, "POST", at, "{\"stars\":5}", 400, "unknown_parameter", "stars", "stars");
    fixture_wrong(&f, "POST", "/v1/chat/completions/chatcmpl-2/feedback", "{\"score\":1}", 404,
                  NULL, "id", "chatcmpl-2 not found");
    fixture_stop(&f);
}

UNIT_TESTS(api_files, cmocka_unit_test(feedback_is_taken_and_listed),
           cmocka_unit_test(files_live_and_die), cmocka_unit_test(wrong_files_are_named_at_once),
           cmocka_unit_test(files_are_listed_in_pages), cmocka_unit_test(files_can_expire),
           cmocka_unit_test(uploads_become_files), cmocka_unit_test(uploads_end_in_other_ways),
           cmocka_unit_test(stored_completions_are_kept),
           cmocka_unit_test(keys_open_what_they_are_for),
           cmocka_unit_test(other_names_of_this_machine_are_refused))
