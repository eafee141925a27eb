/* Text through the scanner with everything on, and its finds replaced: hits in order and inside,
 * what is not found kept byte for byte. */
#include "data/pii_int.h"

#include "base/mem.h"

#include <assert.h>

#define HITS_MAX 4096
/* tests/unit/u_data_pii.c holds long texts against the same bound */
#define STEPS_PER_BYTE 400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct pii_hit hits[HITS_MAX];
    struct str text = {(const char *)data, size};
    struct pii_options o;
    struct buf out;
    uint64_t steps;
    pii_defaults(&o);
    for (int e = 0; e < PII_ENTITIES; e++) o.on[e] = true;
    if (size % 2) o.countries = "CA,ZA,SE,DE,IN,ES,PL,FI,KR,TR,AU,GB,FR,IT,NL,BR,BE,CH,PT,CN,NO,DK";
    size_t n = pii_scan_counted(text, &o, hits, HITS_MAX, &steps), at = 0;
    assert(steps <= STEPS_PER_BYTE * (size + 100));
    if (n > HITS_MAX) n = HITS_MAX;
    for (size_t i = 0; i < n; i++) {
        assert(hits[i].start >= at && hits[i].end > hits[i].start && hits[i].end <= size);
        assert(hits[i].score >= PII_LEAST && hits[i].score <= 1);
        at = hits[i].end;
    }
    buf_init(&out, (size_t)1 << 26);
    pii_replace(text, hits, n, size % 3 ? PII_MASK : PII_PSEUDONYM, STR_LIT("key"), &out);
    assert(buf_ok(&out) && (n || str_eq(text, buf_view(&out))));
    buf_release(&out);
    return 0;
}
