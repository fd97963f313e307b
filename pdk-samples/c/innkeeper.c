#include "innkeeper.h"

#include <stdarg.h>
#include <string.h>

#include "msgpack.h"

#define EXTISM(name) __attribute__((import_module("extism:host/env"), import_name(name)))

EXTISM("alloc") uint64_t extism_alloc(uint64_t size);
EXTISM("store_u8") void extism_store_u8(uint64_t address, uint32_t byte);
EXTISM("store_u64") void extism_store_u64(uint64_t address, uint64_t word);
EXTISM("length") uint64_t extism_length(uint64_t address);
EXTISM("load_u8") uint32_t extism_load_u8(uint64_t address);
EXTISM("load_u64") uint64_t extism_load_u64(uint64_t address);
EXTISM("free") void extism_free(uint64_t address);
EXTISM("input_length") uint64_t extism_input_length(void);
EXTISM("input_load_u8") uint32_t extism_input_load_u8(uint64_t offset);
EXTISM("input_load_u64") uint64_t extism_input_load_u64(uint64_t offset);
EXTISM("output_set") void extism_output_set(uint64_t address, uint64_t size);
EXTISM("error_set") void extism_error_set(uint64_t address);
EXTISM("log_info") void extism_log_info(uint64_t address);

/* ---- Memory -------------------------------------------------------------------------------------------------- */

enum { PAGE = 65536, ALIGNMENT = 16 };

/* Enough for a small call; what is more comes from memory.grow, so that the arena gets along with any malloc. */
static _Alignas(ALIGNMENT) uint8_t first_region[16 * 1024];

static struct {
    uint8_t *start, *next, *end;
} region = {first_region, first_region, first_region + sizeof first_region};

void *ik_alloc(size_t size) {
    if (size > SIZE_MAX - ALIGNMENT) return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (size > (size_t)(region.end - region.next)) {
        /* Twice what is asked for, within a page's rounding: growing one by one would be slow. */
        size_t pages = size / PAGE + 1;
        size_t before = __builtin_wasm_memory_grow(0, pages * 2);
        if (before != SIZE_MAX) {
            pages *= 2;
        } else {
            before = __builtin_wasm_memory_grow(0, pages);
            if (before == SIZE_MAX) return NULL;
        }
        uint8_t *grown = (uint8_t *)(before * PAGE);
        if (grown == region.end) {
            region.end += pages * PAGE;
        } else {
            region.start = region.next = grown;
            region.end = grown + pages * PAGE;
        }
    }
    uint8_t *block = region.next;
    region.next += size;
    return block;
}

void *ik_mark(void) { return region.next; }

void ik_release(void *mark) {
    uint8_t *to = mark;
    /* What came after the mark began a region of its own where the mark is not in this one. */
    region.next = to >= region.start && to <= region.end ? to : region.start;
}

/* ---- The host's memory --------------------------------------------------------------------------------------- */

static uint64_t put(const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    uint64_t block = extism_alloc(size);
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, from + at, 8);
        extism_store_u64(block + at, word);
    }
    for (; at < size; at++) extism_store_u8(block + at, from[at]);
    return block;
}

static void read_input(uint8_t *bytes, size_t size) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word = extism_input_load_u64(at);
        memcpy(bytes + at, &word, 8);
    }
    for (; at < size; at++) bytes[at] = (uint8_t)extism_input_load_u8(at);
}

/* ---- Errors -------------------------------------------------------------------------------------------------- */

enum { ERROR_SIZE = 500, SHOWN_SIZE = 80 };

static size_t append(char *to, size_t length, const char *bytes, size_t size) {
    if (size > ERROR_SIZE - length) size = ERROR_SIZE - length;
    memcpy(to + length, bytes, size);
    return length + size;
}

/* `size`, or less so that no UTF-8 sequence is cut. */
static size_t whole_characters(const char *bytes, size_t size) {
    while (size > 0 && ((uint8_t)bytes[size] & 0xC0) == 0x80) size--;
    return size;
}

static size_t append_text(char *to, size_t length, ik_text text) {
    if (text.length <= SHOWN_SIZE) return append(to, length, text.bytes, text.length);
    length = append(to, length, text.bytes, whole_characters(text.bytes, SHOWN_SIZE));
    return append(to, length, "...", 3);
}

