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

/* For a node that goes on and on, as one that reads a stream: `ik_release` frees all that was allocated since
 * `ik_mark`, which includes what writers hold and what answers and items point to. */
void *ik_mark(void);
void ik_release(void *mark);

/* A line in the log of this call, of the level "info". The host cuts what is longer than 1 KiB, and keeps 64 KiB. */
void ik_log(ik_text line);

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
void ik_write_value(ik_writer *writer, ik_value value); /* as it was read, byte for byte */
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

/* Streams: inputs and outputs of the node that its manifest declares with isStream = true. Items come and go while the
 * node runs; its other outputs follow at its end. This one passes on what it reads, and ends with what it reads from:
 *
 *     void *mark = ik_mark();
 *     for (;;) {
 *         ik_release(mark);
 *         ik_items in = ik_stream_read_many("in", IK_MOST_ITEMS);
 *         if (!in.ok) return ik_fail("%t", in.message);
 *         ik_writer items;
 *         ik_write_items(&items);
 *         ik_value item = in.first;
 *         for (size_t left = in.count; left > 0; left--, item = left > 0 ? ik_next(item) : item) {
 *             ik_write_value(&items, item);
 *         }
 *         ik_answer out = ik_stream_write_many("out", &items);
 *         if (!out.ok) return ik_fail("%t", out.message);
 *         if (in.end) break;
 *     }
 *
 * Reading waits for the next item and writing for room, as long as the host lets the call wait. A refusal of the kind
 * "closed" says that nobody reads an output any more, or that this end was closed. */
enum { IK_MOST_ITEMS = 1024 };

typedef struct {
    bool ok;
    bool end;     /* nothing more comes after these */
    size_t count; /* 0 with `end` alone */
    ik_value first;
    ik_text kind, message; /* why nothing was read, where not `ok` */
} ik_items;

/* The next item; and up to `most` of those that are there already, at least one. */
ik_items ik_stream_read(const char *slot);
ik_items ik_stream_read_many(const char *slot, uint32_t most);

/* `ik_write_items`, then the items with `ik_write_...`, then one of the others: the first is for exactly one item, the
 * second for any number, in order, in as many calls of the host as it takes. One item has at most 256 KiB and some
 * 1,990 values in it. */
void ik_write_items(ik_writer *writer);
ik_answer ik_stream_write(const char *slot, const ik_writer *item);
ik_answer ik_stream_write_many(const char *slot, const ik_writer *items);

/* Ends an output, or gives up an input; what is still open when the node returns is closed by the host. */
ik_answer ik_stream_end(const char *slot);
ik_answer ik_stream_leave(const char *slot);

#endif
