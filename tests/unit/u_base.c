#include "unit.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/cgroup.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void err_wrap_puts_context_first(void **state) {
    (void)state;
    struct err err;
    int rc = err_sys(&err, ENOSPC, "could not write \"%s\"", "x");
    assert_int_equal(rc, ERR_FULL);
    assert_int_equal(err_wrap(&err, "step %d", 3), ERR_FULL);
    assert_string_equal(err.msg, "step 3: could not write \"x\": No space left on device");
    assert_int_equal(err_exit_code(ERR_USAGE), 2);
    assert_string_equal(err_name(ERR_LIMIT), "ERR_LIMIT");
}

static void err_cuts_a_long_message(void **state) {
    (void)state;
    struct err err;
    char big[2000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    err_set(&err, ERR_INVALID, "%s", big);
    err_wrap(&err, "%s", big);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void buffers_share_an_allowance(void **state) {
    (void)state;
    struct buf a, b;
    size_t left = 10;
    buf_init_shared(&a, 100, &left);
    buf_init_shared(&b, 100, &left);
    buf_z(&a, "abcdef");
    buf_clear(&a);
    buf_z(&a, "xyz"); /* in what it already has */
    assert_int_equal(left, 4);
    buf_z(&b, "12345");
    assert_false(buf_ok(&b));
    buf_release(&a);
    assert_int_equal(left, 10);
    buf_clear(&b);
    buf_z(&b, "12345");
    assert_true(buf_ok(&b));
    mem_free(buf_take(&b));
    assert_int_equal(left, 10);
}

static void buf_stops_at_its_maximum(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    buf_z(&b, "abc");
    assert_true(buf_ok(&b));
    buf_z(&b, "def");
    assert_false(buf_ok(&b));
    assert_string_equal(b.p, "abc");
    buf_byte(&b, 'x'); /* sticks */
    assert_int_equal(b.n, 3);
    buf_clear(&b);
    buf_printf(&b, "%d-%s", 12, "ab");
    assert_string_equal(b.p, "12-ab");
    buf_release(&b);
}

static void arena_gives_zeroed_pieces_up_to_its_limit(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 200000);
    for (int i = 0; i < 1000; i++) {
        unsigned char *p = arena_alloc(&a, (size_t)(i % 97));
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (int k = 0; k < i % 97; k++) assert_int_equal(p[k], 0);
        memset(p, 0xAA, (size_t)(i % 97));
    }
    assert_non_null(arena_alloc(&a, 100000)); /* larger than a chunk */
    assert_null(arena_alloc(&a, 100000));
    assert_true(a.over);
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 100000));
    arena_release(&a);
}

static void mem_try_asks_the_budget_first(void **state) {
    (void)state;
    struct err err;
    void *p = NULL;
    assert_int_equal(mem_try(SIZE_MAX / 2, 4, "tensor", &p, &err), ERR_LIMIT);
    mem_budget_set((size_t)64 << 20);
    assert_int_equal(mem_try((size_t)1 << 30, 1, "tensor", &p, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "tensor needs 1024.0 MiB"));
    mem_budget_set(0);
    assert_int_equal(mem_try(10, 4, "tensor", &p, &err), 0);
    mem_free(p);
}

static void utf8_accepts_exactly_the_standard(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t valid;
    } cases[] = {{"abc", 3},
                 {"\xC3\xA9", 2},
                 {"\xC0\x80", 0},
                 {"\xED\xA0\x80", 0},
                 {"\xF0\x9F\x98\x80", 4},
                 {"\xF4\x90\x80\x80", 0},
                 {"a\xE2\x82", 1},
                 {"\x80", 0},
                 {"\xF8\x88\x80\x80\x80", 0},
                 {"\xE0\x80\x80", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_valid_prefix(str_of(cases[i].bytes)), cases[i].valid);
    for (unsigned cp = 0; cp <= 0x10FFFF; cp += cp < 0x3000 ? 1 : 37) {
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        char bytes[4];
        unsigned back = 0;
        size_t n = utf8_put(cp, bytes);
        assert_int_equal(utf8_get((struct str){bytes, n}, &back), n);
        assert_int_equal(back, cp);
        assert_int_equal(utf8_incomplete_tail((struct str){bytes, n}), 0);
        if (n > 1) assert_int_equal(utf8_incomplete_tail((struct str){bytes, n - 1}), n - 1);
    }
}

