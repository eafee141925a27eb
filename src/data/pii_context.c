/* Words near a candidate. Whole words in any of the languages of the table; a name in camel case or
 * with underscores counts as its parts. */
#include "data/pii_int.h"

#include <stdlib.h>

#define BACK_BYTES 96
#define BACK_WORDS 5
#define AHEAD_BYTES 40
#define AHEAD_WORDS 2
#define WORD_MAX 28

#define PHONE (1u << TOPIC_PHONE)
#define CARD (1u << TOPIC_CARD)
#define BANK (1u << TOPIC_BANK)
#define SSN (1u << TOPIC_SSN)
#define ROUTING (1u << TOPIC_ROUTING)
#define IP (1u << TOPIC_IP)
#define MAC (1u << TOPIC_MAC)
#define SECRET (1u << TOPIC_SECRET)
#define PASSWORD (1u << TOPIC_PASSWORD)
#define EMAIL (1u << TOPIC_EMAIL)
#define CRYPTO (1u << TOPIC_CRYPTO)
#define ID (1u << TOPIC_ID)
#define COUNTED (1u << TOPIC_COUNTED)
#define VERSION (1u << TOPIC_VERSION)
#define IS (1u << TOPIC_IS)

struct entry {
    char word[WORD_MAX]; /* filled up with zeros */
    uint32_t topics;
};

