#include "infer/stop_text.h"

#define HELD_MAX ((size_t)16 << 20)

void stop_text_init(struct stop_text *ret, const struct str *stop, int count) {
    *ret = (struct stop_text){.stop = stop, .count = count};
    buf_init(&ret->held, HELD_MAX);
}

void stop_text_release(struct stop_text *s) { buf_release(&s->held); }

/* Where the stop sequence begins that is complete first (the longest of those that end there), so
 * that it does not matter in which pieces the text comes; text.n when there is none. */
static size_t find(const struct stop_text *s, struct str text) {
    size_t begin = text.n, end = text.n + 1;
    for (int i = 0; i < s->count; i++) {
        size_t n = s->stop[i].n;
        const char *at = text.n ? memmem(text.p, text.n, s->stop[i].p, n) : NULL;
        if (!at) continue;
        size_t from = (size_t)(at - text.p);
        if (from + n < end || (from + n == end && from < begin)) begin = from, end = from + n;
    }
    return begin;
}

/* bytes at the end of the text that may be the beginning of a stop sequence */
static size_t undecided(const struct stop_text *s, struct str text) {
    size_t most = 0;
    for (int i = 0; i < s->count; i++) {
        size_t n = s->stop[i].n - 1 < text.n ? s->stop[i].n - 1 : text.n;
        while (n > most && !str_ends(text, (struct str){s->stop[i].p, n})) n--;
        if (n > most) most = n;
    }
    return most;
}

static void hand_out(struct stop_text *s, size_t n, struct buf *out) {
    buf_str(out, (struct str){s->held.p, n});
    size_t left = s->held.n - n;
    if (n && left) memmove(s->held.p, s->held.p + n, left);
    s->held.n = left;
    if (s->held.p) s->held.p[left] = 0;
}

void stop_text_add(struct stop_text *s, struct str piece, struct buf *out) {
    if (s->hit) return;
    if (s->count == 0) {
        buf_str(out, piece);
        return;
    }
    buf_str(&s->held, piece);
    struct str text = buf_view(&s->held);
    size_t at = find(s, text);
    s->hit = at < text.n;
    hand_out(s, s->hit ? at : text.n - undecided(s, text), out);
    if (s->hit) buf_clear(&s->held);
}

void stop_text_end(struct stop_text *s, struct buf *out) {
    if (!s->hit) hand_out(s, s->held.n, out);
}
