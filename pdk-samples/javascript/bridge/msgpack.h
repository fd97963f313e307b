/* JavaScript values as msgpack and back: null, booleans, numbers, BigInt, text, Uint8Array, arrays and objects. */
#ifndef INNKEEPER_JAVASCRIPT_MSGPACK_H
#define INNKEEPER_JAVASCRIPT_MSGPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* Bytes that grow. */
struct buffer {
    uint8_t *bytes;
    size_t length, capacity;
};

/* Appends a value. False with a pending exception: a function or a symbol, a cycle or too many levels, no memory. */
bool msgpack_write(JSContext *context, struct buffer *buffer, JSValueConst value);

/* The value that the bytes are, or JS_EXCEPTION. Integers that a number cannot hold become BigInts. */
JSValue msgpack_read(JSContext *context, const uint8_t *bytes, size_t length);

#endif
