/* Content, roots, packs and lists of rows. */
#include "unit.h"

#include "base/hash.h"
#include "data/manifest.h"
#include "data/pack.h"
#include "store_fixture.h"

static void content_of(const char *row, struct buf *out) {
    struct err err;
    json_t *v = NULL;
    if (json_read(str_of(row), "row", &v, &err)) fail_msg("%s", err.msg);
    buf_init(out, 1 << 16);
    row_content(v, out);
    json_decref(v);
}

static void content_is_what_can_be_learnt(void **state) {
    (void)state;
    static const struct {
        const char *row, *content;
    } cases[] = {
        {"{\"id\":7,\"messages\":[{\"role\":\"user\",\"content\":\"h\xc3\xa4\"}]}",
         "{\"messages\":[{\"content\":\"h\xc3\xa4\",\"role\":\"user\"}]}"},
        {"{\"completion\":\" b\",\"user\":\"x\",\"prompt\":\"a\"}",
         "{\"completion\":\" b\",\"prompt\":\"a\"}"},
        {"{\"tools\":null,\"messages\":[{\"weight\":0,\"role\":\"assistant\",\"content\":null}]}",
         "{\"messages\":[{\"content\":null,\"role\":\"assistant\",\"weight\":0}]}"},
        {"{\"text\":\"a\\u0000\\n\"}", "{\"text\":\"a\\u0000\\n\"}"},
        {"{\"question\":\"a\"}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf got;
        content_of(cases[i].row, &got);
        assert_string_equal(buf_view(&got).p, cases[i].content);
        buf_release(&got);
    }
}

static void hashes_go_to_hex_and_back(void **state) {
    (void)state;
    unsigned char hash[ROW_HASH], back[ROW_HASH];
    char hex[2 * ROW_HASH + 1];
    row_hash(STR_LIT("abc"), hash);
    hash_hex(hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(hash_of_hex(str_of(hex), back));
    assert_memory_equal(hash, back, ROW_HASH);
    assert_false(hash_of_hex(STR_LIT("ba78"), back));
    hex[3] = 'G';
    assert_false(hash_of_hex(str_of(hex), back));
}

/* RFC 6962, section 2.1, written as it stands there */
static void by_the_book(unsigned char (*leaves)[ROW_HASH], size_t n, unsigned char *ret) {
    unsigned char text[2 * ROW_HASH + 1] = {0};
    size_t k = 1;
    if (n == 1) {
        memcpy(text + 1, leaves[0], ROW_HASH);
        text[1 + ROW_HASH] = (unsigned char)SPLIT_VALID;
        sha256_raw((struct str){(char *)text, 2 + ROW_HASH}, ret);
        return;
    }
    while (2 * k < n) k *= 2;
    text[0] = 1;
    by_the_book(leaves, k, text + 1);
    by_the_book(leaves + k, n - k, text + 1 + ROW_HASH);
    sha256_raw((struct str){(char *)text, sizeof text}, ret);
}

static void roots_are_those_of_rfc_6962(void **state) {
    (void)state;
    unsigned char leaves[40][ROW_HASH], want[ROW_HASH], got[ROW_HASH];
    struct merkle m;
    for (unsigned char i = 0; i < 40; i++) row_hash((struct str){(char *)&i, 1}, leaves[i]);
    for (size_t n = 1; n <= 40; n++) {
        merkle_init(&m);
        for (size_t i = 0; i < n; i++) merkle_add(&m, leaves[i], SPLIT_VALID);
        merkle_root(&m, got);
        by_the_book(leaves, n, want);
        assert_memory_equal(got, want, ROW_HASH);
    }
    merkle_init(&m);
    merkle_root(&m, got); /* of nothing: the hash of nothing */
    row_hash(STR_LIT(""), want);
    assert_memory_equal(got, want, ROW_HASH);
}

/* --- packs --- */

#define ROWS 50

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, ROW_HASH); }

/* ROWS rows, the text of each its hash in hex. */
static struct blob_writer *pack_of(struct fixture *f, unsigned char (*hashes)[ROW_HASH]) {
    struct blob_writer *w = NULL;
    struct pack_writer pack;
    for (unsigned char i = 0; i < ROWS; i++) row_hash((struct str){(char *)&i, 1}, hashes[i]);
    qsort(hashes, ROWS, ROW_HASH, by_bytes);
    assert_int_equal(blob_writer_open(f->c, &w, &f->err), 0);
    assert_int_equal(pack_begin(&pack, w, &f->err), 0);
    for (int i = 0; i < ROWS; i++) {
        char hex[2 * ROW_HASH + 1];
        hash_hex(hashes[i], hex);
        assert_int_equal(pack_add(&pack, hashes[i], str_of(hex), &f->err), 0);
    }
    assert_int_equal(pack_end(&pack, &f->err), 0);
    pack_release(&pack);
    return w;
}

static void rows_are_found_in_their_pack(void **state) {
    struct fixture *f = *state;
    unsigned char hashes[ROWS][ROW_HASH];
    struct blob_writer *w = pack_of(f, hashes);
    struct file_map map;
    struct pack p;
    struct str row;
    assert_int_equal(file_map_open(blob_writer_path(w), &map, &f->err), 0);
    struct str bytes = {(const char *)map.p, map.n};
    assert_int_equal(pack_open(bytes, &p, &f->err), 0);
    assert_int_equal(p.rows, ROWS);
    for (int i = 0; i < ROWS; i++) {
        char hex[2 * ROW_HASH + 1];
        hash_hex(hashes[i], hex);
        assert_true(pack_find(&p, hashes[i], &row));
        assert_true(str_is(row, hex));
    }
    unsigned char other[ROW_HASH];
    row_hash(STR_LIT("none"), other);
    assert_false(pack_find(&p, other, &row));
    for (size_t n = 0; n < map.n; n++) /* cut anywhere it is none */
        assert_int_equal(pack_open((struct str){bytes.p, n}, &p, &f->err), ERR_CORRUPT);
    file_map_close(&map);
    blob_writer_free(w);
}

static void places_are_found(void **state) {
    (void)state;
    char places[2 * PLACE_SIZE];
    unsigned char hash[ROW_HASH];
    memset(places, 1, sizeof places);
    memset(places + PLACE_SIZE, 7, PLACE_SIZE);
    places[ROW_HASH] = SPLIT_TEST;
    places[2 * PLACE_SIZE - 1] = SPLIT_TRAIN;
    struct str all = {places, sizeof places};
    memset(hash, 1, sizeof hash);
    assert_int_equal(place_find(all, hash), SPLIT_TEST);
    memset(hash, 7, sizeof hash);
    assert_int_equal(place_find(all, hash), SPLIT_TRAIN);
    memset(hash, 8, sizeof hash);
    assert_int_equal(place_find(all, hash), SPLIT_NEW);
    assert_int_equal(place_find((struct str){"", 0}, hash), SPLIT_NEW);
}

UNIT_TESTS(data_version, cmocka_unit_test(content_is_what_can_be_learnt),
           cmocka_unit_test(hashes_go_to_hex_and_back),
           cmocka_unit_test(roots_are_those_of_rfc_6962),
           WITH_CATALOG(rows_are_found_in_their_pack), cmocka_unit_test(places_are_found))