/* by bytes; folded as below */
static const struct entry words[] = {
    {"aadhaar", ID},
    {"aadhar", ID},
    {"aba", ROUTING},
    {"account", BANK},
    {"ach", ROUTING},
    {"addr", IP},
    {"address", IP | CRYPTO},
    {"adresse", IP},
    {"ahv", ID},
    {"amex", CARD},
    {"anrufen", PHONE},
    {"apikey", SECRET},
    {"apikeys", SECRET},
    {"appeler", PHONE},
    {"appelez", PHONE},
    {"are", IS},
    {"as", IS},
    {"auftrag", COUNTED},
    {"auth", SECRET},
    {"authorization", SECRET},
    {"avs", ID},
    {"bancaire", CARD},
    {"bank", BANK | ROUTING},
    {"barcode", COUNTED},
    {"bearer", SECRET},
    {"bel", PHONE},
    {"bellen", PHONE},
    {"bestellnummer", COUNTED},
    {"bestellung", COUNTED},
    {"bitcoin", CRYPTO},
    {"bluetooth", MAC},
    {"bsn", ID},
    {"bssid", MAC},
    {"btc", CRYPTO},
    {"build", VERSION | COUNTED},
    {"burgerservicenummer", ID},
    {"bytes", COUNTED},
    {"call", PHONE},
    {"callback", PHONE},
    {"called", PHONE},
    {"caller", PHONE},
    {"calling", PHONE},
    {"calls", PHONE},
    {"card", CARD},
    {"cardnumber", CARD},
    {"cards", CARD},
    {"carta", CARD},
    {"carte", CARD},
    {"cartão", CARD},
    {"cc", CARD},
    {"ccnum", CARD},
    {"cell", PHONE},
    {"cellphone", PHONE},
    {"cellulare", PHONE},
    {"celular", PHONE},
    {"chapter", VERSION},
    {"charge", CARD},
    {"charged", CARD},
    {"chave", SECRET},
    {"checksum", COUNTED},
    {"chiama", PHONE},
    {"chiamare", PHONE},
    {"chiave", SECRET},
    {"clause", VERSION},
    {"clave", SECRET | PASSWORD},
    {"clé", SECRET},
    {"codice", ID},
    {"commande", COUNTED},
    {"commit", COUNTED},
    {"compte", BANK},
    {"contact", PHONE | EMAIL},
    {"contactno", PHONE},
    {"conto", BANK},
    {"contraseña", SECRET | PASSWORD},
    {"contribuinte", ID},
    {"correo", EMAIL},
    {"courriel", EMAIL},
    {"cpf", ID},
    {"cpr", ID},
    {"credential", SECRET},
    {"credentials", SECRET},
    {"credit", CARD},
    {"creditcard", CARD},
    {"creditcardnummer", CARD},
    {"crypto", CRYPTO},
    {"cuenta", BANK},
    {"cvc", CARD},
    {"cvv", CARD},
    {"debit", CARD},
    {"dial", PHONE},
    {"dialed", PHONE},
    {"digest", COUNTED},
    {"discover", CARD},
    {"dni", ID},
    {"doi", COUNTED},
    {"dollars", COUNTED},
    {"driver", VERSION},
    {"dst", IP},
    {"dzwonić", PHONE},
    {"ean", COUNTED},
    {"ec", VERSION},
    {"email", EMAIL},
    {"emails", EMAIL},
    {"epoch", COUNTED},
    {"equals", IS},
    {"es", IS},
    {"est", IS},
    {"etag", COUNTED},
    {"eth", CRYPTO},
    {"ether", MAC},
    {"ethereum", CRYPTO},
    {"ethernet", MAC},
    {"exp", CARD},
    {"expires", CARD},
    {"expiring", CARD},
    {"expiry", CARD},
    {"factura", COUNTED},
    {"facture", COUNTED},
    {"fattura", COUNTED},
    {"fax", PHONE},
    {"figure", VERSION},
    {"fingerprint", COUNTED},
    {"firmware", VERSION},
    {"fiscale", ID},
    {"fon", PHONE},
    {"fødselsnummer", ID},
    {"gsm", PHONE},
    {"handy", PHONE},
    {"handynummer", PHONE},
    {"hardware", MAC},
    {"hash", COUNTED},
    {"hasło", SECRET | PASSWORD},
    {"henkilötunnus", ID},
    {"hetu", ID},
    {"host", IP},
    {"hostname", IP},
    {"hotline", PHONE},
    {"hwaddr", MAC},
    {"iban", BANK},
    {"id", ID | COUNTED},
    {"identification", ID},
    {"identifikationsnummer", ID},
    {"identity", ID},
    {"idnr", ID},
    {"ids", COUNTED},
    {"imei", COUNTED},
    {"insee", ID},
    {"insurance", ID},
    {"invoice", COUNTED},
    {"ip", IP},
    {"ips", IP},
    {"ipv", IP},
    {"ipv4", IP},
    {"ipv6", IP},
    {"is", IS},
    {"isbn", COUNTED},
    {"issn", COUNTED},
    {"issue", COUNTED},
    {"ist", IS},
    {"item", COUNTED},
    {"karta", CARD},
    {"karte", CARD},
    {"kartennummer", CARD},
    {"karty", CARD},
    {"kennwort", SECRET | PASSWORD},
    {"key", SECRET},
    {"keys", SECRET},
    {"kimlik", ID},
    {"komórka", PHONE},
    {"konto", BANK},
    {"kontonummer", BANK},
    {"kort", CARD},
    {"kortnummer", CARD},
    {"kreditkarte", CARD},
    {"kreditkartennummer", CARD},
    {"lautet", IS},
    {"ligue", PHONE},
    {"llamar", PHONE},
    {"llame", PHONE},
    {"llámame", PHONE},
    {"login", IP},
    {"lösenord", SECRET | PASSWORD},
    {"mac", MAC},
    {"maestro", CARD},
    {"mail", EMAIL},
    {"mailto", EMAIL},
    {"mastercard", CARD},
    {"md5", COUNTED},
    {"medicare", ID},
    {"mobiel", PHONE},
    {"mobil", PHONE},
    {"mobile", PHONE},
    {"mobiles", PHONE},
    {"mobilnummer", PHONE},
    {"model", COUNTED},
    {"motdepasse", SECRET | PASSWORD},
    {"movil", PHONE},
    {"ms", COUNTED},
    {"msisdn", PHONE},
    {"móvil", PHONE},
    {"national", ID},
    {"nhs", ID},
    {"nie", ID},
    {"nif", ID},
    {"nino", ID},
    {"nir", ID},
    {"niss", ID},
    {"numéro", PHONE},
    {"offset", COUNTED},
    {"oid", VERSION},
    {"order", COUNTED},
    {"orders", COUNTED},
    {"ordine", COUNTED},
    {"pan", CARD},
    {"paragraph", VERSION},
    {"parcel", COUNTED},
    {"pass", SECRET | PASSWORD},
    {"passe", SECRET | PASSWORD},
    {"passphrase", SECRET | PASSWORD},
    {"passport", ID},
    {"passwd", SECRET | PASSWORD},
    {"password", SECRET | PASSWORD},
    {"passwords", SECRET | PASSWORD},
    {"passwort", SECRET | PASSWORD},
    {"payment", CARD},
    {"pedido", COUNTED},
    {"personnummer", ID},
    {"pesel", ID},
    {"ph", PHONE},
    {"phone", PHONE},
    {"phones", PHONE},
    {"ping", IP},
    {"population", COUNTED},
    {"portable", PHONE},
    {"product", COUNTED},
    {"proxy", IP},
    {"puhelin", PHONE},
    {"pwd", SECRET | PASSWORD},
    {"reach", PHONE | EMAIL},
    {"rechnung", COUNTED},
    {"rechnungsnummer", COUNTED},
    {"ref", COUNTED},
    {"reference", COUNTED},
    {"rekening", BANK},
    {"release", VERSION | COUNTED},
    {"remote", IP},
    {"rijksregisternummer", ID},
    {"ring", PHONE},
    {"ringa", PHONE},
    {"routing", ROUTING},
    {"rrn", ID},
    {"rtn", ROUTING},
    {"ruf", PHONE},
    {"rufen", PHONE},
    {"rufnummer", PHONE},
    {"schlüssel", SECRET},
    {"seconds", COUNTED},
    {"secret", SECRET},
    {"secrets", SECRET},
    {"section", VERSION},
    {"security", SSN},
    {"sendung", COUNTED},
    {"sendungsnummer", COUNTED},
    {"senha", SECRET | PASSWORD},
    {"serial", COUNTED},
    {"server", IP},
    {"sha", COUNTED},
    {"shipment", COUNTED},
    {"sin", ID},
    {"size", COUNTED},
    {"sku", COUNTED},
    {"sleutel", SECRET},
    {"sms", PHONE},
    {"social", SSN},
    {"sociale", ID},
    {"src", IP},
    {"ssh", IP},
    {"ssn", SSN},
    {"ssns", SSN},
    {"steuer", ID},
    {"steuerid", ID},
    {"steueridentifikationsnummer", ID},
    {"sum", COUNTED},
    {"sécurité", ID},
    {"table", VERSION},
    {"tarjeta", CARD},
    {"tax", ID},
    {"taxpayer", SSN | ID},
    {"tckn", ID},
    {"tel", PHONE},
    {"telefon", PHONE},
    {"telefone", PHONE},
    {"telefonnr", PHONE},
    {"telefonnummer", PHONE},
    {"telefono", PHONE},
    {"telefonszám", PHONE},
    {"telefonu", PHONE},
    {"telefoon", PHONE},
    {"telephone", PHONE},
    {"teléfono", PHONE},
    {"tfn", ID},
    {"ticket", COUNTED},
    {"timestamp", COUNTED},
    {"tin", ID},
    {"token", SECRET},
    {"tokens", SECRET},
    {"total", COUNTED},
    {"tracking", COUNTED},
    {"transaction", COUNTED},
    {"txn", COUNTED},
    {"téléphone", PHONE},
    {"upc", COUNTED},
    {"update", VERSION},
    {"updated", VERSION},
    {"upgrade", VERSION},
    {"upgraded", VERSION},
    {"uuid", COUNTED},
    {"ver", VERSION},
    {"version", VERSION | COUNTED},
    {"versions", VERSION | COUNTED},
    {"visa", CARD},
    {"wachtwoord", SECRET | PASSWORD},
    {"wallet", CRYPTO},
    {"was", IS},
    {"whatsapp", PHONE},
    {"wifi", MAC},
    {"wire", ROUTING},
    {"è", IS},
    {"é", IS},
    {"заказ", COUNTED},
    {"заказа", COUNTED},
    {"звоните", PHONE},
    {"карта", CARD},
    {"карты", CARD},
    {"ключ", SECRET},
    {"мобильный", PHONE},
    {"пароль", SECRET | PASSWORD},
    {"позвоните", PHONE},
    {"тел", PHONE},
    {"телефон", PHONE},
    {"токен", SECRET},
};

