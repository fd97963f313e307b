/* A value as people read it. */
#ifndef CORE_STREAMS_SHOW_H
#define CORE_STREAMS_SHOW_H

#include "innkeeper.h"

enum { SHOWN_SIZE = 200 };

/* Writes a value like JSON into `to`, which has room for SHOWN_SIZE bytes; "..." is at the end of what did not fit.
 * Answers how many bytes it wrote, which are UTF-8. */
size_t show(ik_value value, char *to);

#endif
