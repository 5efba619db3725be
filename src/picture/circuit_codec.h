/* picture/circuit_codec.h - the method "circuit", for the table in src/methods.c. */
#ifndef PICTURE_CIRCUIT_CODEC_H
#define PICTURE_CIRCUIT_CODEC_H

#include "pith/method.h"

extern const pith_method circuit_method;

#endif
