#ifndef SLUICE_CAres_H
#define SLUICE_CAres_H
#include <ares.h>
#endif
