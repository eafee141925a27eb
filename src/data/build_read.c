/* Inputs into records. A batch's rows are worked on side by side (content, hash, personal data),
 * then taken in file order, so that nothing depends on the threads. */
#include "data/build_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "data/pii.h"
#include "data/validate.h"

#include <stdio.h>
#include <string.h>

#define HITS_SMALL 32

struct item {
    const struct example *e;
    struct buf content, about;
    unsigned char given[ROW_HASH], hash[ROW_HASH]; /* as it came, as it is kept */
    uint64_t keys[SPLIT_KEYS], label;
    int rank;
    bool empty, restored;
    char low[80];  /* why its feedback is too low; "": it is not */
    char pii[200]; /* what was found, "": nothing */
    struct findings *wrong;
    struct err err;
    int rc;
};

struct batch {
    struct build *b;
    struct build_input *in;
    struct item *items;
    struct pii_options entities;
    struct validator *validator;
};

/* --- personal data: every text of a row --- */

struct masking {
    const struct batch *batch;
    bool replace;
    int64_t found[PII_ENTITIES];
    json_t *edits;
};

static json_t *masked(struct masking *m, const json_t *text, int message) {
    struct str s = json_str(text);
    struct pii_hit small[HITS_SMALL], *hits = small;
    size_t n = pii_scan(s, &m->batch->entities, small, HITS_SMALL);
    if (n > HITS_SMALL) {
        hits = mem_zalloc(n, sizeof *hits); /* a text has fewer hits than bytes */
        n = pii_scan(s, &m->batch->entities, hits, n);
    }
    json_t *ret = NULL;
    for (size_t i = 0; i < n; i++) m->found[hits[i].entity]++;
    if (n && m->replace) {
        bool mask = m->batch->b->set.pii == BUILD_PII_MASK;
        struct buf out;
        buf_init(&out, BUILD_ROW_MAX);
        pii_replace(s, hits, n, mask ? PII_MASK : PII_PSEUDONYM,
                    str_of(m->batch->b->dataset.secret), &out);
        if (buf_ok(&out)) ret = json_stringn(out.p, out.n);
        buf_release(&out);
        for (size_t i = 0; i < n; i++)
            json_array_append_new(m->edits,
                                  json_pack("{s:s, s:s, s:i}", "kind", "contains_pii", "entity",
                                            pii_label(hits[i].entity), "message", message));
    }
    if (hits != small) mem_free(hits);
    return ret;
}

static void mask_member(struct masking *m, json_t *o, const char *key, int message) {
    json_t *v = json_object_get(o, key), *mended = NULL;
    if (json_is_string(v)) mended = masked(m, v, message);
    if (mended) json_object_set_new(o, key, mended);
}

static void mask_message(struct masking *m, json_t *message, int number) {
    json_t *part, *content = json_object_get(message, "content");
    size_t i;
    mask_member(m, message, "content", number);
    json_array_foreach(content, i, part) mask_member(m, part, "text", number);
    json_array_foreach(json_object_get(message, "tool_calls"), i, part)
        mask_member(m, json_object_get(part, "function"), "arguments", number);
    mask_member(m, json_object_get(message, "function_call"), "arguments", number);
}

static void mask_messages(struct masking *m, json_t *list, int *number) {
    size_t i;
    json_t *message;
    json_array_foreach(list, i, message) mask_message(m, message, (*number)++);
}

static void mask_row(struct masking *m, json_t *row) {
    static const char *const plain[] = {"prompt", "completion", "text"};
    static const char *const lists[] = {"messages", "preferred_output", "non_preferred_output",
                                        "preferred_completion", "non_preferred_completion"};
    int number = 0;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) mask_member(m, row, plain[i], (int)i);
    mask_messages(m, json_object_get(json_object_get(row, "input"), "messages"), &number);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        mask_messages(m, json_object_get(row, lists[i]), &number);
}

