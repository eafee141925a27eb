/* The server's parts that need no socket: fields of requests, multipart bodies, metrics. */
#include "unit.h"

#include "api/fields.h"
#include "api/metrics.h"
#include "api/multipart.h"

#include <stdio.h>
#include <string.h>

/* --- fields --- */

static json_t *object(const char *text) {
    struct err err;
    json_t *v = NULL;
    if (json_read(str_of(text), "test", &v, &err)) fail_msg("%s", err.msg);
    return v;
}

static int check_all(const struct fields *f) {
    struct fields inner, item;
    struct str s = STR_LIT("default");
    int64_t n = 7;
    double x = 1;
    bool b = true;
    int word = -1, rc = fields_known(f, "model n x y b kind inner list metadata");
    const json_t *list, *metadata;
    if (!rc) rc = fields_required(f, "model");
    if (!rc) rc = fields_str(f, "model", 1, 5, &s);
    if (!rc) rc = fields_i64(f, "n", 1, 128, &n);
    if (!rc) rc = fields_double(f, "x", 0, 2, &x);
    if (!rc) rc = fields_double_above(f, "y", 0, 2, &x);
    if (!rc) rc = fields_bool(f, "b", &b);
    if (!rc) rc = fields_word(f, "kind", "dpo supervised other", &word);
    if (!rc) rc = fields_object(f, "inner", &inner);
    if (!rc) rc = fields_i64(&inner, "depth", 0, 3, &n);
    if (!rc) rc = fields_array(f, "list", 1, 3, &list);
    for (size_t i = 0; !rc && list && i < json_array_size(list); i++) {
        rc = fields_item(f, "list", i, &item);
        if (!rc) rc = fields_required(&item, "role");
    }
    return rc ? rc : fields_metadata(f, "metadata", &metadata);
}

static void wrong_fields_are_named(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *said;
    } cases[] = {
        {"{}", "missing_required_parameter", "model", "Missing required parameter: 'model'."},
        {"{'model':null}", "missing_required_parameter", "model", "Missing"},
        {"{'model':'m','zz':1}", "unknown_parameter", "zz", "Unknown parameter: 'zz'."},
        {"{'model':3}", "invalid_type", "model", "expected a string, but got an integer instead."},
        {"{'model':''}", "string_below_min_length", "model", "length 0"},
        {"{'model':'123456'}", "string_above_max_length", "model", "maximum length 5"},
        {"{'model':'a\\u0000'}", "invalid_value", "model", "NUL"},
        {"{'model':'m','n':0}", "integer_below_min_value", "n", ">= 1, but got 0"},
        {"{'model':'m','n':129}", "integer_above_max_value", "n", "<= 128, but got 129"},
        {"{'model':'m','n':1.5}", "invalid_type", "n", "expected an integer, but got a decimal"},
        {"{'model':'m','x':-0.5}", "decimal_below_min_value", "x", ">= 0"},
        {"{'model':'m','x':3}", "decimal_above_max_value", "x", "<= 2, but got 3"},
        {"{'model':'m','y':0}", "decimal_below_min_value", "y", "> 0, but got 0"},
        {"{'model':'m','b':'true'}", "invalid_type", "b", "a boolean, but got a string"},
        {"{'model':'m','kind':'sft'}", "invalid_value", "kind",
         "Supported values are: 'dpo', 'supervised', and 'other'."},
        {"{'model':'m','inner':[]}", "invalid_type", "inner", "an object, but got an empty array"},
        {"{'model':'m','inner':{'depth':4}}", "integer_above_max_value", "inner.depth", "<= 3"},
        {"{'model':'m','list':[]}", "empty_array", "list", "empty array"},
        {"{'model':'m','list':[1,2,3,4]}", "array_above_max_length", "list", "length 4"},
        {"{'model':'m','list':[{'role':1},7]}", "invalid_type", "list[1]", "an object, but got"},
        {"{'model':'m','list':[{'role':1},{}]}", "missing_required_parameter", "list[1].role",
         "'list[1].role'"},
        {"{'model':'m','metadata':{'k':5}}", "invalid_type", "metadata.k", "a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text, "%s", cases[i].body);
        for (char *c = text; *c; c++)
            if (*c == '\'') *c = '"';
        struct http_response res = {0};
        struct http_request req = {.json = object(text)};
        struct fields f = fields_of(&req, &res);
        assert_int_equal(check_all(&f), HTTP_ANSWERED);
        assert_int_equal(res.status, 400);
        json_t *v = object(res.body.p), *e = json_object_get(v, "error");
        if (strcmp(json_string_value(json_object_get(e, "code")), cases[i].code) != 0 ||
            strcmp(json_string_value(json_object_get(e, "param")), cases[i].param) != 0 ||
            !strstr(res.body.p, cases[i].said))
            fail_msg("%s: %s", text, res.body.p);
        json_decref(v);
        json_decref((json_t *)req.json);
        buf_release(&res.body);
    }
}

