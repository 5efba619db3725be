/* picture/photo_codec.c - the method "photo": photographs of any size, one by one, without loss.
 *
 * A file has a section PHOT for each picture, named by its number, all little-endian: u32 width, u32 height, u8
 * channels, u8 bits of a sample (8 or 16), u16 bytes of the name, u32 bytes of the notes, u32 bytes of the notes
 * decoded; the name, the notes (a zstd frame where that is shorter), the samples as photo_stream.h codes them. */
#include "picture/photo_codec.h"

#include "base/bytes.h"
#include "file/container.h"
#include "file/json.h"
#include "file/sink.h"
#include "file/source.h"
#include "picture/photo_stream.h"

#include <math.h>
#include <string.h>
#include <zstd.h>

enum { HEAD = 20, ID = 4, VERSION = 1, NOTES = 64 << 20 };

static const char kind[4] = {'P', 'H', 'O', 'T'};

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

/* ---- packing ---- */

static pith_status accepts(const pith_source *s, double *seconds, uint64_t *memory, pith_error *why) {
    picture first;
    if (s->kind != PITH_PICTURE) return pith_fail(why, PITH_UNSUPPORTED, s->path, -1, "expected pictures");
    pith_status status = pith_source_picture(s, 0, &first, why);
    if (status) return status;
    *seconds = 2e-6 * (double)pith_tensor_elements(&first.samples) * (double)s->count;
    *memory = 8 * pith_tensor_bytes(&first.samples) + ((uint64_t)64 << 20);
    picture_free(&first);
    return PITH_OK;
}

/* Of the notes, as stored; *out is the notes themselves where zstd gains nothing. */
static pith_status shorten(pith_bytes notes, pith_bytes *out, pith_error *err) {
    size_t room = ZSTD_compressBound(notes.size);
    *out = notes;
    if (!notes.size) return PITH_OK;
    uint8_t *shorter = memory_alloc(room);
    if (!shorter) return no_memory(err);
    size_t n = ZSTD_compress(shorter, room, notes.data, notes.size, 19);
    if (ZSTD_isError(n) || n >= notes.size) memory_free(shorter);
    else *out = (pith_bytes){shorter, n};
    return PITH_OK;
}

static pith_status write_section(pith_writer *w, size_t number, const pith_tensor *t, const char *name,
                                 pith_bytes notes, size_t notes_raw, pith_bytes samples, pith_error *err) {
    char section[24];
    uint8_t head[HEAD];
    size_t length = strlen(name);
    snprintf(section, sizeof section, "%zu", number);
    put32(head, (uint32_t)t->shape[2]), put32(head + 4, (uint32_t)t->shape[1]);
    head[8] = (uint8_t)t->shape[3], head[9] = t->type == PITH_U8 ? 8 : 16;
    put16(head + 10, (uint16_t)length), put32(head + 12, (uint32_t)notes.size), put32(head + 16, (uint32_t)notes_raw);
    pith_section s = {.method = ID,
                      .version = VERSION,
                      .flags = PITH_SECTION_MUST_UNDERSTAND,
                      .raw = pith_tensor_bytes(t),
                      .name = section};
    memcpy(s.kind, kind, 4);
    const pith_bytes part[] = {{head, HEAD}, {(uint8_t *)name, length}, notes, samples};
    pith_status status = pith_writer_begin(w, &s, err);
    for (int i = 0; i < 4 && !status; i++) status = pith_writer_write(w, part[i].data, part[i].size, err);
    return status ? status : pith_writer_end(w, err);
}

/* Decodes what was encoded and compares. */
static pith_status check(const pith_context *c, const pith_tensor *t, pith_bytes samples, pith_error *err) {
    pith_tensor back;
    pith_status s = pith_tensor_new(&back, t->type, 4, t->shape, err);
    if (s) return s;
    s = photo_decode(c, samples, &back, err);
    if (!s && memcmp(back.data, t->data, (size_t)pith_tensor_bytes(t)) != 0)
        s = pith_fail(err, PITH_CORRUPT, "PHOT", -1, "expected the picture that was packed, found another");
    pith_tensor_release(&back);
    return s;
}

