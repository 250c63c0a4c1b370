#ifndef SLUICE_CBROTLI_DECODER_H
#define SLUICE_CBROTLI_DECODER_H
#include <brotli/decode.h>
#endif
