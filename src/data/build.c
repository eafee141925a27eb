/* From options, or from a recipe, to a version. What a killed build leaves are temporary files that
 * the sweep of blobs removes: the version, its blobs and its rows in the catalog are one
 * transaction. */
#include "data/build.h"

#include "base/mem.h"
#include "data/build_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((size_t)1 << 20)
#define BUILD_MEM ((size_t)256 << 20)

const char *build_source_name(enum build_source s) {
    static const char *const names[BUILD_SOURCES] = {"human", "production", "synthetic"};
    return names[s];
}

void build_release(struct built *b) {
    json_decref(b->counts);
    arena_release(&b->mem);
    *b = (struct built){.counts = NULL};
}

static void build_close(struct build *b) {
    for (size_t i = 0; i < b->input_count; i++) {
        blob_writer_free(b->inputs[i].writer);
        mem_free(b->inputs[i].path);
        mem_free(b->inputs[i].reason);
    }
    mem_free(b->inputs);
    blob_writer_free(b->scratch);
    blob_writer_free(b->sorted);
    blob_writer_free(b->pack);
    blob_writer_free(b->manifest);
    blob_writer_free(b->rejected);
    blob_writer_free(b->new_places);
    file_map_close(&b->scratch_map);
    file_map_close(&b->places);
    mem_free(b->records);
    mem_free(b->cuts.list);
    json_decref(b->restored);
}

/* --- inputs --- */

static struct build_input *input_add(struct build *b) {
    size_t cap = b->input_count; /* few */
    mem_grow((void **)&b->inputs, &cap, b->input_count + 1, sizeof *b->inputs);
    struct build_input *in = &b->inputs[b->input_count++];
    *in = (struct build_input){.name = ""};
    return in;
}

/* How the file is read, from its name and its bytes; then it is read that way, whatever its copy
 * is called. */
static int detect(struct build_input *in, const char *path, const struct source_options *how,
                  struct err *err) {
    struct source *s = NULL;
    in->read = *how;
    int rc = source_open(path, &in->read, &s, err);
    if (rc) return rc;
    in->reason = mem_strdup(source_reason(s));
    in->read.format = source_format_of(s);
    source_close(s);
    return 0;
}

static int copy_all(const struct file_map *m, struct blob_writer *w, struct err *err) {
    int rc = 0;
    for (size_t at = 0; !rc && at < m->n; at += COPY_BYTES)
        rc = blob_writer_add(w, m->p + at, m->n - at < COPY_BYTES ? m->n - at : COPY_BYTES, err);
    return rc;
}

static int input_finish(struct build_input *in, struct err *err) {
    int rc = blob_writer_finish(in->writer, err);
    if (rc) return rc;
    snprintf(in->sha256, sizeof in->sha256, "%s", blob_writer_sha256(in->writer));
    in->path = mem_strdup(blob_writer_path(in->writer));
    return 0;
}

/* A file as it is now, kept. */
static int input_file(struct build *b, const char *path, const struct build_input *like,
                      const struct source_options *how, struct err *err) {
    struct build_input *in = input_add(b);
    struct file_map map = {0};
    *in = *like;
    in->name = path;
    int rc = blob_writer_open(b->c, &in->writer, err);
    if (!rc) rc = detect(in, path, how, err);
    if (!rc) rc = file_map_open(path, &map, err);
    if (!rc) rc = copy_all(&map, in->writer, err);
    file_map_close(&map);
    return rc ? rc : input_finish(in, err);
}

static const struct source_options rows_of_ours = {.format = SOURCE_OPENAI};

/* Answers in use: two inputs, the answers and the corrections. */
static int input_production(struct build *b, const struct build_options *o, const char *path,
                            struct err *err) {
    struct production_out out = {.row_count = 0};
    struct file_map map = {0};
    size_t first = b->input_count;
    int rc = 0;
    for (int k = 0; k < 2; k++) {
        struct build_input *in = input_add(b);
        in->source = k == 0 ? BUILD_PRODUCTION : BUILD_HUMAN;
        in->name = path ? path : k == 0 ? "stored completions" : "corrections";
        in->read = rows_of_ours;
        if (!rc) rc = blob_writer_open(b->c, &in->writer, err);
    }
    out.rows = b->inputs[first].writer;
    out.corrections = b->inputs[first + 1].writer;
    if (!rc && path) rc = file_map_open(path, &map, err);
    if (!rc)
        rc = path ? production_log((struct str){(const char *)map.p, map.n}, &o->filter, &out, err)
                  : production_stored(b->c, &o->filter, &out, err);
    file_map_close(&map);
    if (!rc) rc = input_finish(&b->inputs[first], err);
    if (!rc) rc = input_finish(&b->inputs[first + 1], err);
    b->corrections += out.correction_count;
    b->left_out += out.left_out;
    if (!rc && !out.correction_count) { /* no empty input */
        struct build_input *in = &b->inputs[--b->input_count];
        blob_writer_free(in->writer);
        mem_free(in->path);
    }
    return rc;
}

