#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/rows.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A byte-level vocabulary of printable ASCII, space and newline with one merge, "x y". */
static struct tokenizer *tokenizer_new(void) {
    static const char *const specials[] = {
        "<s>",    "</s>",    "<|im_start|>",      "<|im_end|>",          "<|eot_id|>",
        "[INST]", "[/INST]", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"};
    struct buf b;
    struct tokenizer *t = NULL;
    struct err err;
    buf_init(&b, 1 << 20);
    buf_z(&b, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (size_t i = 0; i < COUNT(specials); i++)
        buf_printf(&b,
                   "%s{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":false,"
                   "\"normalized\":false,\"special\":true}",
                   i ? "," : "", i, specials[i]);
    buf_z(&b, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_"
              "space\":false,"
              "\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":{\"type\":"
              "\"TemplateProcessing\","
              "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
              "\"A\",\"type_id\":0}}],"
              "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\","
              "\"type_id\":1}}],"
              "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":[\"<s>\"]}}},"
              "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{");
    int id = (int)COUNT(specials);
    for (char c = '!'; c <= '~'; c++) {
        buf_printf(&b, "\"%s%c\":%d,", c == '"' || c == '\\' ? "\\" : "", c, id);
        id++;
    }
    buf_printf(&b, "\"\xC4\xA0\":%d,\"\xC4\x8A\":%d,\"xy\":%d},\"merges\":[\"x y\"]}}", id, id + 1,
               id + 2);
    struct str config = STR_LIT("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    if (tokenizer_from_json(buf_view(&b), config, "test", &t, &err)) fail_msg("%s", err.msg);
    buf_release(&b);
    return t;
}

/* The row as text, what is trained in {braces}. */
static void mask_text(const struct tokenizer *t, const struct row_tokens *r, struct buf *out) {
    struct err err;
    for (int64_t i = 0; i < r->n; i++) {
        bool on = r->train[i] > 0, was = i > 0 && r->train[i - 1] > 0;
        if (on && !was) buf_byte(out, '{');
        if (!on && was) buf_byte(out, '}');
        assert_int_equal(tokenizer_decode(t, &r->ids[i], 1, false, out, &err), 0);
    }
    if (r->n && r->train[r->n - 1] > 0) buf_byte(out, '}');
}

static void masks(const char *chat, const char *row, int64_t max_length, const char *want,
                  int issues) {
    struct tokenizer *t = tokenizer_new();
    struct chat_template *c = NULL;
    struct rows rows = {0};
    struct row_tokens tokens = {0};
    struct err err;
    struct buf text;
    buf_init(&text, 1 << 20);
    if (chat && template_compile(str_of(chat), "chat", &c, &err)) fail_msg("%s", err.msg);
    if (rows_from_text(str_of(row), "t.jsonl", &rows, &err)) fail_msg("%s", err.msg);
    struct render_options o = {.tokenizer = t, .chat = c, .max_length = max_length};
    if (row_render(&rows.list[0], rows.kind, &o, &tokens, &err)) fail_msg("%s\n%s", row, err.msg);
    mask_text(t, &tokens, &text);
    if (strcmp(text.p ? text.p : "", want) != 0)
        fail_msg("%s\n  want %s\n  got  %s", row, want, text.p);
    if (tokens.issues != issues) fail_msg("%s\n  issues %d, not %d", row, tokens.issues, issues);
    if (tokens.n) assert_true(tokens.train[0] == 0);
    row_tokens_release(&tokens);
    rows_release(&rows);
    template_free(c);
    tokenizer_free(t);
    buf_release(&text);
}

static const char CHATML[] =
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\nBe kind.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] or '') }}"
    "{% for c in m.tool_calls or [] %}<tool>{{ c.function.arguments }}</tool>{% endfor %}{{ "
    "'<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
static const char LLAMA3[] =
    "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\n\n' + "
    "m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
static const char MISTRAL[] = "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' "
                              "%}{{ '[INST]' + m['content'] + '[/INST]' }}"
                              "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}";
/* drops the thinking of every answer but the last */
static const char THINK[] =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and "
    "not loop.last %}"
    "{{ m.content.split('</t>')[-1] }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
static const char PLAIN[] =
    "{% for m in messages %}{{ m.role[0] + ':' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}";
/* its generation prompt begins a thought that a finished answer does not have */
static const char OPENS[] =
    "{% for m in messages %}{{ m.role[0] + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a:<t>' }}{% endif %}";

#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define CHAT(messages) "{\"messages\":[" messages "]}"

static void chat_masks(void **state) {
    (void)state;
    static const struct {
        const char *chat, *row, *want;
        int issues;
    } cases[] = {
        {CHATML, CHAT(U("hi") "," A("yo")),
         "<|im_start|>system\nBe "
         "kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n{yo<|im_end|>}\n",
         0},
        {CHATML,
         CHAT("{\"role\":\"system\",\"content\":\"S\"}," U("a") "," A("b") "," U("c") "," A("d")),
         "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n{"
         "b<|im_end|>}\n"
         "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n{d<|im_end|>}\n",
         0},
        {CHATML,
         CHAT(U("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0}," U("c") "," A("d")),
         "<|im_start|>system\nBe "
         "kind.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
         "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n{d<|im_end|>}\n",
         0},
        {CHATML,
         CHAT(U("a") ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{"
                     "\"name\":\"f\",\"arguments\":\"{1}\"}}]},"
                     "{\"role\":\"tool\",\"content\":\"r\"}," A("d")),
         "<|im_start|>system\nBe "
         "kind.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n{<tool>{1}</"
         "tool><|im_end|>}\n"
         "<|im_start|>tool\nr<|im_end|>\n<|im_start|>assistant\n{d<|im_end|>}\n",
         0},
        {LLAMA3, CHAT(U(" hi ") "," A("yo ")),
         "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_"
         "id|>assistant<|end_header_id|>\n\n{yo<|eot_id|>}",
         0},
        {MISTRAL, CHAT(U("hi") "," A(" yo") "," U("q") "," A(" z")),
         "<s>[INST]hi[/INST]{ yo</s>}[INST]q[/INST]{ z</s>}", 0},
        {THINK, CHAT(U("a") "," A("<t>m</t>b") "," U("c") "," A("<t>n</t>d")),
         "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|"
         "im_end|>\n<|im_start|>assistant\n"
         "{<t>n</t>d<|im_end|>}\n",
         ROW_SERVES_OTHERWISE},
        {THINK, CHAT(U("a") "," A("b") "," U("c") "," A("d")),
         "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n{b<|im_end|>}\n<|im_start|>user\nc<"
         "|im_end|>\n<|im_start|>assistant\n"
         "{d<|im_end|>}\n",
         0},
        {PLAIN, CHAT(U("q") "," A("r") "," U("s")), "u:q\na:{r\n}u:s\n", 0},
        {OPENS, CHAT(U("q") "," A("r")), "u:q<|im_end|>a:{r<|im_end|>}", ROW_SERVES_OTHERWISE},
        {CHATML, CHAT(U("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0}"),
         "<|im_start|>system\nBe "
         "kind.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n",
         ROW_TRAINS_NOTHING},
        {"{{ messages[0].role[0] }}:"
         "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}",
         CHAT(A("r") "," U("q")), "a:r<|im_end|>q<|im_end|>",
         ROW_SERVES_OTHERWISE | ROW_TRAINS_NOTHING},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        masks(cases[i].chat, cases[i].row, 1000, cases[i].want, cases[i].issues);
}

#define CALLS(args)                                                                                \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","      \
    "\"arguments\":\"" args "\"}}]}"
#define WITH_TOOLS(messages)                                                                       \
    "{\"messages\":[" messages                                                                     \
    "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}"

static void calls_that_the_template_leaves_out_train_nothing(void **state) {
    (void)state;
    static const char NONE[] =
        "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}";
    static const char SHOWS[] =
        "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}"
        "{% for m in messages %}{{ m.role[0] }}:{{ m.content or '' }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.arguments }}{% endfor %}{{ '\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}";
    int unseen = ROW_CALLS_UNSEEN | ROW_TRAINS_NOTHING;
    masks(NONE, CHAT(U("q") "," CALLS("1")), 100, "u:q\na:\n", unseen);
    masks(PLAIN, WITH_TOOLS(U("q") "," A("r")), 100, "u:q\na:{r\n}", ROW_TOOLS_UNSEEN);
    masks(SHOWS, WITH_TOOLS(U("q") "," CALLS("1")), 100, "f;u:q\na:{1\n}", 0);
    masks(SHOWS, WITH_TOOLS(U("q") "," A("r")), 100, "f;u:q\na:{r\n}", 0);
    masks(PLAIN, "{\"messages\":[" U("q") "," A("r") "],\"tools\":[]}", 100, "u:q\na:{r\n}", 0);
    masks(NONE,
          CHAT(U("q") ",{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
                      "\"arguments\":\"{}\"}}"),
          100, "u:q\na:\n", unseen);
}

static void other_spellings_read_the_same(void **state) {
    (void)state;
    static const char SHOWS[] =
        "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}"
        "{% for c in m.tool_calls or [] %}[{{ c.function.name }} {{ c.function.arguments.a }}]"
        "{% endfor %}{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    const char *want = "f;system:s\nt\nuser:q\nassistant:{[f 1]\n}tool:7\nassistant:{r\n}";
    static const char OLD[] =
        "{\"functions\":[{\"name\":\"f\"}],\"messages\":[{\"role\":\"developer\",\"content\":["
        "{\"type\":\"text\",\"text\":\"s\"},{\"type\":\"text\",\"text\":\"t\"}]}," U(
            "q") ","
                 "{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{"
                 "\\\"a\\\":1}\"}},"
                 "{\"role\":\"function\",\"name\":\"f\",\"content\":\"7\"}," A("r") "]}";
    static const char NEW[] =
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"messages\":["
        "{\"role\":\"system\",\"content\":\"s\\nt\"}," U(
            "q") ","
                 "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":[{"
                 "\"id\":\"1\","
                 "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}"
                 "\"}}]},"
                 "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"7\"}," A("r") "]}";
    masks(SHOWS, OLD, 1000, want, 0);
    masks(SHOWS, NEW, 1000, want, 0);
}

static void long_rows_are_cut_at_the_end(void **state) {
    (void)state;
    const char *row = CHAT(U("hi") "," A("yo"));
    masks(PLAIN, row, 100, "u:hi\na:{yo\n}", 0);
    masks(PLAIN, row, 8, "u:hi\na:{y}", ROW_CUT);
    masks(PLAIN, row, 7, "u:hi\na:", ROW_CUT | ROW_TRAINS_NOTHING);
}

static void completion_and_text_train_the_end(void **state) {
    (void)state;
    masks(NULL, "{\"prompt\":\"ab \",\"completion\":\"cd\"}", 100, "<s>ab {cd</s>}", 0);
    masks(NULL, "{\"prompt\":\"\",\"completion\":\"cd\"}", 100, "<s>{cd</s>}", 0);
    masks(NULL, "{\"prompt\":\"ab\",\"completion\":\"c</s>\"}", 100, "<s>ab{c</s>}", 0);
    /* "x" + "y" is one token: serving would send "x" alone */
    masks(NULL, "{\"prompt\":\"ax\",\"completion\":\"yb\"}", 100, "<s>a{xyb</s>}",
          ROW_SERVES_OTHERWISE);
    masks(NULL, "{\"text\":\"doc\"}", 100, "<s>{doc</s>}", 0);
}

static void weights_are_kept(void **state) {
    (void)state;
    struct tokenizer *t = tokenizer_new();
    struct chat_template *c = NULL;
    struct rows rows = {0};
    struct row_tokens tokens = {0};
    struct err err;
    const char *row = CHAT(U("q") ",{\"role\":\"assistant\",\"content\":\"r\",\"weight\":0.5}");
    assert_int_equal(template_compile(str_of(PLAIN), "chat", &c, &err), 0);
    assert_int_equal(rows_from_text(str_of(row), "t", &rows, &err), 0);
    struct render_options o = {.tokenizer = t, .chat = c, .max_length = 100};
    assert_int_equal(row_render(&rows.list[0], rows.kind, &o, &tokens, &err), 0);
    assert_int_equal(tokens.trained, 2);
    assert_true(tokens.train[tokens.n - 1] == 0.5F);
    row_tokens_release(&tokens);
    struct render_options no_template = {.tokenizer = t, .max_length = 100};
    assert_int_equal(row_render(&rows.list[0], rows.kind, &no_template, &tokens, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.msg, "row 1 (line 1): chat rows need a chat template"));
    rows_release(&rows);
    template_free(c);
    tokenizer_free(t);
}

#define PAIR(preferred, other)                                                                     \
    "{\"input\":{\"messages\":[" U("q") "]},\"preferred_output\":" preferred                       \
                                        ",\"non_preferred_output\":" other "}"
#define OTHER "\"non_preferred_output\":[" A("b") "]"

static void sides(const char *row, int64_t max_length, const char *const *want, const int *issues) {
    struct tokenizer *t = tokenizer_new();
    struct chat_template *c = NULL;
    struct rows rows = {0};
    struct row_tokens both[PAIR_SIDES];
    struct err err;
    if (template_compile(str_of(PLAIN), "chat", &c, &err)) fail_msg("%s", err.msg);
    if (rows_from_text(str_of(row), "t.jsonl", &rows, &err)) fail_msg("%s", err.msg);
    assert_int_equal(rows.kind, ROW_PAIR);
    struct render_options o = {.tokenizer = t, .chat = c, .max_length = max_length};
    if (row_render_pair(&rows.list[0], &o, both, &err)) fail_msg("%s\n%s", row, err.msg);
    for (int side = 0; side < PAIR_SIDES; side++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        mask_text(t, &both[side], &text);
        assert_string_equal(text.p, want[side]);
        assert_int_equal(both[side].issues, issues[side]);
        row_tokens_release(&both[side]);
        buf_release(&text);
    }
    rows_release(&rows);
    template_free(c);
    tokenizer_free(t);
}

static void pairs_train_their_outputs_alone(void **state) {
    (void)state;
    static const int none[2] = {0, 0}, cut[2] = {ROW_CUT, ROW_CUT};
    int nothing = ROW_CUT | ROW_TRAINS_NOTHING;
    sides(PAIR("[" A("yes") "]", "[" A("no") "]"), 100,
          (const char *const[]){"u:q\na:{yes\n}", "u:q\na:{no\n}"}, none);
    sides(
        "{\"input\":{\"messages\":[" U("q") "," A("r") "," U(
            "s") "],\"tools\":null,"
                 "\"parallel_tool_calls\":true},\"preferred_completion\":[{\"role\":\"assistant\","
                 "\"content\":\"t\",\"weight\":1}],\"non_preferred_completion\":[" A(
                     "v") "],\"id\":3}",
        100, (const char *const[]){"u:q\na:r\nu:s\na:{t\n}", "u:q\na:r\nu:s\na:{v\n}"}, none);
    sides(PAIR("[" A("yes") "]", "[" A("no") "]"), 7,
          (const char *const[]){"u:q\na:{y}", "u:q\na:{n}"}, cut);
    sides(PAIR("[" A("yes") "]", "[" A("no") "]"), 6, (const char *const[]){"u:q\na:", "u:q\na:"},
          (const int[]){nothing, nothing});
}

static void expect_refusal(const char *text, const char *says) {
    struct rows rows;
    struct err err;
    if (!rows_from_text(str_of(text), "t.jsonl", &rows, &err)) fail_msg("accepted: %s", text);
    if (!strstr(err.msg, says)) fail_msg("%s\n  want %s\n  got  %s", text, says, err.msg);
}

static void bad_pairs_are_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}", "\"preferred_output\": [...]"},
        {"{\"input\":[" U("q") "],\"preferred_output\":[" A("a") "]," OTHER "}",
         "\"input\" is a list; write \"input\": {\"messages\": [...]}"},
        {"{\"preferred_output\":[" A("a") "]," OTHER "}",
         "\"input\" must be an object with \"messages\", not absent"},
        {"{\"input\":\"q\",\"preferred_output\":[" A("a") "]," OTHER "}", "not a string"},
        {"{\"messages\":[" U("q") "],\"preferred_output\":[" A("a") "]," OTHER "}",
         "\"messages\" of a preference row belongs into \"input\""},
        {"{\"input\":{\"messages\":[" U("q") "]},\"tools\":[],\"preferred_output\":[" A("a") "]}",
         "\"tools\" of a preference row belongs into \"input\""},
        {"{\"input\":{},\"preferred_output\":[" A("a") "]," OTHER "}",
         "\"input.messages\" must be a list of messages, not absent"},
        {"{\"input\":{\"messages\":[]},\"preferred_output\":[" A("a") "]," OTHER "}",
         "\"input.messages\" is empty; give at least a user message"},
        {"{\"input\":{\"messages\":[" U("q") ",{\"role\":\"bot\",\"content\":\"x\"}]},"
                                             "\"preferred_output\":[" A("a") "]," OTHER "}",
         "row 1 (line 1): input.messages[1]: unknown role \"bot\""},
        {"{\"input\":{\"messages\":[" U("q") "," A("x") "]},\"preferred_output\":[" A(
             "a") "]," OTHER "}",
         "input.messages[1] is the assistant's; answers belong into the outputs"},
        {"{\"input\":{\"messages\":[" U("q") "],\"tools\":{}},\"preferred_output\":[" A(
             "a") "]," OTHER "}",
         "\"input.tools\" must be a list, not an object"},
        {PAIR("[" A("a") "]", "null"), "\"non_preferred_output\" must be a list of one assistant"},
        {"{\"input\":{\"messages\":[" U("q") "]},\"preferred_output\":[" A("a") "]}",
         "\"non_preferred_output\" is missing"},
        {"{\"input\":{\"messages\":[" U("q") "]},\"non_preferred_completion\":[" A("a") "]}",
         "\"preferred_output\" is missing"},
        {PAIR("[" A("a") "],\"preferred_completion\":[]", "[" A("b") "]"),
         "two names of one thing"},
        {PAIR("{}", "[" A("b") "]"),
         "\"preferred_output\" must be a list of one assistant message, not an object"},
        {PAIR("[]", "[" A("b") "]"), "\"preferred_output\" has 0 messages; it takes exactly one"},
        {PAIR("[" A("a") "," A("b") "]", "[" A("b") "]"), "has 2 messages"},
        {PAIR("[1]", "[" A("b") "]"), "preferred_output[0] must be an object, not a number"},
        {PAIR("[" A("a") "]", "[" U("b") "]"),
         "non_preferred_output[0]: the role must be \"assistant\", not \"user\""},
        {PAIR("[" A("") "]", "[" A("b") "]"), "preferred_output[0]: \"content\" is empty"},
        {PAIR("[{\"role\":\"assistant\",\"content\":[]}]", "[" A("b") "]"), "\"content\" is empty"},
        {PAIR("[" CALLS("1") "]", "[" A("b") "]"),
         "preferred_output[0] calls a tool; outputs that are compared must be text"},
        {PAIR("[{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0}]", "[" A("b") "]"),
         "\"weight\" has no meaning in a pair"},
        {CHAT(U("q") "," A("r")) "\n" PAIR("[" A("a") "]", "[" A("b") "]"),
         "row 2 (line 2): this is a preference (\"preferred_output\") row, but row 1 is a chat"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) expect_refusal(cases[i][0], cases[i][1]);
}

static void bad_rows_are_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "no rows"},
        {" \n\t\r\n", "no rows"},
        {"{", "row 1 (line 1): not valid JSON"},
        {"{\"a\":1,\"a\":2}", "duplicate object key"},
        {"[]", "a row must be a JSON object, not a list"},
        {"{}", "not a training row"},
        {"{\"prompt\":\"a\"}", "\"completion\" is missing"},
        {"{\"conversations\":[]}", "sharegpt"},
        {"{\"instruction\":\"a\",\"output\":\"b\"}", "alpaca"},
        {"{\"text\":\"a\"}\n\n{\"text\":1}",
         "t.jsonl: row 2 (line 3): \"text\" must be a string, not a number"},
        {"{\"text\":\"a\"}\n{\"prompt\":\"a\",\"completion\":\"b\"}",
         "row 2 (line 2): this is a prompt/completion row, but row 1 is a text"},
        {"{\"prompt\":\"a\",\"completion\":[]}", "\"completion\" must be a string, not a list"},
        {"{\"prompt\":\"a\",\"completion\":\"\"}", "\"completion\" is empty"},
        {"{\"messages\":{}}", "\"messages\" must be a list of messages, not an object"},
        {"{\"messages\":[]}", "\"messages\" is empty"},
        {"{\"messages\":[1]}", "messages[0] must be an object, not a number"},
        {CHAT("{\"content\":\"x\"}"),
         "messages[0]: \"role\" must be a string such as \"user\", but it is absent"},
        {CHAT("{\"role\":\"bot\",\"content\":\"x\"}"), "unknown role \"bot\""},
        {CHAT("{\"role\":\"user\"}"), "\"content\" is absent"},
        {CHAT("{\"role\":\"user\",\"content\":5}"), "must be a string or a list of text parts"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}"), "only \"text\" parts"},
        {CHAT(U("x")), "no message has the role \"assistant\""},
        {CHAT(A("x") ",{\"role\":\"user\",\"content\":\"y\",\"weight\":1}"),
         "\"weight\" is for assistant messages"},
        {CHAT("{\"role\":\"assistant\",\"content\":\"y\",\"weight\":-1}"),
         "\"weight\" must be a number from 0"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
              "1}}]}"),
         "\"arguments\" must be a string of JSON"},
        {"{\"tools\":1,\"messages\":[" A("x") "]}", "\"tools\" must be a list"},
        {"{\"text\":\"\xff\"}", "not UTF-8 at byte 9"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) expect_refusal(cases[i][0], cases[i][1]);
    char deep[600];
    struct rows rows;
    struct err err;
    memset(deep, '[', sizeof deep);
    assert_int_equal(rows_from_text((struct str){deep, sizeof deep}, "t", &rows, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.msg, "nested more than 100"));
}

