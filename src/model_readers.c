/* model_readers.c - the one list of model formats pith opens, in the order they are tried. */
#include "file/readers.h"
#include "model/pack_reader.h"

const model_reader *const model_readers[] = {
    &packed_reader, &gguf_reader, &safetensors_reader, &llama2c_reader, &huggingface_reader, NULL,
};
