#include "msgpack.h"

#include <string.h>

/* ---- Headers ------------------------------------------------------------------------------------------------- */

/* The first bytes of a value. For scalars `size` is 0 and `bits` holds the value; for text and bytes `size` is their
 * length; for arrays and maps `items` is how many values follow as their content. */
typedef struct {
    ik_type type;
    enum { SIGNED, UNSIGNED, FLOAT32, FLOAT64 } number;
    uint8_t length;
    uint64_t bits;
    uint32_t size, items;
} header;

static uint64_t big_endian(const uint8_t *at, unsigned size) {
    uint64_t bits = 0;
    for (unsigned i = 0; i < size; i++) bits = bits << 8 | at[i];
    return bits;
}

/* Sign-extends the low `size` bytes. */
static uint64_t extended(uint64_t bits, unsigned size) {
    unsigned shift = 64 - 8 * size;
    return (uint64_t)((int64_t)(bits << shift) >> shift);
}

/* How many bytes follow a value's first byte before its content; 255 for what this library does not take. */
static unsigned argument_size(uint8_t byte) {
    static const uint8_t sizes[32] = {
        0, 255, 0, 0,             /* nil, unused, false, true */
        1, 2, 4,                  /* bin */
        255, 255, 255,            /* ext */
        4, 8,                     /* float */
        1, 2, 4, 8, 1, 2, 4, 8,   /* uint, int */
        255, 255, 255, 255, 255,  /* fixext */
        1, 2, 4,                  /* str */
        2, 4, 2, 4,               /* array, map */
    };
    return byte < 0xC0 || byte >= 0xE0 ? 0 : sizes[byte - 0xC0];
}

/* Decodes a header whose bytes are all there. */
static header decode(const uint8_t *at) {
    uint8_t byte = at[0];
    unsigned size = argument_size(byte);
    uint64_t argument = big_endian(at + 1, size);
    header head = {.type = IK_NIL, .number = SIGNED, .length = (uint8_t)(1 + size), .bits = argument};
    uint32_t count = (uint32_t)argument;
    if (byte < 0x80 || byte >= 0xE0) {
        head.type = IK_NUMBER;
        head.bits = extended(byte, 1);
    } else if (byte < 0x90) {
        head.type = IK_MAP, count = byte & 0x0F;
    } else if (byte < 0xA0) {
        head.type = IK_ARRAY, count = byte & 0x0F;
    } else if (byte < 0xC0) {
        head.type = IK_STRING, count = byte & 0x1F;
    } else if (byte == 0xC2 || byte == 0xC3) {
        head.type = IK_BOOL;
        head.bits = byte & 1;
    } else if (byte >= 0xC4 && byte <= 0xC6) {
        head.type = IK_BYTES;
    } else if (byte == 0xCA || byte == 0xCB) {
        head.type = IK_NUMBER;
        head.number = byte == 0xCA ? FLOAT32 : FLOAT64;
    } else if (byte >= 0xCC && byte <= 0xCF) {
        head.type = IK_NUMBER;
        head.number = UNSIGNED;
    } else if (byte >= 0xD0 && byte <= 0xD3) {
        head.type = IK_NUMBER;
        head.bits = extended(argument, size);
    } else if (byte >= 0xD9 && byte <= 0xDB) {
        head.type = IK_STRING;
    } else if (byte == 0xDC || byte == 0xDD) {
        head.type = IK_ARRAY;
    } else if (byte == 0xDE || byte == 0xDF) {
        head.type = IK_MAP;
    }
    if (head.type == IK_STRING || head.type == IK_BYTES) head.size = count;
    if (head.type == IK_ARRAY || head.type == IK_MAP) head.items = count;
    return head;
}

/* Values that follow a header as its content. */
static uint64_t children(header head) { return head.type == IK_MAP ? 2 * (uint64_t)head.items : head.items; }

static bool is_utf8(const uint8_t *at, size_t size) {
    const uint8_t *end = at + size;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        }
        uint8_t byte = *at++;
        if (byte < 0x80) continue;
        unsigned more = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
        if (byte < 0xC2 || byte > 0xF4 || (size_t)(end - at) < more) return false;
        /* No overlong forms, no surrogates, nothing above U+10FFFF. */
        uint8_t low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
        uint8_t high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
        if (at[0] < low || at[0] > high) return false;
        for (unsigned i = 1; i < more; i++) {
            if ((at[i] & 0xC0) != 0x80) return false;
        }
        at += more;
    }
    return true;
}

const char *ik_problem_of(const uint8_t *at, const uint8_t *end) {
    for (uint64_t pending = 1; pending > 0; pending--) {
        /* Each value takes a byte at least, which bounds what a header may announce before anything follows it. */
        if (pending > (uint64_t)(end - at)) return "is cut off";
        unsigned size = argument_size(*at);
        if (size == 255) return "has an extension type or an unknown type in it";
        if ((size_t)(end - at) < 1 + size) return "is cut off";
        header head = decode(at);
        at += head.length;
        if (head.size > (size_t)(end - at)) return "is cut off";
        if (head.type == IK_STRING && !is_utf8(at, head.size)) return "has text in it that is not UTF-8";
        at += head.size;
        pending += children(head);
    }
    return at == end ? NULL : "goes on after its end";
}

/* ---- Values -------------------------------------------------------------------------------------------------- */

static const uint8_t nil[] = {0xC0};

static const ik_value absent = {nil};

ik_type ik_type_of(ik_value value) { return decode(value.at).type; }