/* Scripts written without spaces: found inside of words. */
static const struct entry inside[] = {
    {"电话", PHONE},
    {"手机", PHONE},
    {"電話", PHONE},
    {"携帯", PHONE},
    {"전화", PHONE},
    {"휴대폰", PHONE},
    {"卡号", CARD},
    {"信用卡", CARD},
    {"カード", CARD},
    {"카드", CARD},
    {"密码", PASSWORD | SECRET},
    {"密钥", SECRET},
    {"パスワード", PASSWORD | SECRET},
    {"비밀번호", PASSWORD | SECRET},
    {"邮箱", EMAIL},
    {"メール", EMAIL},
    {"身份证", ID},
    {"주민등록번호", ID},
    {"マイナンバー", ID},
    {"订单", COUNTED},
    {"注文", COUNTED},
    {"주문", COUNTED},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

const char *pii_word_at(size_t i) { return i < COUNT(words) ? words[i].word : NULL; }

/* part of a word: letters, digits and what is not ASCII, but for the punctuation of U+0080-U+00BF,
 * U+2000-U+203F, U+3000-U+303F and U+FF00-U+FF1F */
static bool word_byte(const struct pii_scan *s, size_t i) {
    unsigned char c = pii_at(s, i);
    return pii_alnum(c) || c >= 0x80;
}

/* Punctuation of the scripts above that ends in this byte, its length; 0 if it is none. */
static size_t mark_before(const struct pii_scan *s, size_t end) {
    if (end >= 2 && (unsigned char)s->text.p[end - 2] == 0xC2) return 2;
    if (end < 3) return 0;
    const unsigned char *p = (const unsigned char *)s->text.p + end - 3;
    if (p[0] == 0xE2 && p[1] == 0x80) return 3;
    if (p[0] == 0xE3 && p[1] == 0x80) return 3;
    if (p[0] == 0xEF && p[1] == 0xBC && p[2] < 0xA0) return 3;
    return 0;
}

static uint32_t look_up(const char *w, size_t n) {
    char key[WORD_MAX] = {0};
    size_t lo = 0, hi = COUNT(words);
    memcpy(key, w, n);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = memcmp(key, words[mid].word, WORD_MAX);
        if (!c) return words[mid].topics;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return 0;
}

/* Lower case of ASCII, of Latin letters with accents, and of Cyrillic, in place of the bytes. */
static void fold(char *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)w[i], d = i + 1 < n ? (unsigned char)w[i + 1] : 0;
        if (pii_upper(c)) w[i] = (char)(c + 32);
        if (c == 0xC3 && d >= 0x80 && d <= 0x9E) w[i + 1] = (char)(d + 0x20);
        if (c == 0xD0 && d >= 0x90 && d <= 0x9F) w[i + 1] = (char)(d + 0x20);
        if (c == 0xD0 && d >= 0xA0 && d <= 0xAF) {
            w[i] = (char)0xD1;
            w[i + 1] = (char)(d - 0x20);
        }
    }
}

