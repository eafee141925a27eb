/* Values against schemas: by hand, and against the JSON-Schema-Test-Suite where it is there. */
#include "unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/schema.h"

#include <stdio.h>
#include <string.h>

static json_t *json(const char *text) {
    json_t *v = NULL;
    struct err err;
    if (json_read(str_of(text), "test", &v, &err)) fail_msg("%s: %s", text, err.msg);
    return v;
}

#define TRIP                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"minLength\":2},"         \
    "\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":14},"                                \
    "\"class\":{\"enum\":[\"economy\",\"business\"]},"                                             \
    "\"legs\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/leg\"}},"                          \
    "\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}$\"}},"                                  \
    "\"required\":[\"city\"],\"additionalProperties\":false,"                                      \
    "\"$defs\":{\"leg\":{\"type\":\"object\",\"required\":[\"to\"]}}}"

static void says_what_is_wrong_and_where(void **state) {
    (void)state;
    static const struct {
        const char *schema, *value;
        enum schema_answer want;
        const char *why;
    } cases[] = {
        {TRIP, "{\"days\":3,\"city\":\"Rome\"}", SCHEMA_VALID, ""},
        {TRIP, "{\"city\":\"Rome\",\"days\":3.0,\"code\":\"FCO\"}", SCHEMA_VALID, ""},
        {TRIP, "{\"days\":3}", SCHEMA_INVALID, "\"city\" is missing"},
        {TRIP, "{\"city\":\"Rome\",\"days\":15}", SCHEMA_INVALID,
         "days: 15 is more than the maximum of 14"},
        {TRIP, "{\"city\":\"Rome\",\"days\":\"3\"}", SCHEMA_INVALID,
         "days: must be of type integer, not string"},
        {TRIP, "{\"city\":\"Rome\",\"class\":\"first\"}", SCHEMA_INVALID,
         "class: \"first\" is none of the values in \"enum\""},
        {TRIP, "{\"city\":\"Rome\",\"legs\":[{\"to\":1},{}]}", SCHEMA_INVALID,
         "legs[1]: \"to\" is missing"},
        {TRIP, "{\"city\":\"Rome\",\"town\":1}", SCHEMA_INVALID,
         "\"town\" is not among the properties"},
        {TRIP, "{\"city\":\"Rome\",\"code\":\"fco\"}", SCHEMA_INVALID,
         "code: does not match the pattern \"^[A-Z]{3}$\""},
        {"{\"$ref\":\"http://x/y\"}", "1", SCHEMA_UNKNOWN,
         "\"$ref\" to \"http://x/y\" is not inside the schema"},
        {"{\"$ref\":\"http://x/y\",\"type\":\"string\"}", "1", SCHEMA_INVALID,
         "must be of type string, not integer"},
        {"{\"$ref\":\"#\"}", "1", SCHEMA_UNKNOWN, "the schema is too deep or too much work"},
        {"{\"not\":{\"$ref\":\"x\"}}", "1", SCHEMA_UNKNOWN, ""},
        {"{\"anyOf\":[{\"$ref\":\"x\"},{\"type\":\"integer\"}]}", "1", SCHEMA_VALID, ""},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "[1,{\"a\":1},{\"a\":1.0}]", SCHEMA_INVALID,
         "items 1 and 2 are equal"},
        {"5", "1", SCHEMA_UNKNOWN, "a schema is an object, true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[SCHEMA_WHY_MAX];
        json_t *schema = json(cases[i].schema), *value = json(cases[i].value);
        struct schema *s = schema_new(schema);
        enum schema_answer a = schema_check(s, value, why);
        if (a != cases[i].want || strcmp(why, cases[i].why) != 0)
            fail_msg("%s: %d \"%s\", not %d \"%s\"", cases[i].value, a, why, cases[i].want,
                     cases[i].why);
        schema_free(s);
        json_decref(schema);
        json_decref(value);
    }
}

static void no_schema_costs_more_than_its_steps(void **state) {
    (void)state;
    char why[SCHEMA_WHY_MAX];
    json_t *schema = json("{\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"},"
                          "{\"$ref\":\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}");
    json_t *list = json_array(), *unique = json("{\"uniqueItems\":true}");
    for (int i = 0; i < 3000; i++) json_array_append_new(list, json_integer(i));
    struct schema *s = schema_new(schema), *u = schema_new(unique);
    assert_int_equal(schema_check(s, list, why), SCHEMA_UNKNOWN);
    assert_int_equal(schema_check(u, list, why), SCHEMA_UNKNOWN);
    schema_free(s);
    schema_free(u);
    json_decref(schema);
    json_decref(unique);
    json_decref(list);
}

struct tally {
    int right, wrong, unknown;
};

static void run_suite_file(const char *path, struct tally *t) {
    json_t *groups = NULL;
    struct err err;
    size_t i, k;
    const json_t *group, *one;
    if (json_read_file(path, 1 << 24, &groups, &err)) fail_msg("%s", err.msg);
    json_array_foreach(groups, i, group) {
        struct schema *s = schema_new(json_object_get(group, "schema"));
        json_array_foreach(json_object_get(group, "tests"), k, one) {
            char why[SCHEMA_WHY_MAX];
            bool want = json_is_true(json_object_get(one, "valid"));
            enum schema_answer a = schema_check(s, json_object_get(one, "data"), why);
            if (a == SCHEMA_UNKNOWN) {
                t->unknown++;
            } else if ((a == SCHEMA_VALID) == want) {
                t->right++;
            } else {
                t->wrong++;
                printf("  %s: %s: %s: %s\n", path,
                       json_string_value(json_object_get(group, "description")),
                       json_string_value(json_object_get(one, "description")), why);
            }
        }
        schema_free(s);
    }
    json_decref(groups);
}

static void agrees_with_the_test_suite(void **state) {
    (void)state;
    static const char dir[] = "../shared/data/json-schema-test-suite/draft2020-12";
    struct tally t = {0};
    struct err err;
    char **names;
    size_t count;
    if (!dir_exists(dir)) {
        printf("schema: %s is not there: skipped\n", dir);
        skip();
    }
    assert_int_equal(dir_list(dir, &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(dir, names[i]);
        /* formats are annotations; other vocabularies are not ours */
        bool leave = strstr(path, "vocabulary.json") || !str_ends(str_of(path), STR_LIT(".json"));
        if (!leave) run_suite_file(path, &t);
        mem_free(path);
    }
    dir_list_free(names, count);
    printf("schema: %d right, %d wrong, %d undecided\n", t.right, t.wrong, t.unknown);
    assert_int_equal(t.wrong, 0);
    assert_true(t.right > 900);
}

UNIT_TESTS(data_schema, cmocka_unit_test(says_what_is_wrong_and_where),
           cmocka_unit_test(no_schema_costs_more_than_its_steps),
           cmocka_unit_test(agrees_with_the_test_suite))