static void pii_of(const struct batch *batch, struct item *it, json_t *row, json_t *about) {
    enum build_pii how = batch->b->set.pii;
    struct masking m = {.batch = batch,
                        .replace =
                            !it->restored && (how == BUILD_PII_MASK || how == BUILD_PII_PSEUDONYM),
                        .edits = json_array()};
    size_t n = 0;
    mask_row(&m, row);
    for (int e = 0; e < PII_ENTITIES && n + 40 < sizeof it->pii; e++)
        if (m.found[e])
            n += (size_t)snprintf(it->pii + n, sizeof it->pii - n, "%s%lld %s", n ? ", " : "",
                                  (long long)m.found[e], pii_label((enum pii_entity)e));
    if (json_array_size(m.edits))
        json_object_set_new(about, "edits", m.edits);
    else
        json_decref(m.edits);
}

/* --- what is known of a row --- */

/* A member of the row, or of its metadata. */
static const json_t *known(const json_t *row, const char *key) {
    const json_t *v = json_object_get(row, key);
    if (!v || json_is_null(v)) v = json_object_get(json_object_get(row, "metadata"), key);
    return v && !json_is_null(v) ? v : NULL;
}

static uint64_t key_of(const json_t *row, int kind, const char *name, const char *other) {
    const json_t *v = known(row, name);
    if (!v && other) v = known(row, other);
    if (!v) return 0;
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_printf(&text, "%d ", kind);
    if (json_is_string(v))
        buf_str(&text, json_str(v));
    else
        json_write(v, &text); /* 17 and "17" name the same */
    uint64_t h = hash_bytes(text.p, text.n);
    buf_release(&text);
    return h ? h : 1;
}

static const json_t *feedback_score(const json_t *row) {
    const json_t *f = known(row, "feedback"), *v = known(row, "score");
    if (json_is_object(f)) f = json_object_get(f, "score");
    if (json_is_number(f)) return f;
    return json_is_number(v) ? v : NULL;
}

static void copy_known(json_t *about, const json_t *row, const char *key, const char *other) {
    const json_t *v = known(row, key);
    if (!v && other) v = known(row, other);
    if (v) json_object_set(about, key, (json_t *)v);
}

static json_t *about_row(const struct batch *batch, struct item *it, const json_t *row) {
    const struct build_input *in = batch->in;
    static const char *const kept[] = {"conversation_id", "document_id", "seed_row",
                                       "generator",       "prompt_hash", "model"};
    bool human = in->source == BUILD_HUMAN;
    const json_t *score = feedback_score(row);
    bool corrected = human && json_is_true(json_object_get(row, "corrected"));
    json_t *o = json_pack("{s:s, s:s}", "source", build_source_name(in->source), "quality",
                          human ? "verified" : "unverified");
    copy_known(o, row, "id", NULL);
    if (!json_object_get(o, "id") && it->e->id.n)
        json_object_set_new(o, "id", json_stringn(it->e->id.p, it->e->id.n));
    copy_known(o, row, "created_at", "created");
    copy_known(o, row, "user", "user_id");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) copy_known(o, row, kept[i], NULL);
    json_object_set_new(
        o, "origin",
        json_pack("[I, I]", (json_int_t)(in - batch->b->inputs), (json_int_t)it->e->number));
    if (corrected) json_object_set_new(o, "corrected", json_true());
    if (score) json_object_set(o, "score", (json_t *)score);
    it->rank = corrected ? 0 : human ? 1 : in->source == BUILD_SYNTHETIC ? 4 : 3;
    if (it->rank == 3 && score && json_number_value(score) > 0) it->rank = 2;
    double least = batch->b->set.min_feedback;
    if (in->source == BUILD_PRODUCTION && least >= -1) {
        if (!score)
            snprintf(it->low, sizeof it->low, "nobody has rated it");
        else if (json_number_value(score) < least)
            snprintf(it->low, sizeof it->low, "rated %g, wanted at least %g",
                     json_number_value(score), least);
    }
    return o;
}

#define LABEL_BYTES 64

static void label_of(struct item *it) {
    const struct example *e = it->e;
    size_t n = e->message_count;
    struct str answer = {"", 0};
    if (e->kind != ROW_PAIR && n && e->messages[n - 1].role == ROLE_ASSISTANT)
        answer = e->messages[n - 1].text;
    it->rank = it->rank << 24 | (int)(0xffffff - (answer.n < 0xffffff ? answer.n : 0xffffff));
    if (e->kind != ROW_TEXT && answer.n && answer.n <= LABEL_BYTES)
        it->label = hash_bytes(answer.p, answer.n) | 1;
}

