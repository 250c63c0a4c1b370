#ifndef SLUICE_CZLIB_H
#define SLUICE_CZLIB_H
#include <zlib.h>

/* Macros in zlib.h, which hand over the version and the size that this header was compiled with. */
static inline int sl_inflate_init(z_streamp stream, int window_bits) { return inflateInit2(stream, window_bits); }
static inline int sl_deflate_init(z_streamp stream, int level, int window_bits, int memory_level) {
    return deflateInit2(stream, level, Z_DEFLATED, window_bits, memory_level, Z_DEFAULT_STRATEGY);
}
#endif
