/* fuzz.h - what every fuzz target defines: the entry of libFuzzer, and the inputs mutations start from. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input, of any bytes: nothing it does may crash, leak, hang or take memory the input does not pay for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Seed k: its size, and *data, which the caller frees with free(); 0 when there are no more. */
size_t fuzz_seed(int k, uint8_t **data);

#endif
