/* train/order.c - a shuffled order per epoch, kept until another epoch is asked for. */
#include "train/order.h"

#include "base/memory.h"
#include "base/rng.h"

#include <string.h>

pith_status order_open(sample_order *o, int64_t count, pith_error *err) {
    *o = (sample_order){.count = count, .epoch = -1};
    o->numbers = memory_zero((size_t)count, sizeof *o->numbers);
    return o->numbers ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

void order_close(sample_order *o) {
    memory_free(o->numbers);
    memset(o, 0, sizeof *o);
}

uint32_t order_at(sample_order *o, uint64_t seed, int64_t position) {
    int64_t epoch = position / o->count;
    if (epoch != o->epoch || seed != o->seed) {
        for (int64_t i = 0; i < o->count; i++) o->numbers[i] = (uint32_t)i;
        rng r = rng_new(seed, 0x6f72646572u ^ (uint64_t)epoch << 40);
        rng_shuffle(&r, o->numbers, (uint32_t)o->count);
        o->epoch = epoch, o->seed = seed;
    }
    return o->numbers[position % o->count];
}
