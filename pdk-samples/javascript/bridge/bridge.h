/* What the host offers beyond the ABI, for scripts: `innkeeper.call(operation, arguments)`. */
#ifndef INNKEEPER_JAVASCRIPT_BRIDGE_H
#define INNKEEPER_JAVASCRIPT_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* An operation of a service, such as "kb.search", and the host function that it is. */
struct innkeeper_operation {
    const char *name;
    uint64_t (*function)(uint64_t block);
};

/* Those of the capabilities that the manifest requests; none where it requests none. Generated for each plugin. */
extern const struct innkeeper_operation innkeeper_operations[];
extern const size_t innkeeper_operation_count;

/* Defines the global object `innkeeper`; 0, or -1 with a pending exception. */
int innkeeper_define_bridge(JSContext *context);

#endif
