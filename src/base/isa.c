/* base/isa.c - what the processor has, what the user allows. */
#include "base/isa.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#if defined(PITH_HAVE_X86_ISA) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[ISA_LEVELS] = {"scalar", "avx2", "avx512", "amx"};
static atomic_int active = -1, detected = -1;

const char *isa_name(isa_level level) { return names[level]; }

#if defined(PITH_HAVE_X86_ISA)
/* The processor has AMX, and the system lets this process use it: threads that are begun afterwards inherit that. */
static bool has_tiles(void) {
#if defined(__linux__)
    enum { ASK = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM of <asm/prctl.h>; a component of the saved state */
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool has = d >> 22 & d >> 24 & d >> 25 & 1; /* AMX-BF16, AMX-TILE, AMX-INT8 */
    return has && syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
#else
    return false;
#endif
}

static isa_level detect(void) {
#define HAS(f) __builtin_cpu_supports(f)
    __builtin_cpu_init();
    if (!(HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2") && HAS("popcnt"))) return ISA_SCALAR;
    if (HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl") && HAS("avx512cd") &&
        HAS("avx512vbmi") && HAS("avx512vbmi2") && HAS("avx512vnni") && HAS("avx512bf16") && HAS("avx512vpopcntdq") &&
        HAS("avx512bitalg"))
        return has_tiles() ? ISA_AMX : ISA_AVX512;
    return ISA_AVX2;
#undef HAS
}
#else
static isa_level detect(void) { return ISA_SCALAR; }
#endif

isa_level isa_detected(void) {
    int d = atomic_load_explicit(&detected, memory_order_relaxed);
    if (d < 0) {
        d = (int)detect();
        atomic_store_explicit(&detected, d, memory_order_relaxed);
    }
    return (isa_level)d;
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
    log_warn("PITH_ISA: expected scalar, avx2, avx512 or amx, found \"%s\"", wish);
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