static void file_write_is_whole_or_absent(void **state) {
    (void)state;
    struct err err;
    char *path = path_join(unit_dir(), "a/b/file");
    char *dir = path_join(unit_dir(), "a/b");
    assert_int_equal(dir_make(dir, &err), 0);
    assert_int_equal(file_write_atomic(path, STR_LIT("hello"), &err), 0);
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(file_read(path, &b, &err), 0);
    assert_string_equal(b.p, "hello");
    buf_release(&b);
    buf_init(&b, 3);
    assert_int_equal(file_read(path, &b, &err), ERR_LIMIT);
    buf_release(&b);
    mem_free(path);
    mem_free(dir);
}

static int writes_left;
static ssize_t short_then_full(int fd, const void *p, size_t n) {
    if (writes_left-- > 0) return write(fd, p, n > 1 ? n / 2 : n);
    errno = ENOSPC;
    return -1;
}
static int open_plain(const char *p, int flags, mode_t mode);
#include <fcntl.h>
static int open_plain(const char *p, int flags, mode_t mode) { return open(p, flags, mode); }

static void file_write_on_a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    static const struct file_ops full = {open_plain, short_then_full, fsync, rename, ftruncate};
    struct err err;
    char *path = path_join(unit_dir(), "keep");
    assert_int_equal(file_write_atomic(path, STR_LIT("old content"), &err), 0);
    file_ops_set(&full);
    for (writes_left = 0; writes_left < 3;) {
        int allowed = writes_left;
        assert_int_equal(file_write_atomic(path, STR_LIT("something new and longer"), &err),
                         ERR_FULL);
        writes_left = allowed + 1;
    }
    file_ops_set(NULL);
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(file_read(path, &b, &err), 0);
    assert_string_equal(b.p, "old content");
    buf_release(&b);
    char **names;
    size_t count, left = 0;
    assert_int_equal(dir_list(unit_dir(), &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++) left += strstr(names[i], ".tmp-") != NULL;
    dir_list_free(names, count);
    assert_int_equal(left, 0);
    mem_free(path);
}