static void right_fields_pass(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\",\"n\":2.0,\"x\":null,\"b\":false,"
        "\"kind\":\"other\",\"inner\":null,\"metadata\":{\"a\":\"\"}}",
        "{\"model\":\"m\",\"inner\":{\"depth\":3},\"list\":[{\"role\":\"user\"}],\"y\":1e-9}"};
    for (size_t i = 0; i < 2; i++) {
        struct http_response res = {0};
        struct http_request req = {.json = object(bodies[i])};
        struct fields f = fields_of(&req, &res);
        if (check_all(&f)) fail_msg("%s", res.body.p);
        assert_true(fields_has(&f, "model"));
        assert_false(fields_has(&f, "x")); /* null is absent */
        json_decref((json_t *)req.json);
    }
}

/* --- multipart --- */

static int on_part(void *ctx, const struct multipart_part *p, struct err *err) {
    (void)err;
    buf_printf(ctx, "[%.*s|%.*s|%.*s]", STR_ARG(p->name), STR_ARG(p->filename), STR_ARG(p->type));
    return 0;
}

static int on_data(void *ctx, const char *p, size_t n, struct err *err) {
    (void)err;
    buf_add(ctx, p, n);
    return 0;
}

static int parse(const char *type, const char *body, size_t step, struct buf *out,
                 struct err *err) {
    static const struct multipart_events events = {on_part, on_data};
    struct multipart m;
    size_t n = strlen(body);
    buf_clear(out);
    int rc = multipart_init(&m, type, &events, out, err);
    for (size_t at = 0; !rc && at < n; at += step)
        rc = multipart_feed(&m, body + at, n - at < step ? n - at : step, err);
    if (!rc) rc = multipart_finish(&m, err);
    multipart_release(&m);
    return rc;
}

#define PART(disposition) "--b\r\nContent-Disposition: form-data; " disposition "\r\n\r\n"

static void parts_are_the_same_however_cut(void **state) {
    (void)state;
    static const struct {
        const char *body, *want;
    } cases[] = {
        {PART("name=\"a\"") "x\r\n--b--", "[a||]x"},
        {"ignored\r\n" PART("name=a") "\r\n--b--\r\nignored --b", "[a||]"},
        {PART("name=\"a\"; filename=\"C:\\dir\\f.txt\"") "1\r\n" PART("name=b") "2\r\n--b--\r\n",
         "[a|f.txt|]1[b||]2"},
        {PART("filename=\"q\\\"%22%0a\xff.x\"; name=\"\\\\n\"") "\r\n--b--", "[\\n|q\"\"__.x|]"},
        {"--b\r\ncontent-type:  text/plain \r\ncontent-DISPOSITION: form-data; name=a\r\n\r\n"
         "x\r\n--b--",
         "[a||text/plain]x"},
        /* nearly a boundary */
        {PART("name=a") "\r\r\n\r\n-\r\n--\r\n--c\r\n--bb\r\n--b-\r\n--b x\r\n--b--",
         "[a||]\r\r\n\r\n-\r\n--\r\n--c\r\n--bb\r\n--b-\r\n--b x"},
        {PART("name=a") "x\r\n--b \t\r\nContent-Disposition: form-data; name=c\r\n\r\ny\r\n--b--",
         "[a||]x[c||]y"},
    };
    struct err err;
    struct buf got;
    buf_init(&got, 1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 40; step++) {
            if (parse("multipart/form-data; charset=x; boundary=\"b\"", cases[i].body, step, &got,
                      &err))
                fail_msg("case %zu, step %zu: %s", i, step, err.msg);
            assert_string_equal(buf_view(&got).p, cases[i].want);
        }
    buf_release(&got);
}

