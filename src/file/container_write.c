/* file/container_write.c - sections one after the other, then the index, then the trailer, then the header's numbers.
 */
#include "file/container.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/container_layout.h"
#include "file/output.h"

#include <assert.h>

struct pith_writer {
    output *out;
    bool stream, open_section;
    uint8_t *index;
    size_t index_size, index_capacity;
    uint64_t count;
    hash_state *hash;
    uint64_t begun; /* where the open section's bytes start */
};

static void put_magic(uint8_t *p) { memcpy(p, CONTAINER_MAGIC, 8); }

static void put_frame(uint8_t *p, const char *mark, uint64_t size, uint64_t index_at, uint64_t index_size,
                      uint64_t index_hash, uint64_t count) {
    memset(p, 0, FRAME);
    put_magic(p);
    memcpy(p + 9, mark, strlen(mark));
    put16(p + 12, PITH_CONTAINER_MAJOR);
    put16(p + 14, PITH_CONTAINER_MINOR);
    put64(p + 16, size);
    put64(p + 24, index_at);
    put64(p + 32, index_size);
    put64(p + 40, index_hash);
    put64(p + 48, count);
    put64(p + 56, hash_bytes(p, 56));
}

static void free_writer(pith_writer *w) {
    hash_free(w->hash);
    memory_free(w->index);
    memory_free(w);
}

pith_status pith_writer_open(pith_writer **out, const char *path, bool replace, pith_error *err) {
    pith_writer *w = memory_zero(1, sizeof *w);
    if (!w || !(w->hash = hash_new())) {
        memory_free(w);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    w->stream = strcmp(path, "-") == 0;
    pith_status s = output_open(&w->out, path, replace, err);
    uint8_t header[FRAME];
    put_frame(header, "", 0, 0, 0, 0, 0);
    if (s == PITH_OK) s = output_write(w->out, header, FRAME, err);
    if (s == PITH_OK) *out = w;
    else {
        output_abort(w->out);
        free_writer(w);
    }
    return s;
}

static pith_status pad(pith_writer *w, pith_error *err) {
    static const uint8_t zeros[ALIGNMENT];
    uint64_t at = output_position(w->out);
    return output_write(w->out, zeros, (size_t)(round_up(at, ALIGNMENT) - at), err);
}

pith_status pith_writer_begin(pith_writer *w, const pith_section *s, pith_error *err) {
    assert(!w->open_section);
    size_t length = strlen(s->name), size = ENTRY + (size_t)round_up(length, NAME_ALIGNMENT);
    assert(length <= NAME_LONGEST);
    if (memory_reserve((void **)&w->index, &w->index_capacity, w->index_size + size, 1))
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status status = pad(w, err);
    if (status != PITH_OK) return status;
    w->begun = output_position(w->out);
    uint8_t *e = w->index + w->index_size;
    memset(e, 0, size);
    memcpy(e, s->kind, 4);
    put16(e + 4, s->method);
    put16(e + 6, s->version);
    put32(e + 8, s->flags);
    put32(e + 12, (uint32_t)length);
    put64(e + 16, w->begun);
    put64(e + 32, s->raw);
    memcpy(e + ENTRY, s->name, length);
    hash_reset(w->hash);
    w->open_section = true;
    return PITH_OK;
}

pith_status pith_writer_write(pith_writer *w, const void *p, size_t n, pith_error *err) {
    assert(w->open_section);
    hash_update(w->hash, p, n);
    return output_write(w->out, p, n, err);
}

pith_status pith_writer_end(pith_writer *w, pith_error *err) {
    (void)err; /* nothing is written here; the signature leaves room for that */
    assert(w->open_section);
    uint8_t *e = w->index + w->index_size;
    put64(e + 24, output_position(w->out) - w->begun);
    put64(e + 40, hash_digest(w->hash));
    w->index_size += ENTRY + (size_t)round_up(get32(e + 12), NAME_ALIGNMENT);
    w->count++;
    w->open_section = false;
    return PITH_OK;
}

pith_status pith_writer_commit_checked(pith_writer *w, const output_check *check, pith_error *err) {
    assert(!w->open_section);
    pith_status s = pad(w, err);
    uint64_t at = output_position(w->out), hash = hash_bytes(w->index, w->index_size);
    if (s == PITH_OK) s = output_write(w->out, w->index, w->index_size, err);
    if (s == PITH_OK) s = pad(w, err);
    uint64_t size = output_position(w->out) + FRAME;
    uint8_t frame[FRAME];
    put_frame(frame, "END", size, at, w->index_size, hash, w->count);
    if (s == PITH_OK) s = output_write(w->out, frame, FRAME, err);
    put_frame(frame, "", size, at, w->index_size, hash, 0);
    if (s == PITH_OK && !w->stream) s = output_write_at(w->out, 0, frame, FRAME, err);
    if (s == PITH_OK) s = output_commit_checked(w->out, check, err);
    else output_abort(w->out);
    free_writer(w);
    return s;
}

pith_status pith_writer_commit(pith_writer *w, pith_error *err) { return pith_writer_commit_checked(w, NULL, err); }

void pith_writer_abort(pith_writer *w) {
    if (!w) return;
    output_abort(w->out);
    free_writer(w);
}
