#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/pii_int.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* text with its hits in [brackets] after their labels: "call [phone:425-555-0123] now" */
static void marked(struct str text, const struct pii_options *o, struct buf *out) {
    struct pii_hit hits[32];
    size_t n = pii_scan(text, o, hits, COUNT(hits)), at = 0;
    assert_true(n <= COUNT(hits));
    for (size_t i = 0; i < n; i++) {
        assert_true(hits[i].start >= at && hits[i].end > hits[i].start && hits[i].end <= text.n);
        buf_add(out, text.p + at, hits[i].start - at);
        buf_printf(out, "[%s:", pii_label(hits[i].entity));
        buf_add(out, text.p + hits[i].start, hits[i].end - hits[i].start);
        buf_byte(out, ']');
        at = hits[i].end;
    }
    buf_add(out, text.p + at, text.n - at);
}

/* `want` is the text with marks; what is scanned is it without them. */
static void check_one(const char *want, const struct pii_options *o) {
    struct buf plain, got;
    buf_init(&plain, 1 << 16);
    buf_init(&got, 1 << 16);
    for (const char *p = want; *p; p++) {
        enum pii_entity e;
        const char *colon = *p == '[' ? strchr(p, ':') : NULL;
        if (colon && pii_entity_of((struct str){p + 1, (size_t)(colon - p) - 1}, &e)) {
            const char *end = strchr(colon, ']');
            buf_add(&plain, colon + 1, (size_t)(end - colon) - 1);
            p = end;
        } else {
            buf_byte(&plain, *p);
        }
    }
    marked(buf_view(&plain), o, &got);
    if (!str_is(buf_view(&got), want)) fail_msg("wanted %s\n   got %s", want, got.p);
    buf_release(&plain);
    buf_release(&got);
}

static void finds_what_is_there(void **state) {
    (void)state;
    static const char *const texts[] = {
        "write to [email:jane.doe+news@mail.example.co.uk], please",
        "<[email:JANE@Example.COM]>",
        "mailto:[email:o'neil@example.org].",
        "请发邮件到[email:li.wei@example.cn]。",
        "an [email:jürgen@müller.de] schreiben",
        "[email:a_b@xn--mller-kva.de]",
        "call [phone:425-555-0123] now",
        "phone:[phone:(425)555-0123]",
        "[phone:+49 30 1234567], [phone:+44 (0)20 7946 0958]",
        "Tel. [phone:030/1234567]",
        "mon numéro : [phone:06 12 34 56 78]",
        "我的电话是[phone:13812345678]。",
        "{\"phoneNumber\":\"[phone:4255550123]\"}",
        "card [credit_card:4111 1111 1111 1111] exp 12/27",
        "[credit_card:5500-0000-0000-0004]; amex [credit_card:378282246310005]",
        "IBAN [iban:DE89 3704 0044 0532 0130 00].",
        "to [iban:GB82WEST12345698765432]",
        "SSN [ssn:219-09-9999]",
        "social security number is [ssn:219099999]",
        "routing number [routing_number:021000021]",
        "login from [ip:81.2.69.142]:4711",
        "[ip:2a00:1450:4001:81b::200e] says",
        "MAC [mac:3c:22:fb:9a:10:7e], [mac:3C-22-FB-9A-10-7E]",
        "key [secret:AKIAIOSFODNN7EXAMPLE]",
        "export OPENAI_API_KEY=[secret:sk-proj-a8Kd93jfLq02mZx7Tn4vBw6R]",
        "git clone https://me:[secret:gh7Tz9Lm2p]@github.com/x/y",
        "token [secret:ghp_16C7e42F292c6912E7710c838347Ae178B4a]",
        "Bearer [secret:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl]",
        "secret: [secret:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]",
        "my password is [secret:hunter2]",
        "password=[secret:Tr0ub4dor&3]",
        "pay [crypto:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa] or",
        "[crypto:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4]",
        "[crypto:bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0]",
        "[crypto:0x52908400098527886E0F7030069857D2E4169EE7]",
        "[secret:-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----]\nx",
    };
    struct pii_options o;
    pii_defaults(&o);
    for (size_t i = 0; i < COUNT(texts); i++) check_one(texts[i], &o);
}

