#include "unit.h"

#include "infer/stop_text.h"

/* All ways of cutting the text into two or three pieces give the same. */
static void check(const char *const *stop, int count, const char *text, const char *want) {
    struct str list[4], all = str_of(text);
    for (int i = 0; i < count; i++) list[i] = str_of(stop[i]);
    for (size_t a = 0; a <= all.n; a++)
        for (size_t b = a; b <= all.n; b++) {
            struct stop_text s;
            struct buf out;
            buf_init(&out, 1000);
            stop_text_init(&s, list, count);
            stop_text_add(&s, (struct str){all.p, a}, &out);
            stop_text_add(&s, (struct str){all.p + a, b - a}, &out);
            stop_text_add(&s, str_from(all, b), &out);
            stop_text_end(&s, &out);
            if (!str_is(buf_view(&out), want))
                fail_msg("\"%s\" cut at %zu, %zu: \"%.*s\"", text, a, b, (int)out.n, out.p);
            assert_int_equal(s.hit, strlen(want) < all.n);
            stop_text_release(&s);
            buf_release(&out);
        }
}

static void text_ends_before_the_first_stop(void **state) {
    (void)state;
    check((const char *[]){"END"}, 1, "one END two", "one ");
    check((const char *[]){"END"}, 1, "one EN two E", "one EN two E");
    check((const char *[]){"aab"}, 1, "aaaab", "aa");
    check((const char *[]){"abc", "b"}, 2, "xabcx", "xa");
    check((const char *[]){"\n\n", "###"}, 2, "a\n#\n##\n\nb", "a\n#\n##");
    check((const char *[]){"x"}, 1, "", "");
    check(NULL, 0, "anything", "anything");
}

static void only_what_may_be_a_stop_is_held_back(void **state) {
    (void)state;
    struct str stop = STR_LIT("abc");
    struct stop_text s;
    struct buf out;
    buf_init(&out, 1000);
    stop_text_init(&s, &stop, 1);
    stop_text_add(&s, STR_LIT("xyza"), &out);
    assert_true(str_is(buf_view(&out), "xyz"));
    stop_text_add(&s, STR_LIT("ba"), &out);
    assert_true(str_is(buf_view(&out), "xyzab"));
    stop_text_release(&s);
    buf_release(&out);
}

UNIT_TESTS(infer_stop_text, cmocka_unit_test(text_ends_before_the_first_stop),
           cmocka_unit_test(only_what_may_be_a_stop_is_held_back))
