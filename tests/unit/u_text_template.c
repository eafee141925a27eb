#include "unit.h"

#include "base/mem.h"
#include "text/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rendered {
    int rc;
    struct err err;
    struct buf out;
};

static struct rendered render(const char *source, const char *vars, size_t max) {
    struct rendered r = {0};
    struct chat_template *t = NULL;
    json_t *v = NULL;
    buf_init(&r.out, max);
    assert_int_equal(json_read(str_of(vars), "vars", &v, &r.err), 0);
    r.rc = template_compile(str_of(source), "t", &t, &r.err);
    if (!r.rc) r.rc = template_render(t, v, &r.out, &r.err);
    template_free(t);
    json_decref(v);
    return r;
}

static void gives(const char *source, const char *vars, const char *want) {
    struct rendered r = render(source, vars, 1 << 20);
    if (r.rc) fail_msg("%s\n  -> %s", source, r.err.msg);
    if (strcmp(r.out.p ? r.out.p : "", want) != 0)
        fail_msg("%s\n  want \"%s\"\n  got  \"%s\"", source, want, r.out.p ? r.out.p : "");
    buf_release(&r.out);
}

static void refuses(const char *source, const char *vars, const char *message) {
    struct rendered r = render(source, vars, 1 << 20);
    if (!r.rc) fail_msg("%s\n  rendered: %s", source, r.out.p ? r.out.p : "");
    if (!strstr(r.err.msg, message))
        fail_msg("%s\n  want %s\n  got  %s", source, message, r.err.msg);
    buf_release(&r.out);
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Expected values come from jinja2 3.1 with trim_blocks and lstrip_blocks. */
static void white_space_as_jinja(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc"},
        {"  {% if true %}x{% endif %}  \n y", "x  \n y"},
        {"a  {%- if true %} b {%- endif %} c", "a b c"},
        {"a {{- 'x' -}} \n b", "axb"},
        {"a\n  {%+ if true %}b{% endif +%}\nc", "a\n  b\nc"},
        {"{# note #}\nx", "x"},
        {" {#- c -#} x", "x"},
        {"x\n    {{ 1 }}\n", "x\n    1"},
        {"{% raw %}{{ x }}{% endraw %}", "{{ x }}"},
        {"{%- raw -%} {% if %} {%- endraw %} y", "{% if %} y"},
        {"a\r\nb\rc\n\n", "a\nb\nc\n"},
        {"{% set x %}\n a\n{% endset %}[{{ x }}]", "[ a\n]"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) gives(cases[i][0], "{}", cases[i][1]);
}

static void expressions_as_python(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{{ 1 + 2 * 3 ** 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }}",
         "19 3 -4 2 3.5"},
        {"{{ 1 ~ 'a' ~ none ~ true }}", "1aNoneTrue"},
        {"{{ 'a' in 'cat' }} {{ 4 not in [1, 2] }} {{ 'k' in {'k': 1} }}", "True True True"},
        {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' == 1 }}", "True False True False"},
        {"{{ 'x' if false }}|{{ 'x' if true else 'y' }}", "|x"},
        {"{{ not 1 or 'b' }} {{ 0 and x.y }} {{ '' or 'd' }}", "b 0 d"},
        {"{{ [1, 'a', none, 2.0, (1,), {'k': \"it's\"}] }}",
         "[1, 'a', None, 2.0, (1,), {'k': \"it's\"}]"},
        {"{{ 'h\\u00e9llo'[1] }} {{ 'h\\u00e9llo'[-2:] }} {{ 'abc'[::-1] }} {{ [1,2,3][1:] }}",
         "é lo cba [2, 3]"},
        {"{{ 1e3 }} {{ 1e16 }} {{ 0.1 }} {{ 1e-5 }} {{ 123456789.123 }} {{ 100000.0 }}",
         "1000.0 1e+16 0.1 1e-05 123456789.123 100000.0"},
        {"{{ '%s-%05.1f-%d' % ('a', 3.14159, 42) }} {{ '{:>4}|{x!r}'.format(7, x='q') }}",
         "a-003.1-42    7|'q'"},
        {"{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(none, 1) }} {{ 'a b "
         "c'.rsplit(' ', 1) }}",
         "['a', 'b', '', 'c'] ['a', 'b'] ['a', 'b c'] ['a b', 'c']"},
        {"{{ 'Ab'.upper() }}{{ 'xyx'.strip('x') }}{{ 'ab'.replace('', '-') }}{{ 'ß'.upper() }}",
         "ABy-a-b-SS"},
        {"{{ 'they\\'re x'.title() }} {{ 'they\\'re x'|title }}", "They'Re X They're X"},
        {"{{ {'a': 1}.items() }} {{ {'b': 1, 'a': 2}|dictsort }}",
         "dict_items([('a', 1)]) [('a', 2), ('b', 1)]"},
        {"{{ [3, 1, 2]|sort|join(',') }} {{ ['b', 'A']|sort }} {{ [1, 1, 2]|unique|list }}",
         "1,2,3 ['A', 'b'] [1, 2]"},
        {"{{ x is defined }} {{ x is undefined }} {{ 3 is odd }} {{ 'a' is string }} {{ {} is "
         "mapping }}",
         "False True True True True"},
        {"{{ x|default('d') }} {{ ''|d('e', true) }} {{ none|default('n') }}", "d e None"},
        {"{{ range(3)|list }} {{ range(5, 0, -2)|list }} {{ range(3) }}",
         "[0, 1, 2] [5, 3, 1] range(0, 3)"},
        {"{{ 'a\\nb\\n\\nc'|indent(2) }}", "a\n  b\n\n  c"},
        {"{{ '42.9'|int }} {{ 'x'|int(7) }} {{ 2.5|round }} {{ 3|float }}", "42 7 2.0 3.0"},
        {"{{ 'a' 'b' }}{{ x.y if x is defined }}", "ab"},
        {"{{ ('<'|safe) + '<' }}", "<&lt;"},
        {"{{ '12'|int(7, 1) }} {{ 'zz'|int(7, 37) }} {{ '7'|int(0, -2) }} {{ '0x1f'|int(0, 0) }}",
         "12 7 7 31"},
        {"{{ 'abcabc'.rfind('bc') }} {{ 'abab'.rfind('ab', 0, 3) }} {{ 'a'.rfind('ab') }} "
         "{{ '\u00e9a\u00e9'.rfind('\u00e9') }} {{ 'aaa'.rsplit('aa') }} "
         "{{ 'aXbXc'.rpartition('X') }}",
         "4 0 -1 2 ['a', ''] ('aXb', 'X', 'c')"},
        {"{{ 'x\u00e9y\u00e9x'.strip('x\u00e9') }} {{ '\u00e9a'|trim('\u00e9') }} "
         "{{ 'ab'.rstrip('ba') }}",
         "y a "},
        {"{{ 'ab'.startswith(('x', 'a')) }} {{ 'ab'.endswith(('x',)) }} "
         "{{ 'ab'.startswith('b', 1) }} {{ 'ab'.startswith('', 3) }}",
         "True False True False"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) gives(cases[i][0], "{}", cases[i][1]);
}

static void statements_as_jinja(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{% for x in [1,2,3] %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}",
         "11,22,33"},
        {"{% for x in [] %}a{% else %}none{% endfor %}", "none"},
        {"{% for x in range(9) if x is odd %}{{ x }}/{{ loop.length }} {% endfor %}",
         "1/4 3/4 5/4 7/4 "},
        {"{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x > 3 %}{% break "
         "%}{% endif %}{{ x }}{% endfor %}",
         "013"},
        {"{% for a, b in {'k': 1}.items() %}{{ a }}{{ b }}{% endfor %}", "k1"},
        {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "21"},
        {"{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ "
         "ns.n }}",
         "3"},
        {"{% macro m(a, b='d') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}{{ m() }}",
         "[1d][12][d]"},
        {"{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, k=2) }}", "(1,){'k': 2}"},
        {"{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(x) m() %}c{{ x }}{% endcall %}",
         "<c1>"},
        {"{% filter upper %}ab{% endfilter %}", "AB"},
        {"{% set x | upper %}ab{% endset %}{{ x }}", "AB"},
        {"{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "3"},
        {"{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}{{ loop(x) }}{% else %}{{ x "
         "}}@{{ loop.depth }} {% endif %}{% endfor %}",
         "1@1 2@2 3@3 "},
        {"{% generation %}a{% endgeneration %}", "a"},
        {"{% set a, b = 1, 2 %}{{ b }}{{ a }}", "21"},
        {"{% for x in [1,1,2] %}{{ loop.changed(x) }}{{ loop.cycle('a','b') }} {% endfor %}",
         "Truea Falseb Truea "},
        {"{% set s = [1,2]|select('odd') %}{{ s|list }}{{ s|list }}{{ true if s }}", "[1][]True"},
        {"{% for x in [1,2,3] %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.revindex }};{% "
         "endfor %}",
         "23;132;21;"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) gives(cases[i][0], "{}", cases[i][1]);
}

static void json_is_written_as_python_does(void **state) {
    (void)state;
    const char *vars =
        "{\"x\":{\"b\":[1,2.50,true,null],\"a\":\"é\\n\\u007f<\",\"e\":{},\"l\":[]}}";
    gives("{{ x|tojson }}", vars,
          "{\"b\": [1, 2.5, true, null], \"a\": \"é\\n\x7f<\", \"e\": {}, \"l\": []}");
    gives("{{ x.b|tojson(indent=2) }}", vars, "[\n  1,\n  2.5,\n  true,\n  null\n]");
    gives("{{ x|tojson(separators=(',', ':'), sort_keys=true) }}", vars,
          "{\"a\":\"é\\n\x7f<\",\"b\":[1,2.5,true,null],\"e\":{},\"l\":[]}");
    gives("{{ x.a|tojson(ensure_ascii=true) }}", vars, "\"\\u00e9\\n\x7f<\"");
    gives("{{ x }}", vars, "{'b': [1, 2.5, True, None], 'a': 'é\\n\\x7f<', 'e': {}, 'l': []}");
    gives("{{ tools }}{{ documents }}{{ other is defined }}", "{}", "NoneNoneFalse");
}

static void errors_say_where_and_why(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\n{{ x.y }}", "t: line 2: 'x' is undefined"},
        {"{{ {}.y.z }}", "'dict object' has no attribute 'y'"},
        {"{{ [1][5].z }}", "list object has no element 5"},
        {"{{ 'a' + 1 }}", "can only concatenate str (not \"int\") to str"},
        {"{{ 1 + 'a' }}", "unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ none|length }}", "object of type 'NoneType' has no len()"},
        {"{% for x in none %}{% endfor %}", "'NoneType' object is not iterable"},
        {"{{ [1].append(2) }}", "access to attribute 'append' of 'list' object is unsafe."},
        {"{{ ''.__class__.x }}", "access to attribute '__class__' of 'str' object is unsafe."},
        {"{% if x %}", "Unexpected end of template."},
        {"{% endif %}", "Encountered unknown tag 'endif'."},
        {"{% include 'x' %}", "not supported"},
        {"{{ x|nope }}", "No filter named 'nope'."},
        {"{% if true %}{{ 1|nope }}{% endif %}", "No filter named 'nope' found."},
        {"{{ 1 2 }}", "expected token 'end of print statement', got 'integer'"},
        {"{{ 9223372036854775807 + 1 }}", "integer overflow"},
        {"{{ 1 // 0 }}", "integer division or modulo by zero"},
        {"{{ 'a' < 1 }}", "'<' not supported between instances of 'str' and 'int'"},
        {"{{ f() }}", "'f' is undefined"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
         "macro 'm' takes not more than 1 argument(s)"},
        {"{# x", "Missing end of comment tag"},
        {"{{ (1 }}", "unexpected '}', expected ')'"},
        {"{{ 'a'.startswith((('a',),)) }}", "must be str or a tuple of str, not tuple"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) refuses(cases[i][0], "{}", cases[i][1]);
    struct rendered r = render("\n{{ raise_exception('Roles must alternate: ' ~ 1) }}", "{}", 100);
    assert_int_equal(r.rc, ERR_INVALID);
    assert_string_equal(r.err.msg, "Roles must alternate: 1"); /* the template's own words alone */
    buf_release(&r.out);
}

static void limits_hold(void **state) {
    (void)state;
    refuses("{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
            "{}", "too many steps");
    refuses("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{}",
            "maximum recursion depth exceeded");
    refuses("{{ 'a'|map(*(['map'] * 5000))|list }}", "{}", "maximum recursion depth exceeded");
    refuses("{{ 'a'|map(*(['map'] * 100000))|list }}", "{}", "takes too many steps");
    refuses("{{ range(100001) }}", "{}", "Range too big");
    refuses("{{ 'x' * 99999999999 }}", "{}", "too long");
    refuses("{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% "
            "endfor %}",
            "{}", "t: line 1: ");
    struct rendered r = render("{% for i in range(1000) %}0123456789{% endfor %}", "{}", 500);
    assert_int_equal(r.rc, ERR_INVALID);
    assert_non_null(strstr(r.err.msg, "longer than 500 bytes"));
    buf_release(&r.out);
    char deep[5000];
    memset(deep, '(', sizeof deep);
    memcpy(deep, "{{ ", 3);
    deep[sizeof deep - 1] = '\0';
    refuses(deep, "{}", "nested too deeply");
    memset(deep + 3, '-', sizeof deep - 4);
    refuses(deep, "{}", "nested more than");
}

#define MILLIONS "{% set s = ('a' * 4000) * 4000 %}{% set l = [1] * 100000 %}"
#define OFTEN(x) MILLIONS "{% for i in range(1000) %}{% if " x " %}{% endif %}{% endfor %}"

/* Each would take minutes or more if its work were not linear, or not counted. */
static void work_is_bounded(void **state) {
    (void)state;
    gives(MILLIONS "{{ s.rfind((('a' * 4000) * 2000) ~ 'b') }}", "{}", "-1");
    gives(MILLIONS "{{ s.rsplit('b' ~ s, 1)|length }}", "{}", "1");
    gives(MILLIONS "{{ s.strip(('b' * 4000) * 4000 ~ 'a')|length }}", "{}", "0");
    static const char *const often[] = {
        OFTEN("s|length"),
        OFTEN("s < s"),
        OFTEN("('\u00e9' * 4000).strip(s ~ '\u00e9')"),
        OFTEN("l == l"),
    };
    for (size_t i = 0; i < COUNT(often); i++) refuses(often[i], "{}", "t: line 1: the template ");
}

/* Twenty bodies of 16 MB, one inside the other. */
static void captured_texts_share_their_limit(void **state) {
    (void)state;
    struct buf source;
    buf_init(&source, 2000);
    buf_z(&source, MILLIONS);
    for (int i = 0; i < 20; i++) buf_z(&source, "{% set x %}{{ s }}");
    for (int i = 0; i < 20; i++) buf_z(&source, "{% endset %}");
    refuses(source.p, "{}", "the rendered text is longer than 268435456 bytes");
    buf_release(&source);
}

static void chat_call_prefers_the_conversation(void **state) {
    (void)state;
    struct chat_template *t = NULL;
    struct err err;
    struct buf out;
    json_t *vars = json_pack("{s:s}", "bos_token", "mine"),
           *more = json_pack("{s:s,s:s}", "bos_token", "b", "eos_token", "e");
    buf_init(&out, 100);
    assert_int_equal(
        template_compile(STR_LIT("{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}"), "t",
                         &t, &err),
        0);
    assert_int_equal(template_render_chat(t, vars, more, true, &out, &err), 0);
    assert_string_equal(out.p, "mineeTrue");
    char hex[65];
    template_hash(t, hex);
    assert_int_equal(strlen(hex), 64);
    json_decref(vars);
    json_decref(more);
    buf_release(&out);
    template_free(t);
}

static void a_fixed_clock_fixes_the_date(void **state) {
    (void)state;
    setenv("SOURCE_DATE_EPOCH", "1767225600", 1);
    gives("{{ strftime_now('%d %b %Y') }}", "{}", "01 Jan 2026");
    unsetenv("SOURCE_DATE_EPOCH");
}

UNIT_TESTS(text_template, cmocka_unit_test(white_space_as_jinja),
           cmocka_unit_test(expressions_as_python), cmocka_unit_test(statements_as_jinja),
           cmocka_unit_test(json_is_written_as_python_does),
           cmocka_unit_test(errors_say_where_and_why), cmocka_unit_test(limits_hold),
           cmocka_unit_test(work_is_bounded), cmocka_unit_test(captured_texts_share_their_limit),
           cmocka_unit_test(chat_call_prefers_the_conversation),
           cmocka_unit_test(a_fixed_clock_fixes_the_date))
