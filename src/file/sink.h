/* file/sink.h - where a method of unpack puts what it decodes. */
#ifndef FILE_SINK_H
#define FILE_SINK_H

#include "file/pictures.h"
#include "pith/method.h"

struct pith_sink {
    const char *path; /* its ending chooses the format, as in pictures.h */
    bool replace;
    pictures_folder *folder; /* between pith_sink_begin and pith_sink_end, for a path that ends in "/" */
};

/* Pictures (N,H,W,C) of u8, all at once; the file appears whole or not at all. */
pith_status pith_sink_pictures(pith_sink *k, const pith_tensor *pictures, pith_error *err);

/* Pictures of any size one by one: `count` of them to come, each under its name (the file's where path ends in "/"),
 * then the end with the status so far, which it returns if it is not PITH_OK: a folder appears whole or not at all. */
pith_status pith_sink_begin(pith_sink *k, size_t count, pith_error *err);
pith_status pith_sink_picture(pith_sink *k, const char *name, const picture *p, pith_error *err);
pith_status pith_sink_end(pith_sink *k, pith_status so_far, pith_error *err);

#endif
