#include "text/bpe_train.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/added.h"
#include "text/charclass.h"
#include "text/normalize.h"
#include "text/scan.h"
#include "text/strmap.h"

#define BYTES 256
#define WORDS_MAX INT32_MAX

struct word {
    int32_t *symbols; /* 0..255: bytes; from 256 on: merges in order */
    int32_t n;
    int64_t count;
};
struct pair {
    int32_t left, right;
    int64_t count;
    int32_t *words; /* where it is or was; a word may stand there twice */
    size_t word_count, word_cap;
};
struct trainer {
    const struct bpe_train_options *options;
    struct arena memory;
    struct str_map word_ids;
    struct word *words;
    size_t word_count, word_cap;
    struct pair *pairs;
    size_t pair_count, pair_cap;
    int32_t *slots; /* hash of (left, right) -> pair + 1 */
    size_t slot_cap;
    struct added_set specials;
    struct added_token *special_tokens;
    struct pair *merged; /* the chosen pairs, in order; only left and right are set */
    size_t merged_count, merged_cap;
};

static void trainer_release(struct trainer *t) {
    for (size_t i = 0; i < t->pair_count; i++) mem_free(t->pairs[i].words);
    mem_free(t->pairs);
    mem_free(t->words);
    mem_free(t->slots);
    mem_free(t->merged);
    mem_free(t->special_tokens);
    added_set_release(&t->specials);
    str_map_release(&t->word_ids);
    arena_release(&t->memory);
}

/* --- counting words ------------------------------------------------------------------------------
 */

static void count_word(struct trainer *t, struct str text) {
    int32_t id = str_map_find(&t->word_ids, text);
    if (id >= 0) {
        t->words[id].count++;
        return;
    }
    if (t->word_count == WORDS_MAX) return;
    struct str key = arena_str(&t->memory, text);
    int32_t *symbols = arena_array(&t->memory, text.n, sizeof *symbols);
    if (!key.p || !symbols) return; /* `over` sticks and is reported at the end */
    for (size_t i = 0; i < text.n; i++) symbols[i] = (unsigned char)text.p[i];
    mem_grow((void **)&t->words, &t->word_cap, t->word_count + 1, sizeof *t->words);
    t->words[t->word_count] = (struct word){symbols, (int32_t)text.n, 1};
    str_map_put(&t->word_ids, key, (int32_t)t->word_count++);
}

static void count_words(struct trainer *t, struct str text) {
    for (size_t at = 0, n; at < text.n; at += n) {
        n = scan_gpt2(str_from(text, at));
        count_word(t, (struct str){text.p + at, n});
    }
}

/* Digits are numbers to the scanner, so a text between digits gives the same words as the Digits
 * pre-tokenizer before ByteLevel does. */
static void count_between_digits(struct trainer *t, struct str text) {
    size_t done = 0, n;
    for (size_t at = 0; at < text.n; at += n) {
        if (!(char_class(char_at(text.p + at, &n)) & CH_NUMERIC)) continue;
        count_words(t, (struct str){text.p + done, at - done});
        count_word(t, (struct str){text.p + at, n});
        done = at + n;
    }
    count_words(t, str_from(text, done));
}

static void count_between_specials(struct trainer *t, struct str text) {
    void (*count)(struct trainer *, struct str) =
        t->options->split_digits ? count_between_digits : count_words;
    struct added_hit hit;
    size_t from = 0, done = 0;
    while (added_set_find(&t->specials, t->special_tokens, text, &from, done, &hit)) {
        count(t, (struct str){text.p + done, hit.start - done});
        done = hit.end;
    }
    count(t, str_from(text, done));
}

/* --- counting pairs ------------------------------------------------------------------------------
 */

static size_t pair_slot(const struct trainer *t, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h ^ h >> 32) & (t->slot_cap - 1);
    while (t->slots[i]) {
        const struct pair *p = &t->pairs[t->slots[i] - 1];
        if (p->left == left && p->right == right) break;
        i = (i + 1) & (t->slot_cap - 1);
    }
    return i;
}

static void grow_slots(struct trainer *t) {
    mem_free(t->slots);
    t->slot_cap = t->slot_cap ? t->slot_cap * 2 : 1 << 16;
    t->slots = mem_zalloc(t->slot_cap, sizeof *t->slots);
    for (size_t i = 0; i < t->pair_count; i++)
        t->slots[pair_slot(t, t->pairs[i].left, t->pairs[i].right)] = (int32_t)i + 1;
}

static struct pair *pair_of(struct trainer *t, int32_t left, int32_t right) {
    if (t->pair_count * 2 >= t->slot_cap) grow_slots(t);
    size_t slot = pair_slot(t, left, right);
    if (!t->slots[slot]) {
        mem_grow((void **)&t->pairs, &t->pair_cap, t->pair_count + 1, sizeof *t->pairs);
        t->pairs[t->pair_count++] = (struct pair){.left = left, .right = right};
        t->slots[slot] = (int32_t)t->pair_count;
    }
    return &t->pairs[t->slots[slot] - 1];
}