static uint32_t topics_of(struct pii_scan *s, size_t start, size_t end) {
    char w[BACK_BYTES];
    size_t n = end - start;
    uint32_t all = 0;
    if (n > sizeof w) n = sizeof w;
    s->steps += n;
    memcpy(w, s->text.p + end - n, n);
    fold(w, n);
    if (n <= WORD_MAX) all = look_up(w, n);
    bool wide = false;
    for (size_t i = 0; i < n; i++) wide |= (unsigned char)w[i] >= 0xE3;
    for (size_t i = 0; wide && i < COUNT(inside); i++)
        if (memmem(w, n, inside[i].word, strlen(inside[i].word))) all |= inside[i].topics;
    return all;
}

/* a new part of a camel-case name begins at i */
static bool hump(const struct pii_scan *s, size_t i) {
    unsigned char a = pii_before(s, i), b = pii_at(s, i);
    return (pii_upper(b) && !pii_upper(a)) || (pii_letter(b) && pii_digit(a)) ||
           (pii_digit(b) && pii_letter(a));
}

uint32_t pii_word_before(struct pii_scan *s, size_t end, size_t *ret_start) {
    size_t start = end, low = end > WORD_MAX ? end - WORD_MAX : 0;
    while (start > low && word_byte(s, start - 1) && !mark_before(s, start)) {
        start--;
        if (start > low && hump(s, start) && pii_letter(pii_at(s, start))) break;
    }
    *ret_start = start;
    return start < end ? topics_of(s, start, end) : 0;
}

