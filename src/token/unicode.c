/* token/unicode.c - UTF-8 and character classes. Broken bytes are kept apart one by one, never dropped: what is
 * encoded must come back. */
#include "token/unicode.h"

static const uint16_t ascii_class[128] = {
    ['\t'] = UNICODE_SPACE,
    ['\n'] = UNICODE_SPACE,
    ['\v'] = UNICODE_SPACE,
    ['\f'] = UNICODE_SPACE,
    ['\r'] = UNICODE_SPACE,
    [' '] = UNICODE_SPACE,
    ['!' ... '#'] = UNICODE_PUNCTUATION,
    ['$'] = UNICODE_SYMBOL,
    ['%' ... '*'] = UNICODE_PUNCTUATION,
    ['+'] = UNICODE_SYMBOL,
    [',' ... '/'] = UNICODE_PUNCTUATION,
    ['0' ... '9'] = UNICODE_NUMBER,
    [':' ... ';'] = UNICODE_PUNCTUATION,
    ['<' ... '>'] = UNICODE_SYMBOL,
    ['?' ... '@'] = UNICODE_PUNCTUATION,
    ['A' ... 'Z'] = UNICODE_UPPER,
    ['[' ... ']'] = UNICODE_PUNCTUATION,
    ['^'] = UNICODE_SYMBOL,
    ['_'] = UNICODE_PUNCTUATION,
    ['`'] = UNICODE_SYMBOL,
    ['a' ... 'z'] = UNICODE_LOWER,
    ['{'] = UNICODE_PUNCTUATION,
    ['|'] = UNICODE_SYMBOL,
    ['}'] = UNICODE_PUNCTUATION,
    ['~'] = UNICODE_SYMBOL,
};

uint32_t unicode_class(uint32_t point) {
    if (point < 128) return ascii_class[point];
    size_t low = 0, high = unicode_run_count; /* unicode_runs[low] starts at or before point */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (unicode_runs[middle] >> 4 <= point) low = middle;
        else high = middle;
    }
    uint32_t place = unicode_runs[low] & 15;
    return place ? 1u << place : 0;
}

/* Bytes a lead byte announces, and the least point that needs as many. */
static uint32_t announced(uint8_t lead, uint32_t *least, uint32_t *bits) {
    if (lead >= 0xc2 && lead < 0xe0) return *least = 0x80, *bits = lead & 31, 2;
    if (lead >= 0xe0 && lead < 0xf0) return *least = 0x800, *bits = lead & 15, 3;
    if (lead >= 0xf0 && lead < 0xf5) return *least = 0x10000, *bits = lead & 7, 4;
    return 0;
}

uint32_t unicode_well_formed(const uint8_t *text, size_t size, uint32_t *point) {
    *point = text[0];
    if (text[0] < 0x80) return 1;
    uint32_t least, value, n = announced(text[0], &least, &value);
    if (n == 0 || n > size) return 0;
    for (uint32_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (text[i] & 63);
    }
    if (value < least || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
    *point = value;
    return n;
}

unicode_char unicode_read(const uint8_t *text, size_t size) {
    if (text[0] < 0x80) return (unicode_char){text[0], ascii_class[text[0]], 1};
    uint32_t point, n = unicode_well_formed(text, size, &point);
    if (n == 0) return (unicode_char){0xfffd, UNICODE_SYMBOL, 1};
    return (unicode_char){point, unicode_class(point), n};
}

size_t unicode_complete(const uint8_t *text, size_t size) {
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        uint8_t b = text[size - back];
        if ((b & 0xc0) == 0x80) continue;
        uint32_t least, bits;
        return announced(b, &least, &bits) > back ? size - back : size;
    }
    return size;
}

uint32_t unicode_write(uint32_t point, uint8_t out[4]) {
    if (point < 0x80) return out[0] = (uint8_t)point, 1;
    uint32_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (uint32_t i = n; i-- > 1; point >>= 6) out[i] = (uint8_t)(0x80 | (point & 63));
    out[0] = (uint8_t)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | point);
    return n;
}