static void remove_pairs(struct trainer *t, int32_t word) {
    const struct word *w = &t->words[word];
    for (int32_t i = 0; i + 1 < w->n; i++)
        pair_of(t, w->symbols[i], w->symbols[i + 1])->count -= w->count;
}

static void add_pairs(struct trainer *t, int32_t word) {
    const struct word *w = &t->words[word];
    for (int32_t i = 0; i + 1 < w->n; i++) {
        struct pair *p = pair_of(t, w->symbols[i], w->symbols[i + 1]);
        p->count += w->count;
        if (p->word_count && p->words[p->word_count - 1] == word) continue;
        mem_grow((void **)&p->words, &p->word_cap, p->word_count + 1, sizeof *p->words);
        p->words[p->word_count++] = word;
    }
}

/* --- merging -------------------------------------------------------------------------------------
 */

static bool is_before(const struct pair *a, const struct pair *b) {
    if (a->count != b->count) return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static struct pair *most_frequent(struct trainer *t) {
    struct pair *best = NULL;
    for (size_t i = 0; i < t->pair_count; i++)
        if (!best || is_before(&t->pairs[i], best)) best = &t->pairs[i];
    return best;
}

static bool merge_in_word(struct word *w, int32_t left, int32_t right, int32_t id) {
    int32_t n = 0;
    for (int32_t i = 0; i < w->n; i++) {
        bool hit = i + 1 < w->n && w->symbols[i] == left && w->symbols[i + 1] == right;
        w->symbols[n++] = hit ? id : w->symbols[i];
        i += hit;
    }
    bool changed = n < w->n;
    w->n = n;
    return changed;
}

static bool has_pair(const struct word *w, int32_t left, int32_t right) {
    for (int32_t i = 0; i + 1 < w->n; i++)
        if (w->symbols[i] == left && w->symbols[i + 1] == right) return true;
    return false;
}

static void merge_everywhere(struct trainer *t, const struct pair *chosen) {
    struct pair p = *chosen; /* t->pairs may move */
    int32_t id = (int32_t)(BYTES + t->merged_count);
    mem_grow((void **)&t->merged, &t->merged_cap, t->merged_count + 1, sizeof *t->merged);
    t->merged[t->merged_count++] = (struct pair){.left = p.left, .right = p.right};
    for (size_t i = 0; i < p.word_count; i++) {
        struct word *w = &t->words[p.words[i]];
        if (!has_pair(w, p.left, p.right)) continue;
        remove_pairs(t, p.words[i]);
        merge_in_word(w, p.left, p.right, id);
        add_pairs(t, p.words[i]);
    }
    struct pair *spent = pair_of(t, p.left, p.right);
    mem_free(spent->words);
    spent->words = NULL;
    spent->word_count = spent->word_cap = 0;
}

static void train(struct trainer *t) {
    const struct bpe_train_options *o = t->options;
    int64_t wanted = o->vocab_size - BYTES - (int64_t)o->special_count;
    int64_t min_count = o->min_count ? o->min_count : 2;
    for (size_t i = 0; i < t->word_count; i++) add_pairs(t, (int32_t)i);
    while ((int64_t)t->merged_count < wanted) {
        struct pair *best = most_frequent(t);
        if (!best || best->count < min_count) break;
        merge_everywhere(t, best);
    }
}

/* --- tokenizer.json ------------------------------------------------------------------------------
 */

struct names {
    struct str *list; /* of bytes and merges, spelled in the byte alphabet */
    size_t count;
};

static void spell(struct trainer *t, struct names *names) {
    names->count = BYTES + t->merged_count;
    names->list = mem_zalloc(names->count, sizeof *names->list);
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < names->count; i++) {
        buf_clear(&b);
        if (i < BYTES) {
            buf_utf8(&b, byte_to_char((unsigned char)i));
        } else {
            buf_str(&b, names->list[t->merged[i - BYTES].left]);
            buf_str(&b, names->list[t->merged[i - BYTES].right]);
        }
        names->list[i] = arena_str(&t->memory, buf_view(&b));
    }
    buf_release(&b);
}

static void write_added(const struct bpe_train_options *o, int64_t first, struct buf *out) {
    buf_z(out, "\"added_tokens\":[");
    for (size_t i = 0; i < o->special_count; i++) {
        buf_printf(out, "%s\n{\"id\":%lld,\"content\":", i ? "," : "",
                   (long long)first + (long long)i);
        json_write_str(out, o->specials[i]);
        buf_z(out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                   "\"special\":true}");
    }
    buf_z(out, "],\n");
}

