/* picture/circuit_codec.c - the method "circuit": equal-sized pictures coded without loss by a hidden Chow-Liu tree.
 *
 * A. Liu, S. Mandt, G. Van den Broeck, "Lossless compression with probabilistic circuits" (ICLR 2022, arXiv
 * 2111.11632). Coding costs 2 M^2 multiply-adds an edge and picture. Unlike the paper, the posterior of a node's state
 * is kept and a value coded with masses of 24 bits; 64 pictures share one range coder, so that its end costs nothing.
 * Subtrees of background take one bit (code/circuit_walk.c).
 *
 * A file has a section CIRC, all little-endian: u64 name of the model, u64 XXH3 of all values, u64 pictures, u16 width,
 * height, channels, zero; the bytes of each segment of 64 pictures (7 bits a byte, least first, high bit: more follow);
 * the segments. A section MODL holds the model where it was embedded. */
#include "picture/circuit_codec.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "file/container.h"
#include "file/json.h"
#include "file/picture.h"
#include "file/sink.h"
#include "file/source.h"
#include "picture/circuit_model.h"

#include <math.h>
#include <string.h>

enum { HEAD = 32, ID = 3, VERSION = 1 };

static const char kind_pictures[4] = {'C', 'I', 'R', 'C'}, kind_model[4] = {'M', 'O', 'D', 'L'};

static bool picture_shape(const pith_tensor *t, circuit_wanted *w) {
    if (t->rank != 4 || t->type != PITH_U8) return false;
    for (int i = 1; i < 4; i++)
        if (t->shape[i] < 1 || t->shape[i] > UINT16_MAX) return false;
    w->height = (int32_t)t->shape[1], w->width = (int32_t)t->shape[2], w->channels = (int32_t)t->shape[3];
    return true;
}

static pith_status accepts(const pith_source *s, double *seconds, uint64_t *memory, pith_error *why) {
    circuit_wanted w = {0};
    picture first;
    char path[CIRCUIT_PATH];
    pith_status status = pith_source_picture(s, 0, &first, why);
    if (status) return status;
    uint64_t bytes = pith_tensor_bytes(&first.samples) * s->count;
    bool fits = picture_shape(&first.samples, &w);
    picture_free(&first);
    if (!fits) return pith_fail(why, PITH_UNSUPPORTED, s->path, -1, "expected pictures with 8-bit samples");
    *seconds = 0.5 + 3e-4 * (double)s->count;
    *memory = 3 * bytes + ((uint64_t)256 << 20);
    return s->model ? PITH_OK : circuit_model_path(&w, path, why);
}

static pith_status write_section(pith_writer *w, const char *kind, const char *name, const pith_bytes *part, int parts,
                                 uint64_t raw, pith_error *err) {
    pith_section s = {
        .method = ID, .version = VERSION, .flags = PITH_SECTION_MUST_UNDERSTAND, .raw = raw, .name = name};
    memcpy(s.kind, kind, 4);
    pith_status status = pith_writer_begin(w, &s, err);
    for (int i = 0; i < parts && !status; i++) status = pith_writer_write(w, part[i].data, part[i].size, err);
    return status ? status : pith_writer_end(w, err);
}

static pith_status write_pictures(pith_writer *w, const pith_tensor *t, const circuit_model *m, pith_bytes stream,
                                  const uint32_t *sizes, pith_error *err) {
    int64_t segments = circuit_segments(t->shape[0]);
    uint8_t *head = memory_zero(HEAD + 5 * (size_t)segments, 1);
    if (!head) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld segments", (long long)segments);
    uint64_t raw = pith_tensor_bytes(t);
    put64(head, m->circuit->hash);
    put64(head + 8, hash_bytes(t->data, (size_t)raw));
    put64(head + 16, (uint64_t)t->shape[0]);
    put16(head + 24, (uint16_t)t->shape[2]), put16(head + 26, (uint16_t)t->shape[1]);
    put16(head + 28, (uint16_t)t->shape[3]);
    size_t n = HEAD;
    for (int64_t k = 0; k < segments; k++) n += put_varint(head + n, sizes[k]);
    pith_status s = write_section(w, kind_pictures, "pictures", (pith_bytes[]){{head, n}, stream}, 2, raw, err);
    memory_free(head);
    return s;
}