static void wrong_forms_are_named(void **state) {
    (void)state;
    static const struct {
        const char *type, *body, *said;
    } cases[] = {
        {"application/json", "", "must be multipart/form-data"},
        {"multipart/form-data", "", "no boundary"},
        {"multipart/form-data; boundary=", "", "no boundary"},
        {"multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567"
         "8901234567890",
         "", "1 to 70 bytes"},
        {"multipart/form-data; boundary=b", "", "before its closing boundary; 0 parts"},
        {"multipart/form-data; boundary=b", PART("name=a") "x\r\n--b-", "closing boundary; 1 part"},
        {"multipart/form-data; boundary=b", "--b\r\nX: y\r\n\r\n", "part 1 of the multipart body"},
    };
    struct err err;
    struct buf got;
    buf_init(&got, 1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].type, cases[i].body, 5, &got, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].said)) fail_msg("%s", err.msg);
    }
    buf_release(&got);
}

/* --- events of streams --- */

static void events_are_lines(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    sse_data(&out, json_pack("{s:s}", "a", "line\nline"));
    sse_event(&out, "response.created", json_pack("[i]", 1));
    sse_data(&out, http_error_object(500, NULL, "p", "bad \xff"));
    sse_done(&out);
    assert_string_equal(out.p, "data: {\"a\":\"line\\nline\"}\n\n"
                               "event: response.created\ndata: [1]\n\n"
                               "data: {\"error\":{\"message\":\"bad \xEF\xBF\xBD\",\"type\":"
                               "\"server_error\",\"param\":\"p\",\"code\":null}}\n\n"
                               "data: [DONE]\n\n");
    buf_release(&out);
}

/* --- metrics --- */

static void metrics_are_written_for_prometheus(void **state) {
    (void)state;
    static const double bounds[] = {0.5, 2};
    struct metrics *all = metrics_new();
    struct metric *c = metric_counter(all, "c_total", "a counter"),
                  *g = metric_gauge(all, "g", "a gauge"),
                  *h = metric_histogram(all, "h_seconds", "a histogram", bounds, 2);
    struct buf labels, out;
    buf_init(&labels, 200);
    buf_init(&out, 1 << 20);
    metric_label(&labels, "model", STR_LIT("a\"b\\c\nd"));
    metric_label(&labels, "code", STR_LIT("200"));
    metric_add(c, labels.p, 1);
    metric_add(c, labels.p, 2);
    metric_set(g, "", 0.25);
    metric_observe(h, "", 0.5);
    metric_observe(h, "", 1);
    metric_observe(h, "", 100);
    metrics_write(all, &out);
    assert_string_equal(out.p, "# HELP c_total a counter\n# TYPE c_total counter\n"
                               "c_total{model=\"a\\\"b\\\\c\\nd\",code=\"200\"} 3\n"
                               "# HELP g a gauge\n# TYPE g gauge\ng 0.25\n"
                               "# HELP h_seconds a histogram\n# TYPE h_seconds histogram\n"
                               "h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"2\"} 2\n"
                               "h_seconds_bucket{le=\"+Inf\"} 3\nh_seconds_sum 101.5\n"
                               "h_seconds_count 3\n");
    for (int i = 0; i < METRIC_SAMPLES_MAX + 50; i++) { /* clients cannot make it grow for ever */
        char label[32];
        snprintf(label, sizeof label, "n=\"%d\"", i);
        metric_add(c, label, 1);
    }
    buf_clear(&out);
    metrics_write(all, &out);
    assert_non_null(strstr(out.p, "c_total{overflow=\"1\"} 51\n"));
    buf_release(&out);
    buf_release(&labels);
    metrics_free(all);
}

UNIT_TESTS(api_parts, cmocka_unit_test(wrong_fields_are_named), cmocka_unit_test(right_fields_pass),
           cmocka_unit_test(parts_are_the_same_however_cut),
           cmocka_unit_test(wrong_forms_are_named), cmocka_unit_test(events_are_lines),
           cmocka_unit_test(metrics_are_written_for_prometheus))