static void write_vocab(const struct bpe_train_options *o, const struct names *names, int64_t first,
                        int64_t first_special, struct buf *out) {
    const char *comma = "";
    buf_z(out, "\"vocab\":{");
    for (size_t i = 0; i < o->special_count && first_special == 0; i++, comma = ",") {
        buf_printf(out, "%s\n", comma);
        json_write_str(out, o->specials[i]);
        buf_printf(out, ":%lld", (long long)i);
    }
    for (size_t i = 0; i < names->count; i++, comma = ",") {
        buf_printf(out, "%s\n", comma);
        json_write_str(out, names->list[i]);
        buf_printf(out, ":%lld", (long long)first + (long long)i);
    }
    buf_z(out, "},\n");
}

static void write_json(struct trainer *t, struct buf *out) {
    const struct bpe_train_options *o = t->options;
    struct names names;
    spell(t, &names);
    int64_t first = o->specials_last ? 0 : (int64_t)o->special_count;
    int64_t first_special = o->specials_last ? (int64_t)names.count : 0;
    const char *bytes = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
                        "\"use_regex\":true}";
    buf_z(out, "{\n\"version\":\"1.0\",\n\"truncation\":null,\n\"padding\":null,\n");
    write_added(o, first_special, out);
    buf_z(out, "\"normalizer\":null,\n\"pre_tokenizer\":");
    if (o->split_digits)
        buf_printf(out,
                   "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
                   "\"individual_digits\":true},%s]}",
                   bytes);
    else
        buf_z(out, bytes);
    buf_printf(out, ",\n\"post_processor\":null,\n\"decoder\":%s,\n\"model\":{\"type\":\"BPE\",",
               bytes);
    buf_z(out, "\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
               "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
               "\"ignore_merges\":false,\n");
    write_vocab(o, &names, first, first_special, out);
    buf_z(out, "\"merges\":[");
    for (size_t i = 0; i < t->merged_count; i++) {
        buf_z(out, i ? ",\n[" : "\n[");
        json_write_str(out, names.list[t->merged[i].left]);
        buf_byte(out, ',');
        json_write_str(out, names.list[t->merged[i].right]);
        buf_byte(out, ']');
    }
    buf_z(out, "]}\n}\n");
    mem_free(names.list);
}

static int check_options(const struct bpe_train_options *o, struct str text, struct err *err) {
    size_t good = utf8_valid_prefix(text);
    if (good != text.n)
        return err_set(err, ERR_INVALID, "the text is not UTF-8 at offset %zu", good);
    if (o->vocab_size < BYTES || (size_t)o->vocab_size - BYTES < o->special_count)
        return err_set(err, ERR_INVALID,
                       "a vocabulary of %d tokens has no room for %d bytes and %zu special tokens",
                       o->vocab_size, BYTES, o->special_count);
    return 0;
}

int bpe_train(struct str text, const struct bpe_train_options *o, struct buf *ret_json,
              struct err *err) {
    int rc = check_options(o, text, err);
    if (rc) return rc;
    charclass_init();
    struct trainer t = {.options = o};
    arena_init(&t.memory, (size_t)16 << 30);
    t.special_tokens = mem_zalloc(o->special_count + 1, sizeof *t.special_tokens);
    for (size_t i = 0; i < o->special_count; i++)
        added_set_put(&t.specials, o->specials[i], (int32_t)i);
    count_between_specials(&t, text);
    train(&t);
    write_json(&t, ret_json);
    if (t.memory.over || !buf_ok(ret_json))
        rc = err_set(err, ERR_LIMIT, "the text has too many words");
    trainer_release(&t);
    return rc;
}

/* --- files ---------------------------------------------------------------------------------------
 */

static void write_role(struct buf *out, const char *key, struct str value) {
    if (!value.n) return;
    buf_printf(out, ",\n  \"%s\": ", key);
    json_write_str(out, value);
}

static int write_file(const char *dir, const char *name, struct str data, struct err *err) {
    char *path = path_join(dir, name);
    int rc = file_write_atomic(path, data, err);
    mem_free(path);
    return rc;
}

int bpe_train_save(const char *dir, struct str json, const struct tokenizer_roles *r,
                   struct err *err) {
    struct buf config;
    buf_init(&config, 1 << 24);
    buf_z(&config, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"");
    buf_z(&config, ",\n  \"clean_up_tokenization_spaces\": false");
    if (r->max_length)
        buf_printf(&config, ",\n  \"model_max_length\": %lld", (long long)r->max_length);
    write_role(&config, "bos_token", r->bos);
    write_role(&config, "eos_token", r->eos);
    write_role(&config, "pad_token", r->pad);
    write_role(&config, "unk_token", r->unk);
    write_role(&config, "chat_template", r->chat_template);
    buf_z(&config, "\n}\n");
    int rc = dir_make(dir, err);
    if (!rc && !buf_ok(&config)) rc = err_set(err, ERR_LIMIT, "the chat template is too long");
    if (!rc) rc = write_file(dir, "tokenizer.json", json, err);
    if (!rc) rc = write_file(dir, "tokenizer_config.json", buf_view(&config), err);
    buf_release(&config);
    return rc;
}
