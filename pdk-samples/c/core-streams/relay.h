/* A node that reads `inputStream` to its end and writes what becomes of each item to `outputStream`. */
#ifndef CORE_STREAMS_RELAY_H
#define CORE_STREAMS_RELAY_H

#include "innkeeper.h"

/* Writes what one item becomes; false where memory ran out. `context` is the node's own. */
typedef bool (*relay_item)(ik_value item, ik_writer *items, void *context);

/* Answers for the node: it ends well with the stream that it reads, and also when nobody reads what it writes. */
int32_t relay(relay_item each, void *context);

#endif