static pith_status pack_one(const pith_context *c, const pith_source *source, size_t k, bool verify, pith_writer *w,
                            pith_stats *st, pith_error *err) {
    picture p;
    char name[PHOTO_NAME + 1];
    pith_bytes samples = {0}, notes = {0};
    pith_status s = pith_source_picture(source, k, &p, err);
    if (s) return s;
    pith_source_name(source, k, name, sizeof name);
    if (p.notes.size > NOTES)
        s = pith_fail(err, PITH_LIMIT, name, -1, "expected at most %d bytes of notes, found %zu", NOTES, p.notes.size);
    if (!s) s = photo_encode(c, &p.samples, &samples, err);
    if (!s && verify) s = check(c, &p.samples, samples, err);
    if (!s) s = shorten(p.notes, &notes, err);
    if (!s) s = write_section(w, k, &p.samples, name, notes, p.notes.size, samples, err);
    if (st) st->out_bytes += samples.size;
    if (notes.data != p.notes.data) memory_free(notes.data);
    memory_free(samples.data);
    picture_free(&p);
    return s;
}

static pith_status pack(const pith_context *c, pith_source *source, const pith_values *v, pith_target target,
                        pith_writer *w, pith_stats *st, pith_error *err) {
    bool verify = !(v && pith_value_flag(v, "no-verify"));
    if (target.unit != PITH_FREE)
        return pith_fail(err, PITH_USAGE, "photo", -1, "expected no target of size or quality: photo is lossless");
    pith_status s = PITH_OK;
    if (st) *st = (pith_stats){.in_bytes = source->file_bytes};
    for (size_t k = 0; k < source->count && !s; k++) s = pack_one(c, source, k, verify, w, st, err);
    return s;
}

/* ---- unpacking ---- */

typedef struct packed { /* a PHOT section, checked */
    int64_t shape[4];
    uint16_t type;
    char name[PHOTO_NAME + 1];
    pith_bytes notes, samples;
    size_t notes_raw;
} packed;

static pith_status damaged(pith_error *err, const char *found) {
    return pith_fail(err, PITH_CORRUPT, "PHOT", -1, "expected a packed photograph, found %s", found);
}

/* A name that may become a file's: no folder, nothing hidden, nothing that moves a cursor. */
static bool is_name(const char *name, size_t length) {
    if (!length || length > PHOTO_NAME || name[0] == '.') return false;
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)name[i] < ' ' || name[i] == '/' || name[i] == 127) return false;
    return true;
}

static pith_status parse(pith_bytes in, const pith_context *c, packed *p, pith_error *err) {
    if (in.size < HEAD) return damaged(err, "fewer bytes than its head");
    const uint8_t *h = in.data;
    size_t length = get16(h + 10), notes = get32(h + 12), rest = in.size - HEAD;
    *p = (packed){.shape = {1, get32(h + 4), get32(h), h[8]},
                  .type = h[9] == 16 ? PITH_U16 : PITH_U8,
                  .notes_raw = get32(h + 16)};
    if (p->shape[1] < 1 || p->shape[1] > INT32_MAX || p->shape[2] < 1 || p->shape[2] > INT32_MAX || h[8] < 1 ||
        h[8] > 4 || (h[9] != 8 && h[9] != 16))
        return damaged(err, "a wrong size");
    if (length > rest || notes > rest - length || p->notes_raw > NOTES || notes > p->notes_raw)
        return damaged(err, "wrong lengths");
    if (!is_name((const char *)h + HEAD, length)) return damaged(err, "a name that is no file's");
    memcpy(p->name, h + HEAD, length);
    p->notes = (pith_bytes){in.data + HEAD + length, notes};
    p->samples = (pith_bytes){p->notes.data + notes, rest - length - notes};
    uint64_t bytes;
    pith_tensor layout;
    pith_status s = pith_tensor_layout(&layout, p->type, 4, p->shape, &bytes, err);
    if (s) return s;
    uint64_t samples = (uint64_t)p->shape[1] * (uint64_t)p->shape[2] * (uint64_t)p->shape[3];
    if (samples > photo_samples_limit(p->samples.size) || (c && bytes > c->memory_limit))
        return pith_fail(err, PITH_LIMIT, p->name, -1,
                         "expected a picture within the limit of memory, found %lldx%lld in %zu bytes",
                         (long long)p->shape[2], (long long)p->shape[1], in.size);
    return PITH_OK;
}

static pith_status read_packed(const pith_context *c, pith_reader *r, size_t number, packed *p, pith_error *err) {
    char name[24];
    pith_bytes in;
    snprintf(name, sizeof name, "%zu", number);
    int64_t i = pith_reader_find(r, kind, name);
    if (i < 0) return damaged(err, "another section in its place");
    if (pith_reader_section(r, (size_t)i)->version != VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, "PHOT", -1, "expected version %d, found %d", VERSION,
                         pith_reader_section(r, (size_t)i)->version);
    pith_status s = pith_reader_view(r, (size_t)i, &in, err);
    return s ? s : parse(in, c, p, err);
}