static void rows_keep_their_numbers(void **state) {
    (void)state;
    char path[200];
    struct rows rows;
    struct err err;
    snprintf(path, sizeof path, "%s/rows.jsonl", unit_dir());
    struct str text = STR_LIT("\xEF\xBB\xBF{\"text\":\"a\"}\r\n\n{\"text\":\"b\",\"id\":7}");
    assert_int_equal(file_write_atomic(path, text, &err), 0);
    assert_int_equal(rows_read(path, 1000, &rows, &err), 0);
    assert_true(rows.had_bom);
    assert_int_equal(rows.kind, ROW_TEXT);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.list[1].number, 2);
    assert_int_equal(rows.list[1].line, 3);
    assert_int_equal(strlen(rows.sha256), 64);
    rows_release(&rows);
    assert_int_equal(rows_read(path, 10, &rows, &err), ERR_LIMIT);
    assert_int_equal(rows_read("/nonexistent/x", 10, &rows, &err), ERR_NOT_FOUND);
}

UNIT_TESTS(data_rows, cmocka_unit_test(chat_masks),
           cmocka_unit_test(calls_that_the_template_leaves_out_train_nothing),
           cmocka_unit_test(other_spellings_read_the_same),
           cmocka_unit_test(long_rows_are_cut_at_the_end),
           cmocka_unit_test(completion_and_text_train_the_end), cmocka_unit_test(weights_are_kept),
           cmocka_unit_test(pairs_train_their_outputs_alone), cmocka_unit_test(bad_rows_are_named),
           cmocka_unit_test(bad_pairs_are_named), cmocka_unit_test(rows_keep_their_numbers))