static void put(const char *name, const char *text) {
    struct err err;
    char *path = path_join(unit_dir(), name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(dir_make(path, &err), 0);
    *slash = '/';
    assert_int_equal(file_write_atomic(path, str_of(text), &err), 0);
    mem_free(path);
}

static struct cgroup cgroup_of(const char *name) {
    struct cgroup c;
    char *root = path_join(unit_dir(), name);
    cgroup_read(root, &c);
    mem_free(root);
    return c;
}

static void containers_limit_memory_and_processors(void **state) {
    (void)state;
    put("v2/memory.max", "1000000\n");
    put("v2/memory.current", "600000\n");
    put("v2/memory.stat", "anon 1\ninactive_file 200000\n");
    put("v2/cpu.max", "150000 100000\n");
    struct cgroup c = cgroup_of("v2");
    assert_int_equal(c.memory_limit, 1000000);
    assert_int_equal(c.memory_used, 400000);
    assert_int_equal(c.cpus, 1);
    put("v1/memory/memory.limit_in_bytes", "5000\n");
    put("v1/memory/memory.usage_in_bytes", "700\n");
    put("v1/cpu/cpu.cfs_quota_us", "400000\n");
    put("v1/cpu/cpu.cfs_period_us", "100000\n");
    c = cgroup_of("v1");
    assert_int_equal(c.memory_limit, 5000);
    assert_int_equal(c.memory_used, 700);
    assert_int_equal(c.cpus, 4);
    put("open/memory.max", "max\n");
    put("open/cpu.max", "max 100000\n");
    c = cgroup_of("open");
    assert_true(c.memory_limit == SIZE_MAX && c.cpus == 0);
    c = cgroup_of("absent");
    assert_true(c.memory_limit == SIZE_MAX && c.memory_used == 0 && c.cpus == 0);
}

static void add_index(void *ctx, int64_t i) { ((int64_t *)ctx)[i] += i + 1; }

static void pool_runs_each_item_once(void **state) {
    (void)state;
    enum { N = 1000 };
    for (int threads = 1; threads <= 5; threads++) {
        struct pool *pool = pool_new(threads);
        int64_t done[N] = {0};
        for (int round = 0; round < 200; round++) pool_run(pool, N - round, add_index, done);
        for (int i = 0; i < N; i++)
            assert_int_equal(done[i], (i + 1) * (i < N - 199 ? 200 : N - i));
        pool_free(pool);
    }
}

static void rng_is_fixed_for_all_time(void **state) {
    (void)state;
    struct rng a, b;
    rng_init(&a, 42);
    rng_init(&b, 42);
    uint64_t first = rng_u64(&a);
    assert_int_equal(first, rng_u64(&b));
    int64_t order[100];
    for (int i = 0; i < 100; i++) order[i] = i;
    rng_shuffle(&a, order, 100);
    int64_t sum = 0;
    for (int i = 0; i < 100; i++) sum += order[i];
    assert_int_equal(sum, 4950);
    double mean = 0, square = 0;
    for (int i = 0; i < 20000; i++) {
        double x = rng_normal(&a);
        mean += x / 20000;
        square += x * x / 20000;
    }
    assert_true(mean > -0.05 && mean < 0.05 && square > 0.95 && square < 1.05);
    assert_true(rng_hash(1, 2) != rng_hash(2, 1));
}

static void sha256_is_the_standard_one(void **state) {
    (void)state;
    char hex[SHA256_HEX + 1];
    sha256_of(STR_LIT("abc"), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void json_errors_name_the_place(void **state) {
    (void)state;
    struct err err;
    json_t *v = NULL;
    assert_int_equal(json_read(STR_LIT("{\"a\":1,\"a\":2}"), "f.json", &v, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "f.json"));
    assert_int_equal(json_read(STR_LIT("{\"n\":-3,\"s\":\"x\\u0000y\"}"), "f.json", &v, &err), 0);
    int64_t n = 7;
    assert_int_equal(json_get_i64(v, "n", "f.json", 0, 10, &n, &err), ERR_INVALID);
    assert_string_equal(err.msg, "f.json: \"n\" must be a whole number from 0 to 10, not -3");
    assert_int_equal(json_get_i64(v, "absent", "f.json", 0, 10, &n, &err), 0);
    assert_int_equal(n, 7);
    struct str s;
    assert_int_equal(json_get_str(v, "s", "f.json", &s, &err), 0);
    assert_int_equal(s.n, 3);
    struct buf b;
    buf_init(&b, 1000);
    json_write_str(&b, s);
    assert_string_equal(b.p, "\"x\\u0000y\"");
    buf_release(&b);
    json_decref(v);
}

static void an_integer_beyond_64_bits_changes_no_other(void **state) {
    (void)state;
    static const char text[] =
        "{\"id\":17293822569102704640,\"n\":3,\"least\":-9223372036854775808,"
        "\"s\":\"\\\"17293822569102704640\",\"x\":1.7293822569102704640}";
    struct err err;
    json_t *v = NULL;
    assert_int_equal(json_read(str_of(text), "row", &v, &err), 0);
    assert_true(json_is_real(json_object_get(v, "id")));
    assert_true(json_real_value(json_object_get(v, "id")) == 17293822569102704640.0);
    assert_true(json_is_integer(json_object_get(v, "n")));
    assert_true(json_integer_value(json_object_get(v, "least")) == INT64_MIN);
    assert_string_equal(json_string_value(json_object_get(v, "s")), "\"17293822569102704640");
    json_decref(v);
    assert_int_equal(json_read(STR_LIT("-99999999999999999999"), "row", &v, &err), 0);
    assert_true(json_real_value(v) == -1e20);
    json_decref(v);
    assert_int_equal(json_read(STR_LIT("[17293822569102704640, nul]"), "row", &v, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.msg, "(line 1, column 26)"));
}

UNIT_TESTS(base, cmocka_unit_test(err_wrap_puts_context_first),
           cmocka_unit_test(err_cuts_a_long_message), cmocka_unit_test(buf_stops_at_its_maximum),
           cmocka_unit_test(buffers_share_an_allowance),
           cmocka_unit_test(arena_gives_zeroed_pieces_up_to_its_limit),
           cmocka_unit_test(mem_try_asks_the_budget_first),
           cmocka_unit_test(utf8_accepts_exactly_the_standard),
           cmocka_unit_test(file_write_is_whole_or_absent),
           cmocka_unit_test(file_write_on_a_full_disk_leaves_the_old_file),
           cmocka_unit_test(containers_limit_memory_and_processors),
           cmocka_unit_test(pool_runs_each_item_once), cmocka_unit_test(rng_is_fixed_for_all_time),
           cmocka_unit_test(sha256_is_the_standard_one),
           cmocka_unit_test(json_errors_name_the_place),
           cmocka_unit_test(an_integer_beyond_64_bits_changes_no_other))