/* A production file that is not JSON lines (CSV and its like) is read as it is. */
static bool is_log(const char *path) {
    struct source *s = NULL;
    struct source_options o = {.format = SOURCE_AUTO};
    struct err ignored;
    if (source_open(path, &o, &s, &ignored)) return true;
    enum source_format f = source_format_of(s);
    source_close(s);
    return f == SOURCE_OPENAI || f == SOURCE_TEXT;
}

static int inputs_take(struct build *b, const struct build_options *o, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < o->from_count; i++) {
        const struct build_from *from = &o->from[i];
        if (from->source == BUILD_PRODUCTION && (!from->path || is_log(from->path)))
            rc = input_production(b, o, from->path, err);
        else
            rc = input_file(b, from->path, &(struct build_input){.source = from->source}, &o->read,
                            err);
    }
    for (size_t i = 0; !rc && i < o->against_count; i++)
        rc = input_file(b, o->against[i], &(struct build_input){.against = true}, &o->read, err);
    return rc;
}

/* --- the version that it goes on from --- */

static int cuts_read(const json_t *recipe, struct split_cuts *cuts, struct err *err) {
    const json_t *list = json_object_get(recipe, "cuts"), *c;
    size_t i;
    json_array_foreach(list, i, c) {
        if (json_array_size(c) != 3) return err_set(err, ERR_CORRUPT, "the recipe's cuts");
        mem_grow((void **)&cuts->list, &cuts->cap, cuts->count + 1, sizeof *cuts->list);
        cuts->list[cuts->count++] =
            (struct split_cut){(uint64_t)json_integer_value(json_array_get(c, 0)),
                               (uint64_t)json_integer_value(json_array_get(c, 1)),
                               (uint64_t)json_integer_value(json_array_get(c, 2))};
    }
    return 0;
}

static int enum_of(const char *text, const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) return i;
    return -1;
}

static enum build_stratify stratify_of(const json_t *settings) {
    static const char *const names[] = {"auto", "label", "source", "none"};
    int i = enum_of(line_text(settings, "stratify"), names, 4);
    return i < 0 ? BUILD_BY_SOURCE : (enum build_stratify)i;
}

/* Places and cuts of the version with this number; 0: none. Where the shares are others than then,
 * new rows get new cuts. */
static int parent_open(struct build *b, int64_t number, struct arena *mem, struct err *err) {
    struct dataset_version v;
    struct row_list l;
    json_t *recipe = NULL;
    b->parent = number;
    if (!number && !b->restored) b->restored = json_object();
    if (!number) return 0;
    int rc = datasets_version(b->c, b->dataset.id, number, mem, &v, err);
    if (!rc) rc = row_list_open(b->c, v.id, DATASET_PLACES, &l, err);
    if (rc) return rc;
    b->places = l.map; /* closed with the build */
    rc = json_read(str_of(v.recipe), v.id, &recipe, err);
    if (rc) return rc;
    const json_t *s = json_object_get(recipe, "settings");
    enum build_stratify by = stratify_of(s);
    if (b->set.stratify == BUILD_BY_AUTO) b->set.stratify = by;
    bool same = b->set.stratify == by &&
                json_number_value(json_object_get(s, "valid")) == b->set.valid &&
                json_number_value(json_object_get(s, "test")) == b->set.test &&
                (uint64_t)json_integer_value(json_object_get(s, "salt")) == b->set.salt;
    if (same) rc = cuts_read(recipe, &b->cuts, err);
    if (!b->restored) /* what was put back stays so in later versions */
        b->restored = json_incref(json_object_get(recipe, "restored"));
    if (!json_is_object(b->restored)) rc = err_set(err, ERR_CORRUPT, "%s: its recipe", v.id);
    json_decref(recipe);
    return rc;
}

/* --- held-out files --- */

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, ROW_HASH); }

struct hashes {
    unsigned char (*list)[ROW_HASH];
    size_t count, cap;
};

