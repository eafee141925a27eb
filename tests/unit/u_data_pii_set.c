/* Labelled texts: see the header. */
#include "pii_set.h"

#include "base/base64.h"
#include "base/hash.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* {entity} is labelled, {-thing} looks like one and is none, {name} and {firm} are plain. Lines
 * take turns between the part to tune on and the part held out. */
static const char *const forms[] = {
    "Hi, my email is {email} and you can reach me at {phone}. Thanks, {name}",
    "Please update my contact details: {email}, phone {phone}.",
    "I was charged twice on my card {card}. Please refund order {-order}.",
    "The card number is {card}, exp {-expiry}, and it was declined on {-date}.",
    "Bitte überweisen Sie auf IBAN {iban}. Meine Telefonnummer ist {phone_de}.",
    "Meine Kontonummer: {iban}, Rückfragen unter {email} oder {phone_de}.",
    "Bonjour, vous pouvez m'appeler au {phone_fr} ou écrire à {email}. {name}",
    "Mon numéro est le {phone_fr}, mon IBAN {iban}, facture {-order} de {-price}.",
    "My SSN is {ssn} and my routing number is {routing}.",
    "Social security number {ssn}; please wire to the account with ABA routing {routing}.",
    "{-date} {-time} INFO login ok user={name} ip={ip} session={-uuid}",
    "{ip} - - [{-date}] \"GET /index.html HTTP/1.1\" 200 {-num} \"{-agent}\"",
    "{\"email\": \"{email}\", \"id\": \"{-uuid}\", \"at\": {-epoch_ms}, \"phone\": \"{phone}\"}",
    "{\"user\":{\"name\":\"{name}\",\"mail\":\"{email}\",\"lastIp\":\"{ip}\"},\"ts\":{-epoch}}",
    "| name | e-mail | phone |\n|---|---|---|\n| {name} | {email} | {phone_us} |",
    "name,email,card,total\n{name},{email},{card},{-price}\n",
    "export OPENAI_API_KEY={key_openai}\nexport PORT=8080\n",
    "client = OpenAI(api_key=\"{key_openai}\")  # build {-version}",
    "git remote set-url origin https://{key_github}@github.com/{firm}/repo.git",
    "GITHUB_TOKEN: {key_github}\nRUN_ID: {-epoch}\n",
    "aws_access_key_id = {key_aws}\naws_secret_access_key = {key_random}",
    "My access key {key_aws} was leaked in commit {-sha}.",
    "slack token {key_slack} posted from {ip}",
    "SLACK_BOT_TOKEN={key_slack}\nLOG_LEVEL=debug\nRELEASE={-version}",
    "curl -H 'Authorization: Bearer {jwt}' https://api.{firm}.com/v2/users/{-num}",
    "Cookie: session={jwt}; theme=dark; last={-epoch}",
    "Here is the key:\n{key_block}\nKeep it safe.",
    "cat id_rsa\n{key_block}\n{-date} {-time} done",
    "the api key for the test system is {key_random}, valid until {-date}",
    "secret: {key_random}\nregion: eu-west-1\nversion: {-version}",
    "my password is {password} and it does not work since {-date}",
    "DB_PASSWORD={password}\nDB_HOST={-private_ip}\nDB_PORT=5432",
    "Passwort: {password}, bitte nach dem Login ändern.",
    "postgres://app:{password}@db.{firm}.com:5432/prod",
    "Send the coins to {btc} before {-time}.",
    "My bitcoin wallet is {btc}, transaction of {-date}.",
    "ETH address {eth}, tx fee {-price}",
    "donations: {eth} or {btc} or {email}",
    "arp: {mac} is at {-private_ip} on eth0",
    "Device {mac} joined; DHCP offered {-private_ip}; firmware {-version}",
    "Server 2: IPv6 {ip6}, IPv4 {ip}, MAC {mac}",
    "connect from {ip6} port {-num}",
    "Hola, mi correo es {email} y mi móvil {phone_es}. Pedido {-order}.",
    "Por favor llámame al {phone_es}, mi tarjeta es {card}.",
    "Mi chiamo {name}, il mio telefono è {phone_it}, fattura {-order}.",
    "Il mio indirizzo è {email}, cellulare {phone_it}.",
    "我的电话是{phone_cn}，邮箱{email}。",
    "请联系{email}，手机{phone_cn}，订单号{-order}。",
    "Мой телефон {phone_ru}, почта {email}.",
    "Позвоните по номеру {phone_ru} до {-time}.",
    "Olá, meu telefone é {phone_br} e o e-mail {email}.",
    "Ligue para {phone_br}. Pedido {-order}, total {-price}.",
    "Call me on {phone_uk} or email {email}.",
    "Our office: {phone_uk}, fax {phone_uk}, VAT {-num}",
    "phone:{phone_us}",
    "Tel {phone_us} ext 12, invoice {-order}",
    "For help ring {phone_us}. Ticket {-order} was opened on {-date} at {-time}.",
    "Lost my phone ({phone_us}), IMEI withheld. Case {-uuid}.",
    "{name} <{email}> wrote on {-date}:\n> the total is {-price}, version {-version}",
    "From: {name} <{email}>\nTo: {email}\nDate: {-date} {-time}\nSubject: order {-order}",
    "INSERT INTO users VALUES ({-num}, '{name}', '{email}', '{phone}', '{ip}');",
    "UPDATE customers SET card='{card}' WHERE id={-num} AND email='{email}';",
    "<a href=\"mailto:{email}\">{name}</a> <span>{phone}</span>",
    "<contact><tel>{phone}</tel><iban>{iban}</iban><ref>{-uuid}</ref></contact>",
    "ssn={ssn}&zip={-zip}&dob={-date}",
    "Applicant {name}, SSN: {ssn}, born {-date}, income {-price}",
    "Pay from IBAN {iban} to IBAN {iban}, amount {-price}, reference {-order}",
    "BIC DEUTDEFF, {iban}, fällig am {-date}",
    "The payment with visa {card} failed; retry with mastercard {card}.",
    "kreditkarte {card} läuft ab {-expiry}, Bestellung {-order}",
    /* nothing in these */
    "Tom buys {-small} apples for {-price} each and sells {-small} of them. {-math}",
    "A train leaves at {-time} and covers {-num} km in {-small} hours. {-math}",
    "Release {-version} (build {-epoch}) fixes {-small} bugs; see section {-section}.",
    "Upgrade from version {-version4} to {-version4} and restart {-private_ip}.",
    "SELECT count(*) FROM [{-table}] WHERE year = {-year} AND value > {-float}",
    "Table {-table}: rows {-num}, mean {-float}, sd {-float}",
    "Your order {-order16} has shipped, tracking {-order16}.",
    "Invoice {-order} of {-date}: {-small} x {-price}, parcel {-order16}",
    "trace {-uuid} span {-sha} took {-float} ms at {-epoch_ms}",
    "{-date} {-time} WARN retry {-small} for job {-uuid} on {-private_ip}",
    "import numpy as np\nx = {-float}\n@app.route('/v{-small}/items')\ndef f(): return {-num}",
    "commit {-sha}\nDate: {-date} {-time}\n\n    bump to {-version}",
    "ISBN {-isbn}, {-year}, pages {-small}-{-num}",
    "The book with ISBN {-isbn} costs {-price}; population {-num} in {-year}.",
    "Examples in the docs use {-doc_ip} and {-private_ip}.",
    "from {-year} to {-year} the index rose {-float}% ({-num} points)",
    "color #{-hex6}; width: {-num}px; id {-uuid}",
    "key: {-camel}, token count {-num}, secret sauce {-small}",
};

