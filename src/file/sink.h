/* file/sink.h - where a method of unpack puts what it decodes. */
#ifndef FILE_SINK_H
#define FILE_SINK_H

#include "pith/method.h"
#include "tensor/tensor.h"

struct pith_sink {
    const char *path; /* its ending chooses the format, as in pictures.h */
    bool replace;
};

/* Pictures (N,H,W,C) of u8, all at once; the file appears whole or not at all. */
pith_status pith_sink_pictures(pith_sink *k, const pith_tensor *pictures, pith_error *err);

#endif