static void work(void *ctx, int64_t i) {
    struct batch *batch = ctx;
    struct item *it = &batch->items[i];
    char hex[2 * ROW_HASH + 1];
    json_t *row = NULL;
    buf_init(&it->content, BUILD_ROW_MAX);
    buf_init(&it->about, BUILD_ROW_MAX);
    it->wrong = findings_new();
    it->rc = validate_example(batch->validator, it->e, it->wrong, &it->err);
    if (!it->rc) it->rc = json_read(it->e->json, "row", &row, &it->err);
    if (it->rc) return;
    it->empty = !row_content(row, &it->content);
    row_hash(buf_view(&it->content), it->given);
    memcpy(it->hash, it->given, ROW_HASH);
    hash_hex(it->given, hex);
    it->restored = json_object_get(batch->b->restored, hex) != NULL;
    json_t *about = about_row(batch, it, row);
    label_of(it);
    it->keys[SPLIT_USER] = key_of(row, SPLIT_USER, "user", "user_id");
    it->keys[SPLIT_CONVERSATION] = key_of(row, SPLIT_CONVERSATION, "conversation_id", NULL);
    it->keys[SPLIT_DOCUMENT] = key_of(row, SPLIT_DOCUMENT, "document_id", NULL);
    it->keys[SPLIT_SEED] = key_of(row, SPLIT_SEED, "seed_row", NULL);
    pii_of(batch, it, row, about);
    if (json_object_get(about, "edits")) { /* another content, another name */
        buf_clear(&it->content);
        row_content(row, &it->content);
        row_hash(buf_view(&it->content), it->hash);
    }
    json_write(about, &it->about);
    if (!buf_ok(&it->content) || !buf_ok(&it->about)) it->empty = true;
    json_decref(about);
    json_decref(row);
}

/* --- taken in order --- */

static int record_add(struct build *b, struct item *it, int32_t input, struct err *err) {
    if (b->count == b->cap) {
        struct record *grown = NULL;
        size_t cap = b->cap ? b->cap + b->cap / 2 : 4096;
        int rc = mem_try(cap, sizeof *grown, "the rows' records", (void **)&grown, err);
        if (rc) return rc;
        if (b->count) memcpy(grown, b->records, b->count * sizeof *grown);
        mem_free(b->records);
        b->records = grown;
        b->cap = cap;
    }
    struct record *r = &b->records[b->count++];
    *r = (struct record){.at = (uint64_t)blob_writer_bytes(b->scratch),
                         .content = (uint32_t)it->content.n,
                         .about = (uint32_t)it->about.n,
                         .label = it->label,
                         .number = it->e->number,
                         .input = input,
                         .rank = it->rank,
                         .before = SPLIT_NEW,
                         .restored = it->restored};
    memcpy(r->hash, it->hash, ROW_HASH);
    memcpy(r->keys, it->keys, sizeof r->keys);
    buf_byte(&it->content, '\n');
    buf_str(&it->content, buf_view(&it->about));
    buf_byte(&it->content, '\n');
    return blob_writer_add(b->scratch, it->content.p, it->content.n, err); /* one write */
}

/* What a row may have and still teach; a person decides. */
static bool only_told(enum finding_kind kind) {
    return finding_group(kind) != CHECK_FORMAT || kind == FINDING_MESSAGE_UNRECOGNIZED_KEY ||
           kind == FINDING_REFUSING_ANSWER;
}

bool build_untrainable(const char *kind) {
    static const enum finding_kind kinds[] = {
        FINDING_INVALID_FORMAT,      FINDING_MISSING_MESSAGES_LIST,
        FINDING_MESSAGE_MISSING_KEY, FINDING_UNRECOGNIZED_ROLE,
        FINDING_MISSING_CONTENT,     FINDING_EXAMPLE_MISSING_ASSISTANT_MESSAGE,
        FINDING_INVALID_WEIGHT,      FINDING_INVALID_TOOLS};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, finding_label(kinds[i])) == 0) return true;
    return false;
}

