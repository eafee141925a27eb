/* Finds replaced by what they are: numbered within a text, or by a pseudonym that is the same for
 * the same value wherever one key is used. */
#include "base/hash.h"
#include "base/mem.h"
#include "data/pii.h"

#include <ctype.h>

#define PSEUDONYM_HEX 12

static bool plain(enum pii_entity e) { return e == PII_SECRET || e == PII_CRYPTO; }
static bool folded(enum pii_entity e) { return e == PII_EMAIL || e == PII_IP || e == PII_PERSON; }

/* One form for all spellings of a value: e-mail in small letters, numbers without separators. */
static void normalise(enum pii_entity e, struct str v, struct buf *out) {
    buf_clear(out);
    buf_z(out, pii_label(e));
    buf_byte(out, '\0');
    size_t from = out->n;
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (plain(e) || c >= 0x80)
            buf_byte(out, (char)c);
        else if (folded(e))
            buf_byte(out, (char)tolower(c));
        else if (isalnum(c))
            buf_byte(out, (char)toupper(c));
    }
    /* +49 and 0049 call the same */
    if (e == PII_PHONE && out->n > from + 2 && out->p[from] == '0' && out->p[from + 1] == '0') {
        memmove(out->p + from, out->p + from + 2, out->n - from - 2);
        out->n -= 2;
    }
}

/* Values seen in this text, by the hash of their one form: what number each has. */
struct seen {
    struct slot {
        char hex[SHA256_HEX + 1];
        size_t number; /* 0: free */
    } * slots;
    size_t cap; /* a power of two, more than twice the values */
    size_t last[PII_ENTITIES];
};

static size_t number_of(struct seen *s, enum pii_entity e, struct str value) {
    char hex[SHA256_HEX + 1];
    sha256_of(value, hex);
    size_t i = (size_t)hash_bytes(hex, SHA256_HEX) & (s->cap - 1);
    while (s->slots[i].number && memcmp(s->slots[i].hex, hex, SHA256_HEX))
        i = (i + 1) & (s->cap - 1);
    if (!s->slots[i].number) {
        memcpy(s->slots[i].hex, hex, sizeof hex);
        s->slots[i].number = ++s->last[e];
    }
    return s->slots[i].number;
}

static void put_label(enum pii_entity e, struct buf *out) {
    buf_byte(out, '<');
    for (const char *p = pii_label(e); *p; p++) buf_byte(out, (char)toupper((unsigned char)*p));
    buf_byte(out, '_');
}

static void put_pseudonym(struct str key, struct str value, struct buf *out) {
    unsigned char mac[32];
    hmac_sha256(key, value, mac);
    for (int i = 0; i < PSEUDONYM_HEX / 2; i++) buf_printf(out, "%02x", mac[i]);
}

void pii_replace(struct str text, const struct pii_hit *hits, size_t n, enum pii_action action,
                 struct str key, struct buf *out) {
    struct seen seen = {.cap = 4};
    struct buf value;
    size_t at = 0;
    buf_init(&value, text.n + 64);
    while (seen.cap <= 2 * n) seen.cap *= 2;
    if (action == PII_MASK) seen.slots = mem_zalloc(seen.cap, sizeof *seen.slots);
    for (size_t i = 0; i < n; i++) {
        const struct pii_hit *h = &hits[i];
        buf_add(out, text.p + at, h->start - at);
        normalise(h->entity, (struct str){text.p + h->start, h->end - h->start}, &value);
        put_label(h->entity, out);
        if (action == PII_MASK)
            buf_printf(out, "%zu", number_of(&seen, h->entity, buf_view(&value)));
        else
            put_pseudonym(key, buf_view(&value), out);
        buf_byte(out, '>');
        at = h->end;
    }
    buf_add(out, text.p + at, text.n - at);
    mem_free(seen.slots);
    buf_release(&value);
}