static uint64_t below(struct rng *r, uint64_t n) { return rng_below(r, n); }
static char pick(struct rng *r, const char *set) { return set[below(r, strlen(set))]; }
#define ONE_OF(r, list) ((list)[below(r, COUNT(list))])

static const char digits[] = "0123456789", hexes[] = "0123456789abcdef",
                  lower[] = "abcdefghijklmnopqrstuvwxyz", upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                  alnum[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

static void many(struct rng *r, struct buf *b, const char *set, int n) {
    while (n-- > 0) buf_byte(b, pick(r, set));
}

/* # a digit, & 2 to 9, % a hex digit; the rest as it is */
static void shaped(struct rng *r, struct buf *b, const char *shape) {
    for (; *shape; shape++) {
        if (*shape == '#')
            many(r, b, digits, 1);
        else if (*shape == '&')
            many(r, b, digits + 2, 1);
        else if (*shape == '%')
            many(r, b, hexes, 1);
        else
            buf_byte(b, *shape);
    }
}

static const char *const first[] = {"jane", "omar",  "li",   "sofia", "björn", "anna",
                                    "raj",  "chloé", "ivan", "maria", "kenji", "fatima"};
static const char *const last[] = {"smith", "garcia", "müller", "wang",  "okafor", "rossi",
                                   "kim",   "dubois", "novak",  "silva", "haddad"};
static const char *const firm[] = {"acme", "globex", "initech", "north-wind", "bluepeak", "kanto"};
static const char *const tld[] = {"com",    "org", "net", "de", "co.uk", "io",    "fr",
                                  "com.br", "dev", "edu", "it", "es",    "online"};

static void ascii(struct buf *b, const char *z) { /* letters of two bytes as their first sound */
    for (; *z; z++)
        if ((unsigned char)*z < 0x80)
            buf_byte(b, *z);
        else if ((unsigned char)*z == 0xC3)
            buf_byte(b, z[1] == '\xA9' ? 'e' : z[1] == '\xB6' ? 'o' : 'u');
}

static void put_email(struct rng *r, struct buf *b) {
    ascii(b, ONE_OF(r, first));
    if (below(r, 4)) {
        buf_byte(b, pick(r, "._-"));
        ascii(b, ONE_OF(r, last));
    }
    if (!below(r, 3)) buf_printf(b, "%d", (int)below(r, 100));
    if (!below(r, 6)) buf_z(b, "+news");
    buf_byte(b, '@');
    if (!below(r, 4)) buf_z(b, below(r, 2) ? "mail." : "it.staff.");
    buf_printf(b, "%s.%s", ONE_OF(r, firm), ONE_OF(r, tld));
}

static char luhn_digit(const char *d, size_t n) {
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        int x = d[n - 1 - i] - '0';
        if (i % 2 == 0) x = x * 2 > 9 ? x * 2 - 9 : x * 2;
        sum += x;
    }
    return (char)('0' + (10 - sum % 10) % 10);
}