static pith_status pack(const pith_context *c, pith_source *source, const pith_values *v, pith_target target,
                        pith_writer *w, pith_stats *st, pith_error *err) {
    const pith_tensor *t = &source->array;
    pith_status s = pith_source_array(source, err);
    circuit_wanted wanted = {.path = v ? pith_value_text(v, "model") : NULL};
    if (s) return s;
    if (target.unit != PITH_FREE)
        return pith_fail(err, PITH_USAGE, "circuit", -1, "expected no target of size or quality: circuit is lossless");
    if (!picture_shape(t, &wanted))
        return pith_fail(err, PITH_UNSUPPORTED, source->path, -1, "expected pictures of one size with 8-bit samples");
    circuit_model m;
    pith_bytes stream = {0};
    uint32_t *sizes = NULL;
    s = circuit_model_find(c, &wanted, &m, err);
    if (!s) s = circuit_encode(m.circuit, c, t->data, t->shape[0], &stream, &sizes, err);
    if (!s) s = write_pictures(w, t, &m, stream, sizes, err);
    if (!s && v && pith_value_flag(v, "embed"))
        s = write_section(w, kind_model, "circuit", &m.file, 1, m.file.size, err);
    if (!s && st) *st = (pith_stats){.in_bytes = source->file_bytes, .out_bytes = stream.size};
    memory_free(stream.data);
    memory_free(sizes);
    circuit_model_close(&m);
    return s;
}

typedef struct packed { /* a CIRC section, checked */
    circuit_wanted wanted;
    uint64_t values; /* XXH3 */
    int64_t count;
    uint32_t *sizes; /* of segments */
    pith_bytes stream;
} packed;

static pith_status damaged(pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, "CIRC", -1, "expected pictures coded by a circuit, found damaged data");
}

/* in: what follows the head. */
static pith_status read_sizes(pith_bytes in, packed *p, pith_error *err) {
    int64_t segments = circuit_segments(p->count);
    uint64_t total = 0, size;
    p->sizes = memory_alloc((size_t)segments * sizeof *p->sizes);
    if (!p->sizes) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld segments", (long long)segments);
    for (int64_t k = 0; k < segments; k++) {
        if (!bytes_take_varint(&in, &size) || size > UINT32_MAX) return damaged(err);
        p->sizes[k] = (uint32_t)size;
        total += size;
    }
    p->stream = in;
    return total == p->stream.size ? PITH_OK : damaged(err);
}

static pith_status read_packed(const pith_context *c, pith_reader *r, packed *p, pith_error *err) {
    pith_bytes in;
    *p = (packed){0};
    int64_t i = pith_reader_find(r, kind_pictures, "pictures");
    if (i < 0) return damaged(err);
    if (pith_reader_section(r, (size_t)i)->version != VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, "CIRC", -1, "expected version %d, found %d", VERSION,
                         pith_reader_section(r, (size_t)i)->version);
    pith_status s = pith_reader_view(r, (size_t)i, &in, err);
    if (s) return s;
    if (in.size < HEAD) return damaged(err);
    p->wanted = (circuit_wanted){.name = get64(in.data),
                                 .width = (int32_t)get16(in.data + 24),
                                 .height = (int32_t)get16(in.data + 26),
                                 .channels = (int32_t)get16(in.data + 28)};
    p->values = get64(in.data + 8);
    uint64_t count = get64(in.data + 16), size = (uint64_t)p->wanted.width * p->wanted.height * p->wanted.channels;
    if (!p->wanted.name || !size || get16(in.data + 30) || count > (uint64_t)in.size * CIRCUIT_SEGMENT)
        return damaged(err); /* a segment takes a byte of the index at least */
    if (__builtin_mul_overflow(size, count, &size) || (c && size > c->memory_limit))
        return pith_fail(err, PITH_LIMIT, "CIRC", -1, "expected pictures that fit the memory limit, found %llu of them",
                         (unsigned long long)count);
    p->count = (int64_t)count;
    return read_sizes((pith_bytes){in.data + HEAD, in.size - HEAD}, p, err);
}

