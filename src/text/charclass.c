#include "text/charclass.h"

#include "base/mem.h"

#include <pthread.h>

struct class_run {
    uint32_t first;
    uint16_t bits;
};
#include "text/charclass_data.h"

#define RUNS (sizeof class_runs / sizeof *class_runs)
#define LAST_CP 0x10FFFFu

uint16_t charclass_index[0x110000 / CHARCLASS_BLOCK];
uint16_t (*charclass_blocks)[CHARCLASS_BLOCK];

static unsigned run_first(size_t i) { return i < RUNS ? class_runs[i].first : LAST_CP + 1; }
static unsigned run_bits(size_t i) { return class_runs[i].bits; }

/* Most blocks lie in one long run: those of equal bits share one block. */
static void build(void) {
    enum { BLOCKS = 0x110000 / CHARCLASS_BLOCK, BITS = 0x1000 };
    uint16_t uniform[BITS] = {0}; /* block of this one value, plus one */
    size_t cap = 0, count = 0, run = 0;
    for (unsigned b = 0; b < BLOCKS; b++) {
        unsigned first = b * CHARCLASS_BLOCK;
        while (run_first(run + 1) <= first) run++;
        bool is_uniform = run_first(run + 1) >= first + CHARCLASS_BLOCK;
        uint16_t *shared = &uniform[run_bits(run)];
        if (is_uniform && *shared) {
            charclass_index[b] = (uint16_t)(*shared - 1);
            continue;
        }
        mem_grow((void **)&charclass_blocks, &cap, count + 1, sizeof *charclass_blocks);
        for (unsigned i = 0; i < CHARCLASS_BLOCK; i++) {
            if (run_first(run + 1) <= first + i) run++;
            charclass_blocks[count][i] = (uint16_t)run_bits(run);
        }
        charclass_index[b] = (uint16_t)count++;
        if (is_uniform) *shared = (uint16_t)count;
    }
}

void charclass_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build);
}

void charclass_ranges(unsigned bits, bool without, struct buf *out) {
    for (size_t i = 0; i < RUNS; i++) {
        if (!(run_bits(i) & bits) != without) continue;
        unsigned first = run_first(i);
        while (i + 1 < RUNS && !(run_bits(i + 1) & bits) == without) i++;
        unsigned last = run_first(i + 1) - 1;
        /* PCRE2 refuses surrogates, which UTF-8 cannot hold anyway */
        if (first < 0xD800 && last > 0xDFFF) {
            buf_printf(out, "\\x{%X}-\\x{D7FF}", first);
            first = 0xE000;
        } else if (first >= 0xD800 && last <= 0xDFFF) {
            continue;
        }
        if (first >= 0xD800 && first <= 0xDFFF) first = 0xE000;
        if (last >= 0xD800 && last <= 0xDFFF) last = 0xD7FF;
        buf_printf(out, "\\x{%X}-\\x{%X}", first, last);
    }
}