static void passes_what_is_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0.4111111111111111 is a fraction",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "at 1700000000000 ms, phone",
        "on 2024-03-15 at 12:30:45, from 10:00 to 12:00",
        "version 10.4.2.17, section 1.2.3.4, Chrome/120.0.0.0",
        "192.168.1.1 10.0.0.1 127.0.0.1 203.0.113.7 ::1 fe80::1 2001:db8::1",
        "std::vector a::b 00:00:00:00:00:00",
        "order 4111111111111111 and invoice 5551234567",
        "4111111111111112 4111 1111 1111 1112",
        "@app.route user@localhost logo@2x.png foo@ @bar",
        "git@github.com:me/it.git",
        "000-12-3456 666-12-3456 900-12-3456 078-05-1120 123-00-4567",
        "DE89 3704 0044 0532 0130 01",
        "sk-learn-is-a-nice-library-for-you ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "primary key: getUserAccessTokenFromServerById2",
        "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "She sold 1,234,567 of 8,912,345 at $4,255,550,123",
        "eyJub3QganNvbg.eyJub3QganNvbg.abc",
        "the years 2010-2015, call 2010-2015",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    };
    struct pii_options o;
    pii_defaults(&o);
    for (size_t i = 0; i < COUNT(texts); i++) check_one(texts[i], &o);
}

/* numbers that their issuers or standards publish as examples */
static void finds_national_ids_of_named_countries(void **state) {
    (void)state;
    static const struct {
        const char *country, *text;
    } cases[] = {
        {"CA", "SIN [national_id:130 692 544]"},
        {"ZA", "id number [national_id:8001015009087]"},
        {"SE", "personnummer [national_id:811218-9876]"},
        {"DE", "Steuer-ID [national_id:86095742719]"},
        {"IN", "Aadhaar [national_id:2341 2341 2346]"},
        {"ES", "DNI [national_id:12345678Z]"},
        {"ES", "NIE [national_id:X-1234567-L]"},
        {"PL", "PESEL [national_id:44051401359]"},
        {"FI", "hetu [national_id:131052-308T]"},
        {"TR", "TC kimlik no [national_id:10000000146]"},
        {"AU", "TFN [national_id:123 456 782]"},
        {"GB", "NHS [national_id:943 476 5919]"},
        {"GB", "NINO [national_id:AB 12 34 56 C]"},
        {"FR", "sécurité sociale [national_id:2 55 08 14 168 025 38]"},
        {"IT", "codice fiscale [national_id:RSSMRA85T10A562S]"},
        {"NL", "BSN [national_id:111222333]"},
        {"BR", "CPF [national_id:529.982.247-25]"},
        {"BE", "rijksregisternummer [national_id:85.07.30-033.28]"},
        {"CH", "AHV [national_id:756.9217.0769.85]"},
        {"PT", "NIF [national_id:501964843]"},
        {"CN", "身份证[national_id:11010519491231002X]"},
        {"NO", "fødselsnummer [national_id:13097248022]"},
        {"KR", "RRN [national_id:971013-9019902]"},
    };
    struct pii_options o;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pii_defaults(&o);
        o.on[PII_NATIONAL_ID] = true;
        o.countries = cases[i].country;
        check_one(cases[i].text, &o);
    }
    /* a wrong check digit; and nothing without a country */
    pii_defaults(&o);
    o.on[PII_NATIONAL_ID] = true;
    check_one("PESEL 44051401359, DNI 12345678Z", &o);
    o.countries = "pl,ES";
    check_one("PESEL 44051401358, DNI 12345678A", &o);
    check_one("PESEL [national_id:44051401359], DNI [national_id:12345678Z]", &o);
}

static void countries_limit_the_shapes_of_phones(void **state) {
    (void)state;
    struct pii_options o;
    struct str unknown;
    pii_defaults(&o);
    o.countries = "FR";
    check_one("x 425-555-0123, [phone:06 12 34 56 78], [phone:+1 425 555 0123]", &o);
    o.countries = "US,GB";
    check_one("x [phone:425-555-0123], 06 12 34 56 78, [phone:020 7946 0958]", &o);
    assert_true(pii_countries_known(STR_LIT("US, de,FR"), &unknown));
    assert_false(pii_countries_known(STR_LIT("US,QQ,ZZ"), &unknown));
    assert_true(str_is(unknown, "QQ"));
}