const char *ik_type_name(ik_value value) {
    static const char *const names[] = {"nothing", "a boolean", "a number", "text", "bytes", "an array", "an object"};
    return names[ik_type_of(value)];
}

bool ik_bool_of(ik_value value) {
    header head = decode(value.at);
    return head.type == IK_BOOL && head.bits != 0;
}

double ik_number_of(ik_value value) {
    header head = decode(value.at);
    if (head.type != IK_NUMBER) return 0;
    if (head.number == SIGNED) return (double)(int64_t)head.bits;
    if (head.number == UNSIGNED) return (double)head.bits;
    if (head.number == FLOAT64) return __builtin_bit_cast(double, head.bits);
    return (double)__builtin_bit_cast(float, (uint32_t)head.bits);
}

ik_text ik_text_of(ik_value value) {
    header head = decode(value.at);
    return (ik_text){(const char *)value.at + head.length, head.size};
}

size_t ik_count(ik_value value) { return decode(value.at).items; }

ik_value ik_first(ik_value array) { return (ik_value){array.at + decode(array.at).length}; }

ik_value ik_next_counted(ik_value item, size_t *values) {
    for (uint64_t pending = 1; pending > 0; pending--) {
        header head = decode(item.at);
        item.at += head.length + head.size;
        pending += children(head);
        ++*values;
    }
    return item;
}

ik_value ik_next(ik_value item) {
    size_t values = 0;
    return ik_next_counted(item, &values);
}

bool ik_text_is(ik_text text, const char *string) {
    return strlen(string) == text.length && memcmp(string, text.bytes, text.length) == 0;
}

ik_value ik_get(ik_value map, const char *key) {
    if (ik_type_of(map) != IK_MAP) return absent;
    ik_value at = ik_first(map);
    for (size_t left = ik_count(map); left > 0; left--) {
        ik_value value = ik_next(at);
        if (ik_type_of(at) == IK_STRING && ik_text_is(ik_text_of(at), key)) return value;
        at = left > 1 ? ik_next(value) : value;
    }
    return absent;
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

static void write_bytes(ik_writer *writer, const void *bytes, size_t size) {
    if (writer->failed) return;
    if (size > writer->capacity - writer->length) {
        size_t capacity = size <= SIZE_MAX / 4 && writer->length <= SIZE_MAX / 4 ? 2 * (writer->length + size) : 0;
        uint8_t *larger = capacity > 0 ? ik_alloc(capacity) : NULL;
        if (larger == NULL) {
            writer->failed = true;
            return;
        }
        memcpy(larger, writer->bytes, writer->length);
        writer->bytes = larger;
        writer->capacity = capacity;
    }
    memcpy(writer->bytes + writer->length, bytes, size);
    writer->length += size;
}

/* A type's byte and the low `size` bytes of its argument. */
static void write_header(ik_writer *writer, uint8_t byte, uint64_t argument, unsigned size) {
    uint8_t bytes[9] = {byte};
    for (unsigned i = size; i > 0; i--, argument >>= 8) bytes[i] = (uint8_t)argument;
    write_bytes(writer, bytes, 1 + size);
}

void ik_write_items(ik_writer *writer) {
    *writer = (ik_writer){.bytes = ik_alloc(256), .capacity = 256};
    writer->failed = writer->bytes == NULL;
}

void ik_ask(ik_writer *writer, uint32_t arguments) {
    ik_write_items(writer);
    ik_write_map(writer, arguments);
}

void ik_write_raw(ik_writer *writer, const uint8_t *bytes, size_t size) { write_bytes(writer, bytes, size); }

void ik_write_value(ik_writer *writer, ik_value value) {
    write_bytes(writer, value.at, (size_t)(ik_next(value).at - value.at));
}

void ik_write_outputs(ik_writer *writer, uint32_t slots) {
    ik_ask(writer, 1);
    ik_write_string(writer, "outputs");
    ik_write_map(writer, slots);
}

void ik_write_nil(ik_writer *writer) { write_header(writer, 0xC0, 0, 0); }

void ik_write_bool(ik_writer *writer, bool value) { write_header(writer, value ? 0xC3 : 0xC2, 0, 0); }

void ik_write_integer(ik_writer *writer, int64_t value) {
    if (value >= -32 && value < 128) {
        write_header(writer, (uint8_t)value, 0, 0);
    } else {
        write_header(writer, 0xD3, (uint64_t)value, 8);
    }
}

void ik_write_float(ik_writer *writer, double value) {
    write_header(writer, 0xCB, __builtin_bit_cast(uint64_t, value), 8);
}

void ik_write_text(ik_writer *writer, ik_text text) {
    if (text.length < 32) {
        write_header(writer, (uint8_t)(0xA0 | text.length), 0, 0);
    } else {
        write_header(writer, 0xDB, text.length, 4);
    }
    write_bytes(writer, text.bytes, text.length);
}

void ik_write_bytes(ik_writer *writer, ik_text bytes) {
    write_header(writer, 0xC6, bytes.length, 4);
    write_bytes(writer, bytes.bytes, bytes.length);
}

void ik_write_string(ik_writer *writer, const char *string) {
    ik_write_text(writer, (ik_text){string, strlen(string)});
}

void ik_write_array(ik_writer *writer, uint32_t items) { write_header(writer, 0xDD, items, 4); }

void ik_write_map(ik_writer *writer, uint32_t pairs) { write_header(writer, 0xDF, pairs, 4); }
