/* The model of mixed opinions: comes back, learns what there is to learn, and stays the stream it is. */
#include "harness.h"

#include "base/hash.h"
#include "base/rng.h"
#include "code/mixing.h"

#include <math.h>

enum { BITS = 200000, CLASSES = 16 };

/* What a source tells of each bit: two classes as contexts, masses of the two sides as an expert's. */
typedef struct source {
    uint8_t bit[BITS], context[2][BITS];
    int32_t yes[BITS];
    double entropy; /* bits in the whole, by the true probabilities */
} source;

typedef void (*play)(mixing *m, const source *s, binary_coder *c, uint8_t *bits);

/* One decision after the other; every input of the shape is used. */
MIXING_INLINE void play_bits(mixing *m, const mixing_shape *shape, const source *s, binary_coder *c, uint8_t *bits,
                             int first_slot) {
    for (size_t i = 0; i < BITS; i++) {
        int32_t mass[MIXING_LANES] = {s->yes[i], MIXING_FULL - s->yes[i]}, log[MIXING_LANES];
        for (int k = 0; k < shape->slots; k++) m->context[k] = s->context[first_slot + k][i];
        m->set[0] = m->set[1] = 0;
        m->curve[0] = m->curve[1] = s->context[0][i];
        mixing_logs(m->tables, mass, log);
        if (shape->experts) *mixing_experts(m, shape) = mixing_limit(log[0] - log[1], -MIXING_LOGIT, MIXING_LOGIT);
        bits[i] = (uint8_t)mixing_decide(m, shape, c, 0, bits[i]);
    }
}

#define SHAPE(e, s, k, c)                                                                                            \
    {                                                                                                                \
        .nodes = 1, .experts = e, .slots = s, .inputs = 8, .mixers = k, .sets = 1, .curves = c,                      \
        .curve_contexts = CLASSES, .expert_weight = MIXING_WEIGHT / (e + s), .slot_weight = MIXING_WEIGHT / (e + s), \
        .rarest = 16, .contexts = {                                                                                  \
            CLASSES,                                                                                                 \
            CLASSES                                                                                                  \
        }                                                                                                            \
    }