static void what_is_off_is_not_found(void **state) {
    (void)state;
    struct pii_options o;
    pii_defaults(&o);
    o.on[PII_EMAIL] = o.on[PII_CREDIT_CARD] = false;
    check_one("jane@example.com, [phone:425-555-0123]", &o);
    /* nor something else for want of it */
    check_one("call about the card 4111 1111 1111 1111", &o);
}

static void names_only_where_words_say_so(void **state) {
    (void)state;
    struct pii_options o;
    pii_defaults(&o);
    check_one("My name is Jane Doe", &o);
    o.on[PII_PERSON] = true;
    check_one("My name is [person:Jane Doe] and I met Bob Ray.", &o);
    check_one("Sehr geehrter Herr [person:Müller-Lüdenscheidt],", &o);
    check_one("je m'appelle [person:Chloé Dubois]; Mr. [person:J. Smith]", &o);
    check_one("my name is not important, Mr and Mrs", &o);
}

static void replaced(const char *text, enum pii_action action, const char *key, struct buf *out) {
    struct pii_options o;
    struct pii_hit hits[16];
    pii_defaults(&o);
    size_t n = pii_scan(str_of(text), &o, hits, COUNT(hits));
    buf_clear(out);
    pii_replace(str_of(text), hits, n, action, str_of(key), out);
}

static void masks_number_distinct_values(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    replaced("a\xff jane@example.com, bob@example.com; JANE@example.com\n card 4111 1111 1111 1111 "
             "4111111111111111",
             PII_MASK, "", &b);
    assert_string_equal(b.p, "a\xff <EMAIL_1>, <EMAIL_2>; <EMAIL_1>\n card <CREDIT_CARD_1> "
                             "<CREDIT_CARD_1>");
    replaced("nothing here", PII_MASK, "", &b);
    assert_string_equal(b.p, "nothing here");
    buf_release(&b);
}

static void pseudonyms_last_for_a_value_and_a_key(void **state) {
    (void)state;
    struct buf a, b;
    buf_init(&a, 4096);
    buf_init(&b, 4096);
    replaced("jane@example.com", PII_PSEUDONYM, "key", &a);
    assert_int_equal(a.n, strlen("<EMAIL_>") + 12);
    assert_true(str_starts(buf_view(&a), STR_LIT("<EMAIL_")));
    replaced("Jane@Example.com", PII_PSEUDONYM, "key", &b);
    assert_string_equal(a.p, b.p);
    replaced("jane@example.com", PII_PSEUDONYM, "other", &b);
    assert_string_not_equal(a.p, b.p);
    replaced("jan@example.com", PII_PSEUDONYM, "key", &b);
    assert_string_not_equal(a.p, b.p);
    replaced("+49 30 1234567", PII_PSEUDONYM, "key", &a);
    replaced("0049 (30) 1234567", PII_PSEUDONYM, "key", &b);
    assert_string_equal(a.p, b.p);
    buf_release(&a);
    buf_release(&b);
}

static void counts_more_hits_than_fit(void **state) {
    (void)state;
    struct pii_options o;
    struct pii_hit hit;
    pii_defaults(&o);
    struct str text = STR_LIT("a@example.com b@example.com c@example.com");
    assert_int_equal(pii_scan(text, &o, &hit, 1), 3);
    assert_true(hit.start == 0 && hit.end == 13 && hit.entity == PII_EMAIL);
    assert_int_equal(pii_scan(text, &o, NULL, 0), 3);
    assert_int_equal(pii_scan(STR_LIT(""), &o, NULL, 0), 0);
}

static void words_are_in_order(void **state) {
    (void)state;
    for (size_t i = 1; pii_word_at(i); i++)
        if (strcmp(pii_word_at(i - 1), pii_word_at(i)) >= 0)
            fail_msg("\"%s\" stands before \"%s\"", pii_word_at(i - 1), pii_word_at(i));
}

