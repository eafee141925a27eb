/* plant ROWS SEED WORDS DEFECTS: rows with planted defects on standard output, and on standard
 * error a line for each defect: its row and kind. 1,000,000 rows of 1 kB: 1000000 1 60 0.05 */
#include "../tests/unit/data_plant_int.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: plant ROWS SEED WORDS DEFECTS\n");
        return 2;
    }
    struct plant p;
    struct buf b;
    long long rows = strtoll(argv[1], NULL, 10);
    buf_init(&b, (size_t)64 << 20);
    plant_init(&p, strtoull(argv[2], NULL, 10), (int)strtol(argv[3], NULL, 10),
               strtod(argv[4], NULL));
    for (long long i = 1; i <= rows; i++) {
        enum finding_kind kind = plant_row(&p, &b);
        if (kind != PLANT_NONE) fprintf(stderr, "%lld %s\n", i, finding_label(kind));
        fwrite(b.p, 1, b.n, stdout);
        buf_clear(&b);
    }
    plant_release(&p);
    buf_release(&b);
    return fflush(stdout) != 0;
}