#define PLAYER(name, e, s, k, c, first_slot)                                              \
    static const mixing_shape name##_shape = SHAPE(e, s, k, c);                           \
    static void name(mixing *m, const source *from, binary_coder *coder, uint8_t *bits) { \
        play_bits(m, &name##_shape, from, coder, bits, first_slot);                       \
    }
PLAYER(first_slot_alone, 0, 1, 1, 0, 0)
PLAYER(second_slot_alone, 0, 1, 1, 0, 1)
PLAYER(expert_alone, 1, 0, 1, 0, 0)
PLAYER(all_mixed, 1, 2, 1, 0, 0)
PLAYER(all_mixed_twice_with_curves, 1, 2, 2, 2, 0)

static pith_bytes encoded(const mixing_shape *shape, play p, const source *s) {
    static uint8_t bits[BITS];
    mixing m;
    binary_coder c = {.decoding = false};
    assert_true(mixing_start(&m, shape));
    binary_encode_open(&c.out);
    memcpy(bits, s->bit, BITS);
    p(&m, s, &c, bits);
    assert_memory_equal(bits, s->bit, BITS);
    assert_true(binary_encode_close(&c.out));
    mixing_free(&m);
    return (pith_bytes){c.out.bytes, c.out.size};
}

static void assert_comes_back(const mixing_shape *shape, play p, const source *s, pith_bytes in) {
    static uint8_t bits[BITS];
    mixing m;
    binary_coder c = {.decoding = true};
    assert_true(mixing_start(&m, shape));
    binary_decode_open(&c.in, in);
    memset(bits, 0, BITS);
    p(&m, s, &c, bits);
    assert_int_equal(binary_decode_close(&c.in), in.size);
    assert_memory_equal(bits, s->bit, BITS);
    mixing_free(&m);
}

static double bits_of(const mixing_shape *shape, play p, const source *s) {
    pith_bytes b = encoded(shape, p, s);
    assert_comes_back(shape, p, s, b);
    memory_free(b.data);
    return 8.0 * (double)b.size;
}
#define BITS_OF(name, s) bits_of(&name##_shape, name, s)

/* A bit is set with probability f(of both classes, of the expert's logit), all independent. */
static source *draw(double (*f)(int a, int b, double logit), uint64_t seed) {
    static source s;
    rng r = rng_new(seed, 0);
    s.entropy = 0;
    for (size_t i = 0; i < BITS; i++) {
        int a = (int)rng_below(&r, CLASSES), b = (int)rng_below(&r, CLASSES);
        double logit = ((double)rng_below(&r, 4001) - 2000) / 1000;
        double p = f(a, b, logit);
        s.context[0][i] = (uint8_t)a, s.context[1][i] = (uint8_t)b;
        s.yes[i] = (int32_t)(MIXING_FULL / (1 + exp(-logit)));
        s.bit[i] = rng_below(&r, 1 << 24) < p * (1 << 24);
        s.entropy -= s.bit[i] ? log2(p) : log2(1 - p);
    }
    return &s;
}

static double rarely(int a, int b, double logit) {
    (void)a, (void)b, (void)logit;
    return 0.03;
}

static double by_first_class(int a, int b, double logit) {
    (void)b, (void)logit;
    return (a + 0.5) / CLASSES;
}

/* Each class moves the odds by a factor of its own, the expert knows the rest: the sum of three logits. */
static double by_all(int a, int b, double logit) {
    return 1 / (1 + exp(-(logit + 0.4 * (a - 7.5) + 0.3 * ((b * 5 % CLASSES) - 7.5))));
}

static void assert_within(double bits, double entropy, double percent) {
    if (bits > entropy * (1 + percent / 100)) fail_msg("%.0f bits, entropy %.0f", bits, entropy);
}

static void a_biased_source_costs_little_more_than_its_entropy(void **state) {
    (void)state;
    source *s = draw(rarely, 1);
    assert_within(BITS_OF(first_slot_alone, s), s->entropy, 2);
    assert_within(BITS_OF(all_mixed_twice_with_curves, s), s->entropy, 2);
}

static void a_slot_learns_its_contexts(void **state) {
    (void)state;
    source *s = draw(by_first_class, 2);
    assert_within(BITS_OF(first_slot_alone, s), s->entropy, 1);
    assert_true(BITS_OF(second_slot_alone, s) > 0.99 * BITS);
    assert_within(BITS_OF(all_mixed, s), s->entropy, 1);
}

static void a_mixture_beats_each_of_its_inputs(void **state) {
    (void)state;
    source *s = draw(by_all, 3);
    double mixed = BITS_OF(all_mixed, s), least = BITS_OF(expert_alone, s);
    least = fmin(least, fmin(BITS_OF(first_slot_alone, s), BITS_OF(second_slot_alone, s)));
    if (mixed > 0.75 * least) fail_msg("mixed %.0f bits, the best input %.0f", mixed, least);
    assert_within(mixed, s->entropy, 2);
    assert_within(BITS_OF(all_mixed_twice_with_curves, s), s->entropy, 2.5);
}

/* Without a function of the math library. */
static source *draw_integers(void) {
    static source s;
    rng r = rng_new(4, 0);
    for (size_t i = 0; i < BITS; i++) {
        uint32_t a = rng_below(&r, CLASSES), b = rng_below(&r, CLASSES), c = rng_below(&r, 64);
        s.context[0][i] = (uint8_t)a, s.context[1][i] = (uint8_t)b;
        s.yes[i] = (int32_t)(c << 24);
        s.bit[i] = rng_below(&r, 96) < a + b + c;
    }
    return &s;
}

/* Such streams stand in files of photographs: whatever changes these bytes needs a new version of their format. */
static void streams_are_pinned(void **state) {
    (void)state;
    pith_bytes b = encoded(&all_mixed_twice_with_curves_shape, all_mixed_twice_with_curves, draw_integers());
    uint64_t found = hash_bytes(b.data, b.size);
    memory_free(b.data);
    if (found != 0xe0656cd3087b5b53) fail_msg("found %016llx", (unsigned long long)found);
}

static void a_failed_allocation_is_told(void **state) {
    (void)state;
    mixing m;
    for (int n = 1;; n++) {
        memory_fail_at(n);
        bool ok = mixing_start(&m, &all_mixed_twice_with_curves_shape);
        memory_fail_at(0);
        mixing_free(&m);
        if (ok) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_biased_source_costs_little_more_than_its_entropy),
        cmocka_unit_test(a_slot_learns_its_contexts),
        cmocka_unit_test(a_mixture_beats_each_of_its_inputs),
        cmocka_unit_test(streams_are_pinned),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