static void put_card(struct rng *r, struct buf *b) {
    static const char *const starts[] = {"4", "51", "55", "2221", "37", "6011", "3530", "62"};
    char d[20];
    const char *start = ONE_OF(r, starts);
    size_t n = strcmp(start, "37") ? 16 : 15, k = strlen(start);
    memcpy(d, start, k);
    while (k < n - 1) d[k++] = pick(r, digits);
    d[k] = luhn_digit(d, n - 1);
    char sep = (char)(below(r, 2) ? ' ' : below(r, 2) ? '-' : 0);
    for (size_t i = 0; i < n; i++) {
        bool gap = n == 16 ? i && i % 4 == 0 : i == 4 || i == 10;
        if (sep && gap) buf_byte(b, sep);
        buf_byte(b, d[i]);
    }
}

static void put_iban(struct rng *r, struct buf *b) {
    /* country, then the account's shape */
    static const char *const shapes[] = {"DE##################",       "FR#######################",
                                         "GBWEST##############",       "ES####################",
                                         "NLABNA##########",           "ITX######################",
                                         "CH#################",        "AT################",
                                         "PL########################", "SE####################"};
    char t[48], all[40];
    struct buf x;
    buf_init(&x, 64);
    shaped(r, &x, ONE_OF(r, shapes));
    snprintf(all, sizeof all, "%s%.2s00", x.p + 2, x.p);
    unsigned rest = 0;
    for (char *p = all; *p; p++)
        rest = *p <= '9' ? (rest * 10 + (unsigned)(*p - '0')) % 97
                         : (rest * 100 + (unsigned)(*p - 'A') + 10) % 97;
    snprintf(t, sizeof t, "%.2s%02u%s", x.p, 98 - rest, x.p + 2);
    bool spaced = below(r, 2);
    for (size_t i = 0; t[i]; i++) {
        if (spaced && i && i % 4 == 0) buf_byte(b, ' ');
        buf_byte(b, t[i]);
    }
    buf_release(&x);
}