/* steps over `unit` repeated to n bytes, everything on */
static uint64_t steps_of(const char *unit, size_t n) {
    struct pii_options o;
    char *text = mem_alloc(n);
    uint64_t steps;
    size_t k = strlen(unit);
    pii_defaults(&o);
    for (int e = 0; e < PII_ENTITIES; e++) o.on[e] = true;
    o.countries = "CA,ZA,SE,DE,IN,ES,PL,FI,KR,TR,AU,GB,FR,IT,NL,BR,BE,CH,PT,CN,NO,DK";
    for (size_t i = 0; i < n; i++) text[i] = unit[i % k];
    pii_scan_counted((struct str){text, n}, &o, NULL, 0, &steps);
    mem_free(text);
    return steps;
}

/* the bound that the fuzz target holds too */
#define STEPS_PER_BYTE 400

static const char *const units[] = {
    "@",
    "1",
    "::",
    ":",
    "a:",
    "1:",
    "ab:cd:",
    "a.",
    "a.a.a.a@",
    "a@",
    "a@a.",
    "-",
    "--",
    "_",
    "1 ",
    "1-",
    "1.",
    "1.1.1.1.",
    "12 345 ",
    "0",
    "00 ",
    "+1",
    "+49 ",
    "(1) ",
    "a1",
    "A1",
    "aA1",
    "1a ",
    "a1=",
    "key ",
    "key a1B2c3D4e5F6g7H8i9J0 ",
    "eyJ",
    "eyJ.",
    "eyJhIjoxfQ.",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "sk-",
    "ghp_",
    "AKIA",
    "AIza",
    "bc1",
    "bc1q",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb ",
    "0x",
    "0x1",
    "DE89",
    "DE89 ",
    "GB82 WEST 1234 ",
    "4111 1111 ",
    "411111111111111 ",
    "425-555-",
    "(425) ",
    "://a:b@",
    "password: a1",
    "\xc3",
    "\xc3\xa4",
    "\xe4\xb8\xad",
    "Mr. ",
    "my name is ",
    "A",
    "a",
    " ",
    "2001:",
    "3c:22:",
    "3c-22-",
};

static void no_text_takes_more_than_linear_work(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(units); i++) {
        size_t n = !UNIT_MEASURES_MEMORY ? 1 << 14 : i < 9 ? 1 << 20 : 1 << 16;
        uint64_t half = steps_of(units[i], n / 2), all = steps_of(units[i], n);
        if (all > STEPS_PER_BYTE * n || all > 2 * half + half / 8 + 100000)
            fail_msg("\"%s\": %llu steps for %zu bytes, %llu for half of it", units[i],
                     (unsigned long long)all, n, (unsigned long long)half);
    }
}

/* Customers' questions without personal data; not ours, and not everywhere. */
static void clean_questions_stay_clean(void **state) {
    (void)state;
    struct pii_options o;
    struct buf b;
    struct err err;
    size_t lines = 0, with = 0;
    buf_init(&b, 1 << 24);
    if (file_read("../shared/data/finetune/banking77/train.csv", &b, &err)) {
        buf_release(&b);
        puts("skipped: ../shared/data/finetune/banking77 is not there");
        skip();
    }
    pii_defaults(&o);
    for (struct str all = buf_view(&b), line; all.n; all = str_from(all, line.n + 1)) {
        const char *end = memchr(all.p, '\n', all.n);
        line = (struct str){all.p, end ? (size_t)(end - all.p) : all.n};
        with += pii_scan(line, &o, NULL, 0) > 0;
        lines++;
    }
    buf_release(&b);
    if (with * 1000 >= lines) fail_msg("%zu of %zu lines", with, lines);
}

UNIT_TESTS(data_pii, cmocka_unit_test(finds_what_is_there), cmocka_unit_test(passes_what_is_none),
           cmocka_unit_test(finds_national_ids_of_named_countries),
           cmocka_unit_test(countries_limit_the_shapes_of_phones),
           cmocka_unit_test(what_is_off_is_not_found),
           cmocka_unit_test(names_only_where_words_say_so),
           cmocka_unit_test(masks_number_distinct_values),
           cmocka_unit_test(pseudonyms_last_for_a_value_and_a_key),
           cmocka_unit_test(counts_more_hits_than_fit), cmocka_unit_test(words_are_in_order),
           cmocka_unit_test(no_text_takes_more_than_linear_work),
           cmocka_unit_test(clean_questions_stay_clean))
