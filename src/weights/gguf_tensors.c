/* A GGUF's tensors as an ordinary set: Hugging Face's names, rows of q and k in Hugging Face's
 * order, blocks expanded into one piece of memory. Vectors (norms, biases) are always F32. */
#include "weights/gguf_int.h"
#include "weights/tensors_int.h"

#include "base/mem.h"

#include <stdio.h>

static const struct {
    const char *from, *to;
} global_names[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

/* after "blk.N." and "model.layers.N."; then ".weight" or ".bias" */
static const struct {
    const char *from, *to;
    bool rotary; /* llama: rows are pairs for the rotation */
} layer_names[] = {
    {"attn_norm", "input_layernorm", false},    {"attn_q", "self_attn.q_proj", true},
    {"attn_k", "self_attn.k_proj", true},       {"attn_v", "self_attn.v_proj", false},
    {"attn_output", "self_attn.o_proj", false}, {"attn_q_norm", "self_attn.q_norm", false},
    {"attn_k_norm", "self_attn.k_norm", false}, {"ffn_norm", "post_attention_layernorm", false},
    {"ffn_gate", "mlp.gate_proj", false},       {"ffn_up", "mlp.up_proj", false},
    {"ffn_down", "mlp.down_proj", false},
};

#define HF_NAME_BYTES 128

/* one tensor on its way */
struct job {
    const struct gguf_tensor *from;
    char name[HF_NAME_BYTES];
    enum tensor_type type;
    int64_t head_dim; /* of rotary rows to be put back, else 0 */
    size_t offset;    /* in the block */
};

/* "blk.12.attn_q.weight": the layer's digits, the part and the ending */
static bool split_layer_name(struct str name, struct str *ret_layer, struct str *ret_part,
                             struct str *ret_ending) {
    if (!str_starts(name, STR_LIT("blk."))) return false;
    struct str rest = str_from(name, 4);
    size_t n = 0;
    while (n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9') n++;
    if (n == 0 || n > 5 || n == rest.n || rest.p[n] != '.') return false;
    *ret_layer = (struct str){rest.p, n};
    rest = str_from(rest, n + 1);
    const char *dot = memchr(rest.p, '.', rest.n);
    if (!dot) return false;
    *ret_part = (struct str){rest.p, (size_t)(dot - rest.p)};
    *ret_ending = str_from(rest, ret_part->n);
    return str_is(*ret_ending, ".weight") || str_is(*ret_ending, ".bias");
}

/* false: no tensor of these architectures */
static bool translate(struct str name, char out[HF_NAME_BYTES], bool *ret_rotary) {
    struct str layer, part, ending;
    *ret_rotary = false;
    for (size_t i = 0; i < sizeof global_names / sizeof *global_names; i++) {
        if (!str_is(name, global_names[i].from)) continue;
        snprintf(out, HF_NAME_BYTES, "%s", global_names[i].to);
        return true;
    }
    if (!split_layer_name(name, &layer, &part, &ending)) return false;
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++) {
        if (!str_is(part, layer_names[i].from)) continue;
        snprintf(out, HF_NAME_BYTES, "model.layers.%.*s.%s%.*s", STR_ARG(layer), layer_names[i].to,
                 STR_ARG(ending));
        *ret_rotary = layer_names[i].rotary;
        return true;
    }
    return false;
}

static int refuse(const struct gguf *g, const struct gguf_tensor *t, const char *why,
                  struct err *err) {
    return err_set(err, ERR_UNSUPPORTED, "\"%s\": tensor \"%.*s\" %s", g->path, STR_ARG(t->name),
                   why);
}

static int check_type(const struct gguf *g, const struct gguf_tensor *t, struct err *err) {
    char why[160];
    if (t->type && t->type->expand) return 0;
    snprintf(why, sizeof why,
             "has type %s (%u), which is not supported; use a file in Q8_0, Q6_K, Q5_K, Q4_K, BF16 "
             "or F16",
             t->type ? t->type->name : "unknown", t->type_id);
    return refuse(g, t, why, err);
}

/* llama.cpp stores llama's q and k so that the two halves of each head alternate */
static int find_head_dim(const struct gguf *g, struct job *job, struct err *err) {
    struct str arch = {"", 0};
    bool is_k = strstr(job->name, ".k_proj.") != NULL;
    int64_t heads = 0;
    int rc = gguf_get_str(g, "general.architecture", &arch, err);
    if (rc || !str_is(arch, "llama")) return rc;
    rc = gguf_get_i64(g, "llama.attention.head_count", &heads, err);
    if (!rc && is_k) rc = gguf_get_i64(g, "llama.attention.head_count_kv", &heads, err);
    if (rc) return rc;
    int64_t rows = job->from->dims ? job->from->shape[0] : 0;
    if (heads <= 0 || rows % heads || rows / heads % 2)
        return refuse(g, job->from, "does not divide into the heads of the metadata", err);
    if (job->from->dims == 1 && job->from->type->elements != 1)
        return refuse(g, job->from, "is a vector in blocks", err);
    job->head_dim = rows / heads;
    return 0;
}

static int plan_job(const struct gguf *g, const struct gguf_tensor *t, enum tensor_type type,
                    struct job *job, struct err *err) {
    bool rotary;
    *job = (struct job){.from = t, .type = t->dims > 1 ? type : TENSOR_F32};
    if (!translate(t->name, job->name, &rotary))
        return refuse(g, t, "is not known in this architecture", err);
    int rc = check_type(g, t, err);
    if (!rc && rotary) rc = find_head_dim(g, job, err);
    return rc;
}

static size_t round_to_line(size_t n) { return (n + 63) & ~(size_t)63; }

/* Jobs for all tensors but the rotary factors, which the configuration has taken. */
static int plan(const struct gguf *g, enum tensor_type type, struct job *jobs, size_t *ret_count,
                size_t *ret_bytes, struct err *err) {
    size_t count = 0, total = 0, bytes;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (str_is(t->name, "rope_freqs.weight")) continue;
        struct job *job = &jobs[count++];
        int rc = plan_job(g, t, type, job, err);
        if (rc) return rc;
        job->offset = total;
        if (!mul_size(t->elements, tensor_type_size(job->type), &bytes) || bytes > SIZE_MAX / 4 ||
            !add_size(total, round_to_line(bytes), &total))
            return refuse(g, t, "is too large", err);
    }
    *ret_count = count;
    *ret_bytes = total;
    return 0;
}