/* What the checks say of the row: the first defect drops it, unless it was put back. */
static int take_wrong(struct build *b, const struct item *it, struct rejection r, bool *ret_dropped,
                      struct err *err) {
    int rc = 0;
    *ret_dropped = false;
    findings_sort(it->wrong);
    for (size_t i = 0; !rc && i < findings_count(it->wrong); i++) {
        const struct finding *f = findings_at(it->wrong, i);
        bool drop = !only_told(f->kind) && !it->restored && !*ret_dropped;
        r.kind = finding_label(f->kind);
        r.reason = str_of(f->detail ? f->detail : finding_text(f->kind));
        r.action = drop ? REJECT_DROPPED : REJECT_REPORTED;
        if (drop) *ret_dropped = true;
        rc = build_reject(b, &r, err);
    }
    return rc;
}

static int take(struct batch *batch, struct item *it, struct err *err) {
    struct build *b = batch->b;
    enum build_pii how = b->set.pii;
    struct rejection r = {.input = (int32_t)(batch->in - b->inputs),
                          .number = it->e->number,
                          .id = it->e->id,
                          .hash = it->given,
                          .content = buf_view(&it->content)};
    if (it->rc || it->empty) {
        r.kind = finding_label(FINDING_INVALID_FORMAT);
        r.hash = NULL;
        r.content = it->e->json;
        r.reason = it->rc ? str_of(it->err.msg) : STR_LIT("a row without content");
        return build_reject(b, &r, err);
    }
    bool dropped;
    int rc = take_wrong(b, it, r, &dropped, err);
    if (rc || dropped) return rc;
    if (*it->low && !it->restored) {
        r.kind = finding_label(FINDING_LOW_FEEDBACK);
        r.reason = str_of(it->low);
        batch->in->exempt++;
        return build_reject(b, &r, err);
    }
    if (*it->pii) {
        bool keep = it->restored || how == BUILD_PII_REPORT;
        r.kind = finding_label(FINDING_CONTAINS_PII);
        r.reason = str_of(it->pii);
        r.action = keep ? REJECT_REPORTED : how == BUILD_PII_DROP ? REJECT_DROPPED : REJECT_EDITED;
        if (r.action == REJECT_EDITED) r.content = it->e->json;
        rc = build_reject(b, &r, err);
        if (rc || r.action == REJECT_DROPPED) return rc;
    }
    return record_add(b, it, r.input, err);
}

static bool has_row(const struct example *list, size_t n, int64_t number) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (list[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && list[low].number == number;
}

/* What the reader says: of records it refused, and of rows that it mended. */
static int take_findings(struct batch *batch, const struct findings *f, const struct example *list,
                         size_t n, struct err *err) {
    int32_t input = (int32_t)(batch->in - batch->b->inputs);
    int64_t last = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < findings_count(f); i++) {
        const struct finding *one = findings_at(f, i);
        bool refused = !has_row(list, n, one->row);
        const char *why = one->detail ? one->detail : finding_text(one->kind);
        struct rejection r = {.kind = finding_label(one->kind),
                              .action =
                                  refused && one->row != last ? REJECT_DROPPED : REJECT_REPORTED,
                              .input = input,
                              .number = one->row,
                              .reason = str_of(why)};
        if (refused) last = one->row;
        rc = build_reject(batch->b, &r, err);
    }
    return rc;
}

static int take_batch(struct batch *batch, const struct example *list, size_t n, struct err *err) {
    int rc = mem_try(n, sizeof *batch->items, "a batch of rows", (void **)&batch->items, err);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++) batch->items[i].e = &list[i];
    pool_run(batch->b->pool, (int64_t)n, work, batch);
    for (size_t i = 0; !rc && i < n; i++) rc = take(batch, &batch->items[i], err);
    for (size_t i = 0; i < n; i++) {
        buf_release(&batch->items[i].content);
        buf_release(&batch->items[i].about);
        findings_free(batch->items[i].wrong);
    }
    mem_free(batch->items);
    batch->items = NULL;
    return rc;
}

