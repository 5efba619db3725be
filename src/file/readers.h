/* file/readers.h - the model formats of this room, for the table in src/model_readers.c. */
#ifndef FILE_READERS_H
#define FILE_READERS_H

#include "file/model_source.h"

extern const model_reader gguf_reader, safetensors_reader, llama2c_reader, huggingface_reader;

#endif