static void note(struct pii_context *c, uint32_t topics, unsigned distance) {
    for (int t = 0; topics; t++, topics >>= 1)
        if (topics & 1 && !c->near[t]) c->near[t] = (uint8_t)distance;
}

static bool is_number(const struct pii_scan *s, size_t start, size_t end) {
    for (; start < end; start++)
        if (!pii_digit(pii_at(s, start))) return false;
    return true;
}

static void look_back(struct pii_scan *s, size_t from, struct pii_context *c) {
    size_t i = from, low = from > BACK_BYTES ? from - BACK_BYTES : 0;
    for (unsigned seen = 0; seen < BACK_WORDS;) {
        size_t mark;
        while (i > low && (!word_byte(s, i - 1) || (mark = mark_before(s, i)))) {
            mark = mark_before(s, i);
            i -= mark && i - low >= mark ? mark : 1;
        }
        size_t end = i;
        while (i > low && word_byte(s, i - 1) && !mark_before(s, i)) {
            i--;
            if (i > low && hump(s, i)) break;
        }
        if (i == end) break;
        if (is_number(s, i, end)) continue;
        uint32_t topics = topics_of(s, i, end);
        if (!(topics & IS)) seen++;
        note(c, topics, seen ? seen : 1);
    }
    s->steps += from - i;
}

static void look_ahead(struct pii_scan *s, size_t from, struct pii_context *c) {
    size_t i = from, high = s->text.n - from > AHEAD_BYTES ? from + AHEAD_BYTES : s->text.n;
    for (unsigned seen = 0; seen < AHEAD_WORDS; seen++) {
        while (i < high && !word_byte(s, i)) i++;
        size_t start = i;
        while (i < high && word_byte(s, i) && !(i > start && hump(s, i))) i++;
        if (i == start) break;
        note(c, topics_of(s, start, i), BACK_WORDS + 1 + seen);
    }
    s->steps += i - from;
}

void pii_context_of(struct pii_scan *s, size_t start, size_t end, struct pii_context *ret) {
    *ret = (struct pii_context){{0}};
    look_back(s, start, ret);
    look_ahead(s, end, ret);
}

double pii_score(double base, unsigned near, unsigned against) {
    if (near && (!against || near <= against)) return base + PII_BOOST;
    return against ? base - PII_BOOST : base;
}