static int read_input(struct build *b, struct build_input *in, struct err *err) {
    struct batch batch = {.b = b, .in = in};
    const struct example *list = NULL;
    struct source *s = NULL;
    size_t n = 1;
    pii_defaults(&batch.entities);
    batch.validator = validator_new(&(struct validate_options){.min_feedback_given = false});
    int rc = source_open(in->path, &in->read, &s, err);
    while (!rc && n) {
        struct findings *found = findings_new();
        rc = source_next(s, b->pool, &list, &n, found, err);
        findings_sort(found);
        if (!rc) rc = take_findings(&batch, found, list, n, err);
        if (!rc && n) rc = take_batch(&batch, list, n, err);
        findings_free(found);
    }
    if (!rc) in->rows = source_records(s);
    source_close(s);
    validator_free(batch.validator);
    return rc ? err_wrap(err, "\"%s\"", in->name) : 0;
}

int build_read(struct build *b, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < b->input_count; i++)
        if (!b->inputs[i].against) rc = read_input(b, &b->inputs[i], err);
    return rc;
}

/* --- rejections --- */

static struct kind_count *kind_of(struct build *b, const char *kind) {
    for (size_t i = 0; i < b->kind_count; i++)
        if (strcmp(b->kinds[i].kind, kind) == 0) return &b->kinds[i];
    if (b->kind_count == sizeof b->kinds / sizeof *b->kinds) return &b->kinds[0]; /* cannot be */
    b->kinds[b->kind_count] = (struct kind_count){.kind = kind};
    return &b->kinds[b->kind_count++];
}

static void member(struct buf *out, const char *key, struct str value) {
    if (!value.n) return;
    buf_printf(out, ",\"%s\":", key);
    json_write_str(out, value);
}

static void member_hash(struct buf *out, const char *key, const unsigned char *hash) {
    char hex[2 * ROW_HASH + 1];
    if (!hash) return;
    hash_hex(hash, hex);
    member(out, key, str_of(hex));
}

int build_reject(struct build *b, const struct rejection *r, struct err *err) {
    static const char *const actions[] = {"dropped", "edited", "reported"};
    struct kind_count *k = kind_of(b, r->kind);
    struct build_input *in = &b->inputs[r->input];
    struct buf line;
    if (r->action == REJECT_DROPPED) k->dropped++, in->dropped++;
    if (r->action == REJECT_EDITED) k->edited++, in->edited++;
    if (r->action == REJECT_REPORTED) k->reported++;
    buf_init(&line, 2 * BUILD_ROW_MAX);
    buf_printf(&line, "{\"kind\":\"%s\",\"action\":\"%s\",\"origin\":[%d,%lld]", r->kind,
               actions[r->action], r->input, (long long)r->number);
    member_hash(&line, "row", r->hash);
    member(&line, "id", r->id);
    member(&line, "reason", r->reason);
    member_hash(&line, "twin", r->twin);
    if (r->against) {
        member(&line, "against", str_of(r->against));
        buf_printf(&line, ",\"against_row\":%lld", (long long)r->against_number);
    }
    if (r->similarity > 0) buf_printf(&line, ",\"similarity\":%.4f", r->similarity);
    member(&line, "content", r->content);
    buf_z(&line, "}\n");
    int rc = buf_ok(&line) ? blob_writer_add(b->rejected, line.p, line.n, err)
                           : err_set(err, ERR_LIMIT, "a rejected row of more than %zu bytes",
                                     2 * BUILD_ROW_MAX);
    buf_release(&line);
    return rc;
}

/* Records are asked for in the order of their hashes, from all over the file, and the pages of
 * every one count as memory of this process until they are given back. A fault brings 64 KiB: 256
 * MiB. */
#define SCRATCH_GETS 4096

static void scratch_got(struct build *b) {
    if (++b->scratch_gets % SCRATCH_GETS == 0) mem_pages_drop(b->scratch_map.p, b->scratch_map.n);
}

struct str record_content(struct build *b, const struct record *r) {
    scratch_got(b);
    return (struct str){(const char *)b->scratch_map.p + r->at, r->content};
}

struct str record_about(struct build *b, const struct record *r) {
    scratch_got(b);
    return (struct str){(const char *)b->scratch_map.p + r->at + r->content + 1, r->about};
}

int build_reject_record(struct build *b, struct record *rec, struct rejection r, struct err *err) {
    r.input = rec->input;
    r.number = rec->number;
    r.hash = rec->hash;
    r.content = record_content(b, rec);
    if (r.action == REJECT_DROPPED) rec->dropped = true;
    return build_reject(b, &r, err);
}