static int against_rows(struct build *b, struct build_input *in, struct hashes *h,
                        struct err *err) {
    const struct example *list = NULL;
    struct source *s = NULL;
    struct findings *unused = findings_new();
    size_t n = 0;
    int rc = source_open(in->path, &in->read, &s, err);
    while (!rc && !(rc = source_next(s, b->pool, &list, &n, unused, err)) && n)
        for (size_t i = 0; i < n; i++) {
            mem_grow((void **)&h->list, &h->cap, h->count + 1, ROW_HASH);
            row_hash(list[i].json, h->list[h->count++]);
        }
    source_close(s);
    findings_free(unused);
    return rc;
}

/* What the rows were held against is part of the root, in any order of the cases. */
static int against_root(struct build *b, struct err *err) {
    struct hashes h = {.count = 0};
    unsigned char root[ROW_HASH];
    struct merkle tree;
    int rc = 0;
    for (size_t i = 0; !rc && i < b->input_count; i++)
        if (b->inputs[i].against) rc = against_rows(b, &b->inputs[i], &h, err);
    if (!rc && h.count) {
        qsort(h.list, h.count, ROW_HASH, by_bytes);
        merkle_init(&tree);
        for (size_t i = 0; i < h.count; i++) merkle_add(&tree, h.list[i], SPLIT_TEST);
        merkle_root(&tree, root);
        hash_hex(root, b->set.against);
    }
    mem_free(h.list);
    return rc;
}

/* --- running --- */

static int outputs_open(struct build *b, struct err *err) {
    struct blob_writer **list[] = {&b->scratch, &b->pack, &b->manifest, &b->rejected,
                                   &b->new_places};
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof list / sizeof *list; i++)
        rc = blob_writer_open(b->c, list[i], err);
    return rc;
}

static int build_rows(struct build *b, struct err *err) {
    int rc = outputs_open(b, err);
    if (!rc) rc = against_root(b, err);
    if (!rc) rc = build_read(b, err);
    if (!rc) rc = build_sift(b, err);
    return rc ? rc : build_write(b, err);
}

#define GUARD_ROWS 10
#define GUARD_CLUSTER 1000

/* A setting that is wrong loses rows in thousands; a person says whether that is meant. */
static int guard(const struct build *b, struct err *err) {
    for (size_t i = 0; i < b->input_count; i++) {
        const struct build_input *in = &b->inputs[i];
        int64_t n = in->dropped - in->exempt;
        if (n >= GUARD_ROWS && n * 5 > in->rows)
            return err_set(err, ERR_CONFLICT,
                           "this would drop %lld of %lld rows of \"%.100s\", more than a fifth; "
                           "look at the reasons, and give --yes where they are right",
                           (long long)n, (long long)in->rows, in->name);
    }
    if (b->biggest_cluster > GUARD_CLUSTER)
        return err_set(err, ERR_CONFLICT,
                       "%lld rows would be dropped as duplicates of a single one; give --yes where "
                       "that is right",
                       (long long)b->biggest_cluster);
    return 0;
}

static size_t blobs_of(const struct build *b, struct dataset_blob *list) {
    size_t n = 0;
    for (size_t i = 0; i < b->input_count; i++)
        list[n++] = (struct dataset_blob){DATASET_INPUT, b->inputs[i].sha256, b->inputs[i].writer};
    if (b->new_rows) list[n++] = (struct dataset_blob){DATASET_PACK, NULL, b->pack};
    list[n++] = (struct dataset_blob){DATASET_MANIFEST, NULL, b->manifest};
    list[n++] = (struct dataset_blob){DATASET_REJECTED, NULL, b->rejected};
    list[n++] = (struct dataset_blob){DATASET_PLACES, NULL, b->new_places};
    return n;
}

static int store_version(struct build *b, struct built *ret, struct err *err) {
    struct buf recipe, counts;
    json_t *r = build_recipe(b);
    struct dataset_blob *list = mem_zalloc(b->input_count + 4, sizeof *list);
    struct dataset_blobs blobs = {list, blobs_of(b, list)};
    buf_init(&recipe, BUILD_MEM);
    buf_init(&counts, BUILD_MEM);
    json_write(r, &recipe);
    json_write(ret->counts, &counts);
    struct dataset_version new = {.dataset = b->dataset.id,
                                  .number = b->parent + 1,
                                  .root = b->root,
                                  .recipe = recipe.p,
                                  .counts = counts.p};
    int rc = buf_ok(&recipe) && buf_ok(&counts)
                 ? 0
                 : err_set(err, ERR_LIMIT, "a recipe of more than %zu bytes", BUILD_MEM);
    if (!rc) rc = datasets_add_version(b->c, &new, &blobs, &ret->mem, &ret->version, err);
    buf_release(&recipe);
    buf_release(&counts);
    json_decref(r);
    mem_free(list);
    return rc;
}