static void put_ssn(struct rng *r, struct buf *b) {
    unsigned area = 1 + (unsigned)below(r, 665), group = 1 + (unsigned)below(r, 99);
    buf_printf(b, "%03u-%02u-%04u", area, group, 1 + (unsigned)below(r, 9999));
}

static void put_routing(struct rng *r, struct buf *b) {
    int d[9], sum = 0;
    d[0] = (int)below(r, 2);
    d[1] = 1 + (int)below(r, 2);
    for (int i = 2; i < 8; i++) d[i] = (int)below(r, 10);
    for (int i = 0; i < 8; i++) sum += d[i] * (i % 3 == 0 ? 3 : i % 3 == 1 ? 7 : 1);
    d[8] = (10 - sum % 10) % 10;
    for (int i = 0; i < 9; i++) buf_byte(b, (char)('0' + d[i]));
}

static void put_ip(struct rng *r, struct buf *b) {
    static const int nets[] = {5, 23, 34, 46, 52, 81, 93, 104, 145, 185, 203, 217};
    buf_printf(b, "%d.%d.%d.%d", ONE_OF(r, nets), 64 + (int)below(r, 64), (int)below(r, 256),
               1 + (int)below(r, 254));
}

static void put_random(struct rng *r, struct buf *b) {
    if (below(r, 2))
        many(r, b, alnum, 32 + (int)below(r, 12));
    else
        shaped(r, b, "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%");
}

static void put_password(struct rng *r, struct buf *b) {
    static const char *const words[] = {"Sommer", "Dragon", "blue", "Tr0ub4dor", "Paris", "qwe"};
    buf_z(b, ONE_OF(r, words));
    many(r, b, digits, 2 + (int)below(r, 3));
    if (below(r, 2)) buf_byte(b, pick(r, "!#$%&*"));
    many(r, b, lower, (int)below(r, 4));
}

static void put_jwt(struct rng *r, struct buf *b) {
    struct buf plain, coded;
    buf_init(&plain, 1024);
    buf_init(&coded, 1024);
    for (int part = 0; part < 2; part++) {
        buf_clear(&plain);
        buf_clear(&coded);
        buf_z(&plain, part ? "{\"sub\":\"" : "{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
        if (part) {
            many(r, &plain, digits, 10);
            buf_z(&plain, "\",\"iat\":1516239022}");
        }
        base64_encode(buf_view(&plain), &coded);
        for (size_t i = 0; i < coded.n; i++)
            if (coded.p[i] != '=')
                buf_byte(b, coded.p[i] == '+' ? '-' : coded.p[i] == '/' ? '_' : coded.p[i]);
        buf_byte(b, '.');
    }
    many(r, b, alnum, 43);
    buf_release(&plain);
    buf_release(&coded);
}

static void put_block(struct rng *r, struct buf *b) {
    static const char *const kinds[] = {"RSA ", "EC ", "OPENSSH ", ""};
    const char *kind = ONE_OF(r, kinds);
    buf_printf(b, "-----BEGIN %sPRIVATE KEY-----\n", kind);
    for (int i = 0; i < 4; i++) {
        many(r, b, alnum, 64);
        buf_byte(b, '\n');
    }
    buf_printf(b, "-----END %sPRIVATE KEY-----", kind);
}

static unsigned char nibble(char c) { return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10); }

