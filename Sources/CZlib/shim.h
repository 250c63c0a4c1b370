#ifndef SLUICE_CZLIB_H
#define SLUICE_CZLIB_H
#include <zlib.h>

/* A macro in zlib.h, which hands over the version and the size that this header was compiled with. */
static inline int sl_inflate_init(z_streamp stream, int window_bits) { return inflateInit2(stream, window_bits); }
#endif
