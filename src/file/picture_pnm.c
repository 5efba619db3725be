/* file/picture_pnm.c - PGM and PPM (netpbm's pgm(5), ppm(5)): P5 and P6 with binary samples, P2 and P3 with written
 * ones.
 *
 * A maximum of 255 gives u8, 65535 gives u16 (big-endian in the file); others are refused, since the tensor could not
 * say what white is. */
#include "file/picture_formats.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

typedef struct pnm_cursor {
    pith_bytes in;
    size_t at;
} pnm_cursor;

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void skip_spaces_and_comments(pnm_cursor *p) {
    while (p->at < p->in.size) {
        if (p->in.data[p->at] == '#')
            while (p->at < p->in.size && p->in.data[p->at] != '\n') p->at++;
        else if (!is_space(p->in.data[p->at])) return;
        else p->at++;
    }
}

/* A decimal number up to `most`. */
static pith_status take_number(pnm_cursor *p, uint64_t most, uint64_t *out, const char *where, pith_error *err) {
    skip_spaces_and_comments(p);
    size_t from = p->at;
    for (*out = 0; p->at < p->in.size && p->in.data[p->at] >= '0' && p->in.data[p->at] <= '9'; p->at++) {
        *out = *out * 10 + (uint64_t)(p->in.data[p->at] - '0');
        if (*out > most)
            return pith_fail(err, PITH_CORRUPT, where, (int64_t)from, "expected a number up to %llu",
                             (unsigned long long)most);
    }
    if (p->at > from) return PITH_OK;
    return pith_fail(err, p->at == p->in.size ? PITH_TRUNCATED : PITH_CORRUPT, where, (int64_t)from,
                     "expected a number");
}

static pith_status read_binary(pnm_cursor *p, const char *where, pith_tensor *out, pith_error *err) {
    uint64_t bytes = pith_tensor_bytes(out), left = p->in.size - p->at;
    if (left != bytes)
        return pith_fail(err, left < bytes ? PITH_TRUNCATED : PITH_CORRUPT, where, (int64_t)p->at,
                         "expected %llu bytes of samples, found %llu", (unsigned long long)bytes,
                         (unsigned long long)left);
    const uint8_t *in = p->in.data + p->at;
    if (out->type == PITH_U8) memcpy(out->data, in, bytes);
    else
        for (uint64_t i = 0; i < bytes / 2; i++)
            ((uint16_t *)out->data)[i] = (uint16_t)(in[2 * i] << 8 | in[2 * i + 1]);
    return PITH_OK;
}

static pith_status read_written(pnm_cursor *p, uint64_t most, const char *where, pith_tensor *out, pith_error *err) {
    int64_t n = pith_tensor_elements(out);
    for (int64_t i = 0; i < n; i++) {
        uint64_t v;
        pith_status s = take_number(p, most, &v, where, err);
        if (s != PITH_OK) return s;
        if (out->type == PITH_U8) ((uint8_t *)out->data)[i] = (uint8_t)v;
        else ((uint16_t *)out->data)[i] = (uint16_t)v;
    }
    skip_spaces_and_comments(p);
    if (p->at == p->in.size) return PITH_OK;
    return pith_fail(err, PITH_CORRUPT, where, (int64_t)p->at, "expected the end of the file");
}

pith_status picture_read_pnm(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                             pith_error *err) {
    pnm_cursor p = {file, 2};
    char kind = (char)file.data[1];
    bool written = kind == '2' || kind == '3';
    int channels = kind == '3' || kind == '6' ? 3 : 1;
    uint64_t width, height, most;
    pith_status s = take_number(&p, INT32_MAX, &width, where, err);
    if (s == PITH_OK) s = take_number(&p, INT32_MAX, &height, where, err);
    if (s == PITH_OK) s = take_number(&p, 65535, &most, where, err);
    if (s != PITH_OK) return s;
    if (most != 255 && most != 65535)
        return pith_fail(err, PITH_UNSUPPORTED, where, (int64_t)p.at, "expected a maximum of 255 or 65535, found %llu",
                         (unsigned long long)most);
    if (p.at == file.size || !is_space(file.data[p.at]))
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)p.at, "expected samples after the header");
    p.at++;
    /* Each sample takes at least a byte, or a digit and a space: no allocation for a file that cannot hold them. */
    uint64_t pixels = width * height; /* both below 2^31 */
    if (pixels > (file.size - p.at) / (uint64_t)channels + 1)
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)p.at, "expected %llu pixels, the file ends",
                         (unsigned long long)pixels);
    s = picture_new(c, where, most == 255 ? PITH_U8 : PITH_U16, height, width, channels, out, err);
    if (s != PITH_OK) return s;
    s = written ? read_written(&p, most, where, out, err) : read_binary(&p, where, out, err);
    if (s != PITH_OK) pith_tensor_release(out);
    return s;
}

pith_status picture_write_pnm(output *o, picture_view v, pith_error *err) {
    char head[64];
    int n = snprintf(head, sizeof head, "P%c\n%u %u\n%d\n", v.channels == 3 ? '6' : '5', v.width, v.height,
                     v.type == PITH_U16 ? 65535 : 255);
    pith_status s = output_write(o, head, (size_t)n, err);
    size_t row = (size_t)v.width * (size_t)v.channels;
    if (v.type == PITH_U8) return s == PITH_OK ? output_write(o, v.data, row * v.height, err) : s;
    uint8_t *swapped = memory_alloc(2 * row);
    if (!swapped) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (uint32_t y = 0; y < v.height && s == PITH_OK; y++) {
        const uint16_t *in = (const uint16_t *)v.data + y * row;
        for (size_t i = 0; i < row; i++) swapped[2 * i] = (uint8_t)(in[i] >> 8), swapped[2 * i + 1] = (uint8_t)in[i];
        s = output_write(o, swapped, 2 * row, err);
    }
    memory_free(swapped);
    return s;
}
