/* file/pictures.h - sets of pictures: equal-sized ones of 8 bit as one tensor (N,H,W,C) of u8, and folders. */
#ifndef FILE_PICTURES_H
#define FILE_PICTURES_H

#include "file/picture.h"

/* path: an IDX file, plain or gzipped, of (N,H,W) or (N,H,W,C); a folder, whose pictures are taken in the order of
 * their names' bytes (other files are passed over); or one picture. PITH_MISMATCH, with the file's name, when sizes or
 * channels differ; PITH_UNSUPPORTED for 16-bit samples; PITH_LIMIT as c->memory_limit says (c may be NULL). */
pith_status pictures_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err);

/* path ends in .png, .pgm, .ppm or .pnm: one picture (N must be 1). Ends in "/": a new or empty folder of 000000.png,
 * 000001.png ..., which appears whole or not at all. Else IDX, gzipped for ".gz", of rank 3 when C is 1. */
pith_status pictures_write(const char *path, bool replace, const pith_tensor *t, pith_error *err);

/* Paths of the pictures in a folder, in the order of their names' bytes, appended to *files (an array of *count);
 * each and the array are the caller's (memory_free), also after a failure. PITH_NOT_FOUND where there are none. */
pith_status pictures_list(const char *folder, char ***files, size_t *count, pith_error *err);

/* The same for pictures given one by one as a whole. */
pith_status pictures_read_files(char *const *files, size_t count, const char *where, const pith_context *c,
                                pith_tensor *out, pith_error *err);

/* A new or empty folder of PNG that appears whole or not at all. `path` must outlive it. */
typedef struct pictures_folder pictures_folder;
pith_status pictures_folder_open(pictures_folder **f, const char *path, pith_error *err);
/* As name.png; PITH_MISMATCH where there is one already. */
pith_status pictures_folder_add(pictures_folder *f, const char *name, const picture *p, pith_error *err);
/* Renames it into place where so_far is PITH_OK, else removes it and returns so_far. Frees f always. */
pith_status pictures_folder_close(pictures_folder *f, pith_status so_far, pith_error *err);

#endif
