/* What innkeeper.c needs of msgpack.c beside innkeeper.h. */
#ifndef INNKEEPER_MSGPACK_H
#define INNKEEPER_MSGPACK_H

#include "innkeeper.h"

/* NULL where the bytes are one well-formed value and nothing else; otherwise what is wrong with them, as "is cut
 * off". Every other function of this library relies on this check. */
const char *ik_problem_of(const uint8_t *at, const uint8_t *end);

#endif