static size_t append_count(char *to, size_t length, size_t count) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + count % 10);
        count /= 10;
    } while (count > 0);
    return append(to, length, digits + at, sizeof digits - at);
}

int32_t ik_fail(const char *format, ...) {
    char message[ERROR_SIZE];
    size_t length = 0;
    va_list arguments;
    va_start(arguments, format);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            length = append(message, length, format, 1);
            continue;
        }
        format++;
        if (*format == 's') {
            const char *string = va_arg(arguments, const char *);
            length = append(message, length, string, strlen(string));
        } else if (*format == 't') {
            length = append_text(message, length, va_arg(arguments, ik_text));
        } else if (*format == 'u') {
            length = append_count(message, length, va_arg(arguments, size_t));
        } else {
            break;
        }
    }
    va_end(arguments);
    extism_error_set(put(message, length));
    return IK_FAILED;
}

void ik_log(ik_text line) {
    uint64_t block = put(line.bytes, line.length);
    extism_log_info(block);
    extism_free(block);
}

/* ---- A call -------------------------------------------------------------------------------------------------- */

bool ik_begin(ik_call *call) {
    region.next = region.start;
    uint64_t size = extism_input_length();
    uint8_t *bytes = size < SIZE_MAX ? ik_alloc((size_t)size) : NULL;
    if (bytes == NULL) {
        ik_fail("there is not enough memory for the input");
        return false;
    }
    read_input(bytes, (size_t)size);
    const char *problem = ik_problem_of(bytes, bytes + size);
    if (problem != NULL) {
        ik_fail("the input is not msgpack: it %s", problem);
        return false;
    }
    ik_value all = {bytes};
    *call = (ik_call){ik_get(all, "inputs"), ik_get(all, "config"), ik_get(all, "run")};
    if (ik_type_of(call->inputs) != IK_MAP) {
        ik_fail("the input is not an object with inputs, config and run");
        return false;
    }
    return true;
}

ik_value ik_input(const ik_call *call, const char *slot) { return ik_get(call->inputs, slot); }

ik_value ik_config(const ik_call *call, const char *key) { return ik_get(call->config, key); }

int32_t ik_finish(ik_writer *writer) {
    if (writer->failed) return ik_fail("there is not enough memory for the output");
    extism_output_set(put(writer->bytes, writer->length), writer->length);
    return IK_OK;
}

/* ---- Raw input and output ------------------------------------------------------------------------------------ */

ik_text ik_raw_input(void) {
    region.next = region.start;
    uint64_t size = extism_input_length();
    uint8_t *bytes = size < SIZE_MAX ? ik_alloc((size_t)size) : NULL;
    if (bytes == NULL) return (ik_text){NULL, 0};
    read_input(bytes, (size_t)size);
    return (ik_text){(const char *)bytes, (size_t)size};
}

int32_t ik_raw_output(ik_text bytes) {
    extism_output_set(put(bytes.bytes, bytes.length), bytes.length);
    return IK_OK;
}

/* ---- Services ------------------------------------------------------------------------------------------------ */

static ik_answer unanswered(const char *kind, const char *message) {
    return (ik_answer){.kind = {kind, strlen(kind)}, .message = {message, strlen(message)}};
}

ik_answer ik_send(uint64_t (*operation)(uint64_t block), ik_writer *writer) {
    if (writer->failed) return unanswered("memory", "there is not enough memory to ask");
    uint64_t asked = put(writer->bytes, writer->length);
    uint64_t block = operation(asked);
    extism_free(asked);
    uint64_t size = extism_length(block);
    uint8_t *bytes = size < SIZE_MAX ? ik_alloc((size_t)size) : NULL;
    if (bytes == NULL) {
        extism_free(block);
        return unanswered("memory", "there is not enough memory for the answer");
    }
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word = extism_load_u64(block + at);
        memcpy(bytes + at, &word, 8);
    }
    for (; at < size; at++) bytes[at] = (uint8_t)extism_load_u8(block + at);
    extism_free(block);
    if (ik_problem_of(bytes, bytes + size) != NULL) return unanswered("failed", "the host's answer is not msgpack");
    ik_value all = {bytes}, error = ik_get(all, "error");
    if (ik_type_of(error) == IK_NIL) return (ik_answer){.ok = true, .value = ik_get(all, "ok")};
    return (ik_answer){.kind = ik_text_of(ik_get(error, "kind")), .message = ik_text_of(ik_get(error, "message"))};
}