static pith_status open_model(const pith_context *c, pith_reader *r, const char *path, const packed *p,
                              circuit_model *m, pith_error *err) {
    circuit_wanted wanted = p->wanted;
    int64_t i = path ? -1 : pith_reader_find(r, kind_model, "circuit");
    pith_bytes file;
    wanted.path = path;
    *m = (circuit_model){0};
    if (i < 0) return circuit_model_find(c, &wanted, m, err);
    pith_status s = pith_reader_view(r, (size_t)i, &file, err);
    return s ? s : circuit_model_read(c, &wanted, file, "MODL", m, err);
}

/* Decodes the segments that hold pictures [first, first + count) into a new tensor of just these. */
static pith_status decode_range(const pith_context *c, const circuit *model, const packed *p, pith_range only,
                                float *bits, pith_tensor *out, pith_error *err) {
    int64_t begin = only.first / CIRCUIT_SEGMENT, end = circuit_segments(only.first + only.count);
    int64_t before = only.first - begin * CIRCUIT_SEGMENT, last = end * CIRCUIT_SEGMENT;
    int64_t count = (last < p->count ? last : p->count) - begin * CIRCUIT_SEGMENT;
    int64_t shape[4] = {count, p->wanted.height, p->wanted.width, p->wanted.channels};
    size_t at = 0, size = 0, one = (size_t)model->tree.nodes;
    for (int64_t k = 0; k < begin; k++) at += p->sizes[k];
    for (int64_t k = begin; k < end; k++) size += p->sizes[k];
    pith_status s = pith_tensor_new(out, PITH_U8, 4, shape, err);
    if (s) return s;
    s = circuit_decode(model, c, (pith_bytes){p->stream.data + at, size}, p->sizes + begin, count, out->data, bits,
                       err);
    if (!s && count == p->count && hash_bytes(out->data, (size_t)pith_tensor_bytes(out)) != p->values)
        s = pith_fail(err, PITH_CORRUPT, "CIRC", -1, "expected the pictures that were packed, found others");
    if (s) {
        pith_tensor_release(out);
        return s;
    }
    memmove(out->data, (uint8_t *)out->data + (size_t)before * one, (size_t)only.count * one);
    out->shape[0] = only.count;
    return PITH_OK;
}

typedef struct filling {
    uint8_t *pictures;
    int32_t nodes;
} filling;

static void fill_expected(void *user, int64_t one, int32_t pixel, const float *distribution) {
    const filling *f = user;
    float mean = 0;
    for (int v = 0; v < CIRCUIT_VALUES; v++) mean += distribution[v] * (float)v;
    f->pictures[one * f->nodes + pixel] = (uint8_t)lrintf(mean < 255 ? mean : 255);
}

/* Replaces the values under the mask's non-zero ones by their expectation given all others. */
static pith_status inpaint(const pith_context *c, const circuit *model, const char *mask_path, pith_tensor *t,
                           pith_error *err) {
    const circuit_tree *tree = &model->tree;
    pith_tensor mask;
    pith_status s = picture_read(mask_path, c, &mask, err);
    if (s) return s;
    int64_t channels = mask.shape[3];
    uint8_t *missing = memory_zero((size_t)tree->nodes, 1);
    if (!missing) {
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a mask");
    } else if (mask.type != PITH_U8 || mask.shape[1] != tree->height || mask.shape[2] != tree->width ||
               (channels != 1 && channels != tree->channels)) {
        s = pith_fail(err, PITH_MISMATCH, mask_path, -1, "expected a mask of %dx%d, found %lldx%lld", tree->width,
                      tree->height, (long long)mask.shape[2], (long long)mask.shape[1]);
    } else {
        for (int32_t i = 0; i < tree->nodes; i++)
            missing[i] = ((const uint8_t *)mask.data)[channels == 1 ? i / tree->channels : i] != 0;
        filling f = {t->data, tree->nodes};
        s = circuit_conditionals(model, c, t->data, t->shape[0], missing, fill_expected, &f, err);
    }
    memory_free(missing);
    pith_tensor_release(&mask);
    return s;
}