/* The built rows as a version, unless they are those of the newest. */
static int finish(struct build *b, bool yes, struct built *ret, struct err *err) {
    struct dataset_version last;
    ret->counts = build_counts(b);
    int rc = yes ? 0 : guard(b, err);
    if (!rc && json_integer_value(json_object_get(ret->counts, "rows")) == 0)
        rc = err_set(err, ERR_INVALID, "no row is left: \"%.80s\" gets no version", b->dataset.id);
    if (!rc && b->parent) {
        rc = datasets_version(b->c, b->dataset.id, b->parent, &ret->mem, &last, err);
        if (!rc && strcmp(last.root, b->root) == 0) {
            ret->unchanged = true;
            ret->version = last;
            return 0;
        }
    }
    return rc ? rc : store_version(b, ret, err);
}

static int options_check(const struct build_options *o, struct err *err) {
    if (o->valid < 0 || o->test < 0 || !(o->valid + o->test < 1))
        return err_set(err, ERR_USAGE,
                       "--valid and --test are shares, together below 100 %%, not %g %% and %g %%",
                       100 * o->valid, 100 * o->test);
    if (!o->from_count)
        return err_set(err, ERR_USAGE,
                       "no source; give --from human=FILE, production=FILE, production or "
                       "synthetic=FILE");
    for (size_t i = 0; i < o->from_count; i++)
        if (!o->from[i].path && o->from[i].source != BUILD_PRODUCTION)
            return err_set(err, ERR_USAGE, "--from %s needs =FILE",
                           build_source_name(o->from[i].source));
    return 0;
}

int build_run(struct catalog *c, const struct build_options *o, struct built *ret,
              struct err *err) {
    struct build b = {.c = c,
                      .pool = o->pool,
                      .set = {.valid = o->valid,
                              .test = o->test,
                              .near = o->near > 0 ? o->near : 0.80,
                              .min_feedback = o->min_feedback,
                              .salt = o->salt,
                              .pii = o->pii,
                              .stratify = o->stratify}};
    *ret = (struct built){.counts = NULL};
    arena_init(&ret->mem, BUILD_MEM);
    int rc = options_check(o, err);
    if (!rc) rc = datasets_ensure(c, o->name, &ret->mem, &b.dataset, err);
    if (!rc) rc = parent_open(&b, b.dataset.versions, &ret->mem, err);
    if (!rc) rc = inputs_take(&b, o, err);
    if (!rc) rc = build_rows(&b, err);
    if (!rc) rc = finish(&b, o->yes, ret, err);
    build_close(&b);
    return rc;
}

/* --- from a recipe --- */

static enum source_format format_of(const char *name) {
    for (int f = SOURCE_AUTO; f <= SOURCE_MARKDOWN; f++)
        if (strcmp(name, source_format_name((enum source_format)f)) == 0)
            return (enum source_format)f;
    return SOURCE_AUTO;
}

static int recipe_inputs(struct build *b, const json_t *list, struct err *err) {
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one) {
        struct build_input *in = input_add(b);
        const json_t *columns = json_object_get(one, "columns");
        in->name = line_text(one, "name");
        in->against = strcmp(line_text(one, "source"), "against") == 0;
        for (int s = 0; s < BUILD_SOURCES; s++)
            if (strcmp(line_text(one, "source"), build_source_name((enum build_source)s)) == 0)
                in->source = (enum build_source)s;
        snprintf(in->sha256, sizeof in->sha256, "%s", line_text(one, "sha256"));
        in->read.format = format_of(line_text(one, "format"));
        in->read.prompt_column = json_string_value(json_array_get(columns, 0));
        in->read.answer_column = json_string_value(json_array_get(columns, 1));
        in->read.system_column = json_string_value(json_array_get(columns, 2));
        in->path = blob_path(b->c, in->sha256);
        if (!file_exists(in->path))
            return err_set(err, ERR_NOT_FOUND, "the kept input \"%.100s\" is gone", in->name);
    }
    return 0;
}

