#ifndef SLUICE_CNghttp2_H
#define SLUICE_CNghttp2_H
#include <nghttp2/nghttp2.h>
#endif