static size_t count_pictures(const pith_reader *r) {
    size_t count = 0;
    for (size_t i = 0; i < pith_reader_count(r); i++) count += memcmp(pith_reader_section(r, i)->kind, kind, 4) == 0;
    return count;
}

static pith_status read_notes(const packed *p, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){0};
    if (!p->notes_raw) return PITH_OK;
    out->data = memory_alloc(p->notes_raw);
    if (!out->data) return no_memory(err);
    out->size = p->notes_raw;
    if (p->notes.size == p->notes_raw) memcpy(out->data, p->notes.data, p->notes_raw);
    else if (ZSTD_decompress(out->data, p->notes_raw, p->notes.data, p->notes.size) != p->notes_raw)
        return damaged(err, "notes that do not decode");
    return PITH_OK;
}

static pith_status decode(const pith_context *c, const packed *p, picture *out, pith_error *err) {
    *out = (picture){0};
    pith_status s = pith_tensor_new(&out->samples, p->type, 4, p->shape, err);
    if (!s) s = photo_decode(c, p->samples, &out->samples, err);
    if (!s) s = read_notes(p, &out->notes, err);
    if (s) picture_free(out);
    return s;
}

pith_status photo_section_read(const pith_context *c, pith_bytes section, picture *out, char name[PHOTO_NAME + 1],
                               pith_error *err) {
    packed p;
    *out = (picture){0};
    pith_status s = parse(section, c, &p, err);
    if (s) return s;
    memcpy(name, p.name, sizeof p.name);
    return decode(c, &p, out, err);
}

static pith_status unpack_one(const pith_context *c, pith_reader *r, size_t number, pith_sink *out, pith_error *err) {
    packed p;
    picture whole;
    pith_status s = read_packed(c, r, number, &p, err);
    if (!s) s = decode(c, &p, &whole, err);
    if (s) return s;
    if (out) s = pith_sink_picture(out, p.name, &whole, err);
    picture_free(&whole);
    return s;
}

static pith_status unpack(const pith_context *c, pith_reader *r, const pith_values *v, const pith_range *only,
                          pith_sink *out, pith_error *err) {
    (void)v;
    int64_t count = (int64_t)count_pictures(r);
    pith_range range = only ? *only : (pith_range){0, count};
    if (only && (range.first < 0 || range.count < 1 || range.first > count - range.count))
        return pith_fail(err, PITH_USAGE, "--only", -1, "expected pictures 0 to %lld, found %lld", (long long)count - 1,
                         (long long)range.first);
    pith_status s = out ? pith_sink_begin(out, (size_t)range.count, err) : PITH_OK;
    if (s) return s;
    for (int64_t k = 0; k < range.count && !s; k++) s = unpack_one(c, r, (size_t)(range.first + k), out, err);
    return out ? pith_sink_end(out, s, err) : s;
}

static pith_status describe(pith_reader *r, void *json_object, pith_error *err) {
    size_t count = count_pictures(r);
    json_t *list = json_array();
    pith_status s = PITH_OK;
    for (size_t k = 0; k < count && !s; k++) {
        packed p;
        s = read_packed(NULL, r, k, &p, err);
        if (s) break;
        double bytes = (double)p.samples.size, pixels = (double)p.shape[1] * (double)p.shape[2];
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:i, s:I, s:I, s:f}", "name", p.name, "width",
                                              (json_int_t)p.shape[2], "height", (json_int_t)p.shape[1], "channels",
                                              (json_int_t)p.shape[3], "bits", p.type == PITH_U8 ? 8 : 16, "bytes",
                                              (json_int_t)p.samples.size, "notes_bytes", (json_int_t)p.notes_raw,
                                              "bits_per_pixel", round(bytes * 8 / pixels * 1e4) / 1e4));
    }
    json_object_set_new(json_object, "pictures", json_integer((json_int_t)count));
    json_object_set_new(json_object, "picture_list", list);
    return s;
}

static const pith_option options[] = {
    {.name = "no-verify", .type = PITH_FLAG, .help = "do not decode and compare what was coded"},
};

const pith_method photo_method = {
    .id = ID,
    .version = VERSION,
    .kinds = PITH_PICTURE,
    .name = "photo",
    .summary = "photographs of any size, 8 or 16 bit, lossless",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .accepts = accepts,
    .pack = pack,
    .unpack = unpack,
    .describe = describe,
};