static pith_status unpack(const pith_context *c, pith_reader *r, const pith_values *v, const pith_range *only,
                          pith_sink *out, pith_error *err) {
    packed p;
    circuit_model m = {0};
    pith_tensor t = {0};
    pith_status s = read_packed(c, r, &p, err);
    pith_range range = only ? *only : (pith_range){0, p.count};
    if (!s && (range.first < 0 || range.count < 1 || range.first > p.count - range.count))
        s = pith_fail(err, PITH_USAGE, "--only", -1, "expected pictures 0 to %lld, found %lld", (long long)p.count - 1,
                      (long long)range.first);
    if (!s) s = open_model(c, r, v ? pith_value_text(v, "model") : NULL, &p, &m, err);
    if (!s) s = decode_range(c, m.circuit, &p, range, NULL, &t, err);
    if (!s && v && pith_value_text(v, "mask")) s = inpaint(c, m.circuit, pith_value_text(v, "mask"), &t, err);
    if (!s) s = pith_sink_pictures(out, &t, err);
    pith_tensor_release(&t);
    circuit_model_close(&m);
    memory_free(p.sizes);
    return s;
}

/* What each picture takes; left out where the model is not at hand. */
static void describe_rates(pith_reader *r, const packed *p, json_t *o) {
    circuit_model m;
    pith_tensor t = {0};
    float *bits = memory_alloc((size_t)p->count * sizeof *bits);
    bool found = bits && open_model(NULL, r, NULL, p, &m, NULL) == PITH_OK;
    json_object_set_new(o, "model_found", json_boolean(found));
    if (found && decode_range(NULL, m.circuit, p, (pith_range){0, p->count}, bits, &t, NULL) == PITH_OK) {
        double sum = 0;
        json_t *each = json_array();
        for (int64_t n = 0; n < p->count; n++) {
            sum += (double)bits[n];
            json_array_append_new(each, json_real(round((double)bits[n] * 10) / 10));
        }
        json_object_set_new(o, "bits_per_value", json_real(sum / (double)(p->count * m.circuit->tree.nodes)));
        json_object_set_new(o, "picture_bits", each);
    }
    if (found) circuit_model_close(&m);
    pith_tensor_release(&t);
    memory_free(bits);
}

static pith_status describe(pith_reader *r, void *json_object, pith_error *err) {
    packed p;
    char name[17];
    pith_status s = read_packed(NULL, r, &p, err);
    if (!s) {
        snprintf(name, sizeof name, "%016llx", (unsigned long long)p.wanted.name);
        json_object_set_new(json_object, "pictures", json_integer(p.count));
        json_object_set_new(json_object, "width", json_integer(p.wanted.width));
        json_object_set_new(json_object, "height", json_integer(p.wanted.height));
        json_object_set_new(json_object, "channels", json_integer(p.wanted.channels));
        json_object_set_new(json_object, "model", json_string(name));
        json_object_set_new(json_object, "embedded", json_boolean(pith_reader_find(r, kind_model, "circuit") >= 0));
        if (p.count) describe_rates(r, &p, json_object);
    }
    memory_free(p.sizes);
    return s;
}

static const pith_option options[] = {
    {.name = "model", .unit = "FILE", .type = PITH_TEXT, .help = "circuit to code with; else one that comes with pith"},
    {.name = "embed", .type = PITH_FLAG, .help = "carry the model in the packed file"},
    {.name = "mask",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "unpacking: fill in the pixels that are not black in this picture from all others"},
};

const pith_method circuit_method = {
    .id = ID,
    .version = VERSION,
    .kinds = PITH_PICTURE,
    .name = "circuit",
    .summary = "many small pictures of one size, lossless, by a hidden Chow-Liu tree",
    .paper = 3,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .accepts = accepts,
    .pack = pack,
    .unpack = unpack,
    .describe = describe,
    .needs_model = "circuit",
};