static int recipe_settings(struct build *b, const json_t *recipe, struct err *err) {
    static const char *const pii[] = {"drop", "mask", "pseudonym", "report"};
    const json_t *s = json_object_get(recipe, "settings"), *v;
    int p = enum_of(line_text(s, "pii"), pii, 4);
    if (p < 0) return err_set(err, ERR_CORRUPT, "a recipe without settings");
    b->set =
        (struct build_settings){.valid = json_number_value(json_object_get(s, "valid")),
                                .test = json_number_value(json_object_get(s, "test")),
                                .near = json_number_value(json_object_get(s, "near")),
                                .salt = (uint64_t)json_integer_value(json_object_get(s, "salt")),
                                .pii = (enum build_pii)p,
                                .stratify = stratify_of(s),
                                .min_feedback = -2};
    v = json_object_get(s, "min_feedback");
    if (v) b->set.min_feedback = json_number_value(v);
    v = json_object_get(recipe, "restored");
    b->restored = json_is_object(v) ? json_deep_copy(v) : json_object();
    return 0;
}

/* recipe: kept by the caller while the build is open */
static int recipe_open(struct build *b, const struct dataset_version *v, json_t **recipe,
                       struct err *err) {
    int rc = json_read(str_of(v->recipe), v->id, recipe, err);
    if (!rc) rc = recipe_settings(b, *recipe, err);
    return rc ? rc : recipe_inputs(b, json_object_get(*recipe, "inputs"), err);
}

int build_reproduce(struct catalog *c, const struct dataset_version *v, struct pool *pool,
                    char root[65], struct err *err) {
    struct build b = {.c = c, .pool = pool};
    struct arena mem;
    json_t *recipe = NULL;
    arena_init(&mem, BUILD_MEM);
    int rc = datasets_get(c, v->dataset, &mem, &b.dataset, err);
    if (!rc) rc = recipe_open(&b, v, &recipe, err);
    if (!rc) rc = parent_open(&b, v->number - 1, &mem, err);
    if (!rc) rc = build_rows(&b, err);
    if (!rc) memcpy(root, b.root, sizeof b.root);
    build_close(&b);
    json_decref(recipe);
    arena_release(&mem);
    return rc;
}

/* Whole hashes of the rejected rows whose hashes begin so, into the recipe. */
static int restored_add(struct build *b, const struct dataset_version *v,
                        const struct build_restore *r, struct err *err) {
    struct row_list l;
    json_t *line = NULL;
    size_t *found = mem_zalloc(r->count, sizeof *found);
    int rc = row_list_open(b->c, v->id, DATASET_REJECTED, &l, err);
    while (!rc && (rc = row_list_next(&l, &line, err)) == 1) {
        const char *row = line_text(line, "row");
        bool reported = strcmp(line_text(line, "action"), "reported") == 0 ||
                        strcmp(row, line_text(line, "twin")) == 0 || /* it is there, once */
                        build_untrainable(line_text(line, "kind"));
        rc = 0;
        for (size_t i = 0; !reported && *row && i < r->count; i++) {
            if (strlen(r->rows[i]) < 6 || strncmp(row, r->rows[i], strlen(r->rows[i])) != 0)
                continue;
            json_object_set_new(b->restored, row, json_string(r->reason));
            found[i]++;
        }
        json_decref(line);
    }
    row_list_close(&l);
    for (size_t i = 0; !rc && i < r->count; i++)
        if (!found[i])
            rc = err_set(err, ERR_NOT_FOUND,
                         "%.80s has rejected no row \"%.80s\" that could come back; \"attune data "
                         "rejected %.80s\" lists them (give six digits or more)",
                         v->id, r->rows[i], v->dataset);
    mem_free(found);
    return rc;
}

int build_restore(struct catalog *c, const struct build_restore *r, struct built *ret,
                  struct err *err) {
    struct build b = {.c = c, .pool = r->pool};
    struct dataset_version v;
    json_t *recipe = NULL;
    *ret = (struct built){.counts = NULL};
    arena_init(&ret->mem, BUILD_MEM);
    int rc = datasets_get(c, r->name, &ret->mem, &b.dataset, err);
    if (!rc) rc = datasets_version(c, r->name, 0, &ret->mem, &v, err);
    if (!rc) rc = recipe_open(&b, &v, &recipe, err);
    if (!rc) rc = restored_add(&b, &v, r, err);
    if (!rc) rc = parent_open(&b, v.number, &ret->mem, err);
    if (!rc) rc = build_rows(&b, err);
    if (!rc) rc = finish(&b, true, ret, err); /* it was agreed to before */
    build_close(&b);
    json_decref(recipe);
    return rc;
}
