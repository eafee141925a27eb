#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
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

UNIT_TESTS(data_pii, cmocka_unit_test(finds_what_is_there), cmocka_unit_test(passes_what_is_none))