static void sha(const unsigned char *p, size_t n, unsigned char ret[32]) {
    char hex[SHA256_HEX + 1];
    sha256_of((struct str){(const char *)p, n}, hex);
    for (int i = 0; i < 32; i++)
        ret[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
}

static void put_btc(struct rng *r, struct buf *b) {
    static const char set[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    unsigned char a[25], h[32];
    char out[40];
    int n = 0, zeros = 0;
    a[0] = below(r, 2) ? 0 : 5;
    for (int i = 1; i < 21; i++) a[i] = (unsigned char)below(r, 256);
    sha(a, 21, h);
    sha(h, 32, h);
    memcpy(a + 21, h, 4);
    while (zeros < 25 && !a[zeros]) zeros++;
    for (bool more = true; more;) {
        int rest = 0;
        more = false;
        for (int i = 0; i < 25; i++) {
            int x = rest * 256 + a[i];
            a[i] = (unsigned char)(x / 58);
            rest = x % 58;
            more |= a[i] != 0;
        }
        out[n++] = set[rest];
    }
    for (int i = 0; i < zeros; i++) buf_byte(b, '1');
    while (n) buf_byte(b, out[--n]);
}

static void put_phone(struct rng *r, struct buf *b, const char *where) {
    static const char *const us[] = {"(&##) &##-####",  "&##-&##-####",   "&##.&##.####",
                                     "+1 &## &## ####", "1-&##-&##-####", "+1&##&######",
                                     "(&##)&##-####",   "&## &## ####"};
    static const char *const de[] = {"+49 30 ########", "030 #######",      "0171 #######",
                                     "089/######",      "+49 (0)40 ######", "0171/#######"};
    static const char *const fr[] = {"06 ## ## ## ##", "+33 6 ## ## ## ##", "01.##.##.##.##",
                                     "07########"};
    static const char *const uk[] = {"+44 20 7### ####", "020 7### ####", "07700 9#####",
                                     "+44 (0)161 ### ####", "01632 960###"};
    static const char *const es[] = {"6## ### ###", "+34 6########", "91 ### ## ##", "6########"};
    static const char *const it[] = {"3## #######", "+39 02 ########", "02 ########", "3#########"};
    static const char *const cn[] = {"138########", "+86 139 #### ####", "186########"};
    static const char *const ru[] = {"+7 (9##) ###-##-##", "8 9## ###-##-##", "+79#########",
                                     "8 (9##) ###-##-##"};
    static const char *const br[] = {"(11) 9####-####", "+55 11 9####-####", "11 9########"};
    const char *shape = ONE_OF(r, us);
    if (!strcmp(where, "de")) shape = ONE_OF(r, de);
    if (!strcmp(where, "fr")) shape = ONE_OF(r, fr);
    if (!strcmp(where, "uk")) shape = ONE_OF(r, uk);
    if (!strcmp(where, "es")) shape = ONE_OF(r, es);
    if (!strcmp(where, "it")) shape = ONE_OF(r, it);
    if (!strcmp(where, "cn")) shape = ONE_OF(r, cn);
    if (!strcmp(where, "ru")) shape = ONE_OF(r, ru);
    if (!strcmp(where, "br")) shape = ONE_OF(r, br);
    shaped(r, b, shape);
}

/* What looks like something and is nothing; false if there is no such thing. */
static bool put_plain(struct rng *r, struct buf *b, const char *what) {
    static const struct {
        const char *what, *shape;
    } shapes[] = {
        {"order", "A-#######"},
        {"order16", "################"},
        {"date", "202#-0&-1#"},
        {"time", "1#:3#:4#"},
        {"expiry", "0&/2#"},
        {"price", "$#,###.##"},
        {"epoch", "17########"},
        {"epoch_ms", "17###########"},
        {"version", "v#.1#.#"},
        {"version4", "#.1#.##.1#"},
        {"num", "#####"},
        {"small", "1#"},
        {"zip", "9####"},
        {"year", "19##"},
        {"private_ip", "192.168.1.1#"},
        {"doc_ip", "203.0.113.##"},
        {"isbn", "978-3-16-14####-#"},
        {"float", "0.################"},
        {"table", "1-100#####-1#"},
        {"section", "2.1#.3.4"},
        {"hex6", "%%%%%%"},
        {"sha", "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%"},
        {"uuid", "%%%%%%%%-%%%%-4%%%-a%%%-%%%%%%%%%%%%"},
        {"math", "1#*1#=<<1#*1#=2##>>2## so #####+######=1######."},
        {"agent", "Mozilla/5.0 (X11; Linux) Chrome/12#.0.0.0 Safari/537.36"},
        {"camel", "getUserAccessTokenFromServerById#"},
    };
    for (size_t i = 0; i < COUNT(shapes); i++) {
        if (strcmp(what, shapes[i].what)) continue;
        shaped(r, b, shapes[i].shape);
        return true;
    }
    return false;
}

static const struct {
    const char *what;
    enum pii_entity entity;
    void (*put)(struct rng *r, struct buf *b);
    const char *before; /* fixed bytes, then a shape or letters and digits */
    int length;
} kinds[] = {
    {"email", PII_EMAIL, put_email, NULL, 0},
    {"card", PII_CREDIT_CARD, put_card, NULL, 0},
    {"iban", PII_IBAN, put_iban, NULL, 0},
    {"ssn", PII_SSN, put_ssn, NULL, 0},
    {"routing", PII_ROUTING, put_routing, NULL, 0},
    {"ip", PII_IP, put_ip, NULL, 0},
    {"ip6", PII_IP, NULL, "2a0&:%%%%:%%%%:%%::%%%%", 0},
    {"mac", PII_MAC, NULL, "3c:%%:fb:%%:%%:1%", 0},
    {"eth", PII_CRYPTO, NULL, "0x%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%", 0},
    {"btc", PII_CRYPTO, put_btc, NULL, 0},
    {"password", PII_SECRET, put_password, NULL, 0},
    {"jwt", PII_SECRET, put_jwt, NULL, 0},
    {"key_block", PII_SECRET, put_block, NULL, 0},
    {"key_random", PII_SECRET, put_random, NULL, 0},
    {"key_openai", PII_SECRET, NULL, "sk-proj-", 48},
    {"key_github", PII_SECRET, NULL, "ghp_", 36},
    {"key_slack", PII_SECRET, NULL, "xoxb-###########-############-", 24},
};

static void put_entity(struct rng *r, struct pii_sample *s, const char *what) {
    size_t start = s->text.n;
    enum pii_entity entity = PII_PHONE;
    if (!strncmp(what, "phone", 5)) {
        put_phone(r, &s->text, what[5] ? what + 6 : below(r, 2) ? "us" : "uk");
    } else if (!strcmp(what, "key_aws")) {
        entity = PII_SECRET;
        buf_z(&s->text, "AKIA");
        many(r, &s->text, upper, 8);
        many(r, &s->text, "234567ABCDEFGHIJKLMNOPQRSTUVWXYZ", 8);
    } else {
        size_t i = 0;
        while (i < COUNT(kinds) && strcmp(what, kinds[i].what)) i++;
        if (i == COUNT(kinds)) abort();
        entity = kinds[i].entity;
        if (kinds[i].put) kinds[i].put(r, &s->text);
        if (kinds[i].before) shaped(r, &s->text, kinds[i].before);
        many(r, &s->text, alnum, kinds[i].length);
    }
    s->span[s->count].entity = entity;
    s->span[s->count].start = start;
    s->span[s->count++].end = s->text.n;
}

static void put(struct rng *r, struct pii_sample *s, const char *what) {
    if (!strcmp(what, "name")) {
        static const char *const names[] = {"Jane Smith", "Omar Haddad", "Li Wang", "Chloé Dubois"};
        buf_z(&s->text, ONE_OF(r, names));
    } else if (!strcmp(what, "firm")) {
        buf_z(&s->text, ONE_OF(r, firm));
    } else if (*what == '-') {
        if (!put_plain(r, &s->text, what + 1)) abort();
    } else {
        put_entity(r, s, what);
    }
}

void pii_sample(uint64_t seed, size_t number, struct pii_sample *ret) {
    struct rng r;
    *ret = (struct pii_sample){.form = number % COUNT(forms)};
    ret->held_out = ret->form % 2;
    buf_init(&ret->text, 1 << 16);
    rng_init_stream(&r, seed, number);
    for (const char *p = forms[ret->form]; *p; p++) {
        char what[24];
        size_t n = *p == '{' ? strcspn(p + 1, "{}\": ,") : 0;
        if (n && p[1 + n] == '}') {
            snprintf(what, sizeof what, "%.*s", (int)n, p + 1);
            put(&r, ret, what);
            p += n + 1;
        } else {
            buf_byte(&ret->text, *p);
        }
    }
}