static void expand(const struct block_type *type, const void *blocks, size_t count,
                   enum tensor_type to, void *out) {
    if (to == TENSOR_F32)
        dequant_f32(type, blocks, count, out);
    else
        dequant_bf16(type, blocks, count, out);
}

/* the file's row that holds the head's row r */
static size_t stored_row(size_t r, size_t head_dim) {
    size_t head = r / head_dim, in_head = r % head_dim, half = head_dim / 2;
    return head * head_dim + in_head % half * 2 + in_head / half;
}

static void run_job(const struct job *job, char *block) {
    const struct gguf_tensor *t = job->from;
    char *out = block + job->offset;
    if (!job->head_dim) {
        expand(t->type, t->data, t->elements, job->type, out);
        return;
    }
    size_t rows = (size_t)t->shape[0], row = t->elements / rows;
    size_t from_bytes = row / t->type->elements * t->type->bytes,
           to_bytes = row * tensor_type_size(job->type);
    for (size_t r = 0; r < rows; r++) {
        const char *from = t->data + stored_row(r, (size_t)job->head_dim) * from_bytes;
        expand(t->type, from, row, job->type, out + r * to_bytes);
    }
}

static int run(struct tensors *t, const struct job *jobs, size_t count, struct err *err) {
    int source = tensors_add_source(t, t->path, (struct file_map){0}), rc = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        const struct job *job = &jobs[i];
        run_job(job, t->block);
        struct tensor x = {.name = job->name,
                           .type = job->type,
                           .dims = job->from->dims,
                           .data = (char *)t->block + job->offset,
                           .bytes = job->from->elements * tensor_type_size(job->type)};
        memcpy(x.shape, job->from->shape, sizeof x.shape);
        rc = tensors_add(t, source, &x, err);
    }
    return rc ? rc : tensors_seal(t, err);
}

/* All of the block is written, so what another program holds is not there to be had. */
static int open_block(struct tensors *t, struct err *err) {
    size_t available = mem_available();
    if (t->block_bytes > available)
        return err_set(err, ERR_LIMIT,
                       "\"%s\": its weights expand to %.1f MiB, and %.1f MiB of memory are free; "
                       "close other programs or take a smaller model",
                       t->path, (double)t->block_bytes / 1048576.0, (double)available / 1048576.0);
    return mem_block_open(t->block_bytes, "expanding the GGUF file's weights", &t->block, err);
}

int gguf_tensors(const struct gguf *g, enum tensor_type type, struct tensors **ret,
                 struct err *err) {
    struct tensors *t = tensors_new(g->path);
    struct job *jobs = mem_zalloc(g->tensor_count, sizeof *jobs);
    size_t count = 0;
    int rc = type == TENSOR_F16
                 ? err_set(err, ERR_USAGE, "GGUF tensors expand to F32 or BF16, not F16")
                 : 0;
    if (!rc) rc = plan(g, type, jobs, &count, &t->block_bytes, err);
    if (!rc) rc = open_block(t, err);
    if (!rc) rc = run(t, jobs, count, err);
    mem_free(jobs);
    if (rc)
        tensors_close(t);
    else
        *ret = t;
    return rc;
}
