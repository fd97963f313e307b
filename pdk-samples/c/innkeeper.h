/* Innkeeper's guest library for C: a node is an exported function that reads its inputs and writes its outputs.
 *
 *     #include "innkeeper.h"
 *
 *     IK_NODE(shout) {
 *         ik_call call;
 *         if (!ik_begin(&call)) return IK_FAILED;
 *         ik_value text = ik_input(&call, "text");
 *         if (ik_type_of(text) != IK_STRING) return ik_fail("input 'text' is %s, not text", ik_type_name(text));
 *         ik_writer out;
 *         ik_write_outputs(&out, 1);
 *         ik_write_string(&out, "shouted");
 *         ik_write_text(&out, ik_text_of(text));
 *         return ik_finish(&out);
 *     }
 *
 * The manifest must say codec = "msgpack". The whole input is checked before `ik_begin` returns: lengths lie inside
 * of it, text is UTF-8, there are no extension types. Reading never allocates and never recurses, so hostile input
 * cannot run the stack or the memory out. */
#ifndef INNKEEPER_H
#define INNKEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IK_OK 0
#define IK_FAILED 1

#define IK_NODE(name) __attribute__((export_name(#name))) int32_t name(void)

typedef enum { IK_NIL, IK_BOOL, IK_NUMBER, IK_STRING, IK_BYTES, IK_ARRAY, IK_MAP } ik_type;

/* A view of a value in the input, valid until the next `ik_begin`. An absent value is IK_NIL. */
typedef struct {
    const uint8_t *at;
} ik_value;

/* UTF-8 text or bytes, without a terminating NUL. */
typedef struct {
    const char *bytes;
    size_t length;
} ik_text;

/* What the host asked for: {"inputs": {...}, "config": {...}, "run": {...}}. */
typedef struct {
    ik_value inputs, config, run;
} ik_call;

/* Reads and checks the input of this call, and frees what `ik_alloc` gave before. False after `error_set`: return
 * IK_FAILED then. */
bool ik_begin(ik_call *call);

ik_value ik_input(const ik_call *call, const char *slot);
ik_value ik_config(const ik_call *call, const char *key);

ik_type ik_type_of(ik_value value);

/* "nothing", "a boolean", "a number", "text", "bytes", "an array" or "an object", for error messages. */
const char *ik_type_name(ik_value value);

/* These want a value of the right type and answer false, 0, empty text and 0 for any other. */
bool ik_bool_of(ik_value value);
double ik_number_of(ik_value value);
ik_text ik_text_of(ik_value value); /* IK_STRING and IK_BYTES */
size_t ik_count(ik_value value);    /* items of an IK_ARRAY, pairs of an IK_MAP */

/* The value of an IK_MAP's first pair with this key; absent where there is none. */
ik_value ik_get(ik_value map, const char *key);

/* The first item of an IK_ARRAY, and the item after one. Only `ik_count` says how many there are. */
ik_value ik_first(ik_value array);
ik_value ik_next(ik_value item);

bool ik_text_is(ik_text text, const char *string);

/* Memory that lives until the next `ik_begin`, aligned to 16 bytes; NULL where the host gives no more. */
void *ik_alloc(size_t size);

/* Sets the error and answers IK_FAILED. In `format`, %s is a C string, %t an `ik_text`, cut at 80 bytes, %u a
 * size_t, and nothing else is special. */
int32_t ik_fail(const char *format, ...);

/* Outputs: `ik_write_outputs`, then for each slot its name and its value, then `ik_finish`. Text that is written must
 * be UTF-8. Running out of memory is remembered, and `ik_finish` says it. */
typedef struct {
    uint8_t *bytes;
    size_t length, capacity;
    bool failed;
} ik_writer;

void ik_write_outputs(ik_writer *writer, uint32_t slots);
void ik_write_nil(ik_writer *writer);
void ik_write_bool(ik_writer *writer, bool value);
void ik_write_integer(ik_writer *writer, int64_t value);
void ik_write_float(ik_writer *writer, double value);
void ik_write_string(ik_writer *writer, const char *string);
void ik_write_text(ik_writer *writer, ik_text text);
void ik_write_array(ik_writer *writer, uint32_t items); /* then its items */
void ik_write_map(ik_writer *writer, uint32_t pairs);   /* then key, value, key, value ... */
void ik_write_bytes(ik_writer *writer, ik_text bytes);
int32_t ik_finish(ik_writer *writer);

/* Input and output of a plugin whose manifest says codec = "raw", in place of `ik_begin` and `ik_finish`. Like
 * `ik_begin`, `ik_raw_input` frees what `ik_alloc` gave before, what a writer holds included: call it first. NULL bytes
 * where memory ran out. */
ik_text ik_raw_input(void);
int32_t ik_raw_output(ik_text bytes);

/* Services: what a plugin asks the host for, by the names of docs/bridge.md.
 *
 *     IK_SERVICE(kv_get);
 *
 *     ik_writer ask;
 *     ik_ask(&ask, 1);
 *     ik_write_string(&ask, "key");
 *     ik_write_string(&ask, "visits");
 *     ik_answer answer = ik_send(innkeeper_kv_get, &ask);
 *     if (!answer.ok) return ik_fail("kv: %t", answer.message);
 *
 * A refusal is an answer like any other: `kind` is "denied" where the operator did not grant it. */
#define IK_SERVICE(operation)                                                                        \
    __attribute__((import_module("extism:host/user"), import_name("innkeeper_" #operation))) uint64_t \
        innkeeper_##operation(uint64_t block)

typedef struct {
    bool ok;
    ik_value value;        /* what the host gave, where `ok` */
    ik_text kind, message; /* why it did not, otherwise */
} ik_answer;

/* Then for each argument its name and its value. */
void ik_ask(ik_writer *writer, uint32_t arguments);
ik_answer ik_send(uint64_t (*operation)(uint64_t block), ik_writer *writer);

#endif
