#ifndef SLUICE_CBROTLI_H
#define SLUICE_CBROTLI_H
#include <brotli/encode.h>
#endif
