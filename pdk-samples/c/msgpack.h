/* What the other files of this library need of msgpack.c beside innkeeper.h. */
#ifndef INNKEEPER_MSGPACK_H
#define INNKEEPER_MSGPACK_H

#include "innkeeper.h"

/* NULL where the bytes are one well-formed value and nothing else; otherwise what is wrong with them, as "is cut
 * off". Every other function of this library relies on this check. */
const char *ik_problem_of(const uint8_t *at, const uint8_t *end);

/* As `ik_next`; adds to `values` how many values the item is, itself, keys and what lies in it included. */
ik_value ik_next_counted(ik_value item, size_t *values);

/* Bytes that are values already. */
void ik_write_raw(ik_writer *writer, const uint8_t *bytes, size_t size);

#endif
