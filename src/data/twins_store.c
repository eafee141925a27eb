/* The words of all rows, in segments: the first in memory, those over the limit in a file that has
 * no name. A row never straddles two segments. */
#include "data/twins_int.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEGMENT_BYTES (SEGMENT_WORDS * sizeof(uint32_t))

static int spill_open(struct word_store *s, struct err *err) {
    const char *dir = getenv("TMPDIR");
    char path[4096];
    if (s->fd >= 0) return 0;
    snprintf(path, sizeof path, "%s/attune-words-XXXXXX", dir && *dir ? dir : "/tmp");
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return err_sys(err, errno, "could not make \"%s\" for comparing rows; set TMPDIR", path);
    unlink(path);
    return 0;
}

/* The last segment, which is full, goes to the file when memory holds enough of them. */
static int spill(struct word_store *s, struct err *err) {
    size_t i = s->count - 1, done = 0;
    if (s->in_memory <= s->memory_max) return 0;
    int rc = spill_open(s, err);
    if (rc) return rc;
    while (done < SEGMENT_BYTES) {
        ssize_t n = pwrite(s->fd, (char *)s->segments[i] + done, SEGMENT_BYTES - done,
                           (off_t)(i * SEGMENT_BYTES + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : ENOSPC,
                           "writing words to a temporary file; set TMPDIR to a disk with space");
        done += (size_t)n;
    }
    mem_free(s->segments[i]);
    s->segments[i] = NULL;
    s->in_memory--;
    return 0;
}

int word_store_add(struct word_store *s, const uint32_t *list, size_t n, uint64_t *ret_at,
                   struct err *err) {
    if (!s->count || s->used + n > SEGMENT_WORDS) {
        void *p;
        int rc = s->count ? spill(s, err) : 0;
        if (!rc) rc = mem_try(SEGMENT_WORDS, sizeof(uint32_t), "words of rows", &p, err);
        if (rc) return rc;
        mem_grow((void **)&s->segments, &s->cap, s->count + 1, sizeof *s->segments);
        s->segments[s->count++] = p;
        s->in_memory++;
        s->used = 0;
    }
    if (n) memcpy(s->segments[s->count - 1] + s->used, list, n * sizeof *list);
    *ret_at = (s->count - 1) * SEGMENT_WORDS + s->used;
    s->used += n;
    return 0;
}

int word_store_get(const struct word_store *s, uint64_t at, size_t n, struct row_scratch *scratch,
                   const uint32_t **ret, struct err *err) {
    const uint32_t *segment = s->segments[at / SEGMENT_WORDS];
    size_t done = 0, bytes = n * sizeof(uint32_t);
    if (segment) {
        *ret = segment + at % SEGMENT_WORDS;
        return 0;
    }
    mem_grow((void **)&scratch->p, &scratch->cap, n, sizeof(uint32_t));
    while (done < bytes) {
        ssize_t got = pread(s->fd, (char *)scratch->p + done, bytes - done,
                            (off_t)(at * sizeof(uint32_t) + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return err_sys(err, got < 0 ? errno : EIO, "reading words of a row back");
        done += (size_t)got;
    }
    *ret = scratch->p;
    return 0;
}

void word_store_release(struct word_store *s) {
    for (size_t i = 0; i < s->count; i++) mem_free(s->segments[i]);
    mem_free(s->segments);
    if (s->fd >= 0) close(s->fd);
}

int twins_words(const struct twins *t, size_t row, struct row_scratch *scratch,
                struct row_words *ret, struct err *err) {
    const struct trow *r = &t->rows[row];
    ret->n = (size_t)r->prompt_n + r->answer_n;
    int rc = word_store_get(&t->store, r->at, ret->n + r->text_units, scratch, &ret->list, err);
    if (rc) return rc;
    ret->text = (struct str){0};
    if (r->text_units) {
        const char *p = (const char *)(ret->list + ret->n);
        ret->text = (struct str){p, strnlen(p, r->text_units * sizeof(uint32_t))};
    }
    return 0;
}
