/* base/isa.c - what the processor has, what the user allows. */
#include "base/isa.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[ISA_LEVELS] = {"scalar", "avx2", "avx512"};
static atomic_int active = -1;

const char *isa_name(isa_level level) { return names[level]; }

isa_level isa_detected(void) {
#if defined(PITH_HAVE_X86_ISA)
#define HAS(f) __builtin_cpu_supports(f)
    __builtin_cpu_init();
    if (!(HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2") && HAS("popcnt"))) return ISA_SCALAR;
    if (HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl") && HAS("avx512cd") &&
        HAS("avx512vbmi") && HAS("avx512vbmi2") && HAS("avx512vnni") && HAS("avx512bf16") && HAS("avx512vpopcntdq") &&
        HAS("avx512bitalg"))
        return ISA_AVX512;
    return ISA_AVX2;
#undef HAS
#else
    return ISA_SCALAR;
#endif
}

static isa_level choose(void) {
    isa_level have = isa_detected();
    const char *wish = getenv("PITH_ISA");
    if (!wish || !*wish) return have;
    for (int i = 0; i < ISA_LEVELS; i++) {
        if (strcmp(wish, names[i]) != 0) continue;
        if ((isa_level)i > have) {
            log_warn("PITH_ISA=%s: this machine or build has only %s", wish, names[have]);
            return have;
        }
        return (isa_level)i;
    }
    log_warn("PITH_ISA: expected scalar, avx2 or avx512, found \"%s\"", wish);
    return have;
}

isa_level isa_active(void) {
    int a = atomic_load_explicit(&active, memory_order_relaxed);
    if (a < 0) {
        a = (int)choose();
        atomic_store_explicit(&active, a, memory_order_relaxed);
    }
    return (isa_level)a;
}

void isa_force(isa_level level) {
    isa_level have = isa_detected();
    atomic_store(&active, (int)(level > have ? have : level));
}
