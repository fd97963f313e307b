/* The parts of the Extism ABI, version 1, that the kit needs. */
#ifndef INNKEEPER_JAVASCRIPT_EXTISM_H
#define INNKEEPER_JAVASCRIPT_EXTISM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXTISM(name) __attribute__((import_module("extism:host/env"), import_name(name)))

EXTISM("alloc") uint64_t extism_alloc(uint64_t size);
EXTISM("free") void extism_free(uint64_t address);
EXTISM("length") uint64_t extism_length(uint64_t address);
EXTISM("load_u8") uint32_t extism_load_u8(uint64_t address);
EXTISM("load_u64") uint64_t extism_load_u64(uint64_t address);
EXTISM("store_u8") void extism_store_u8(uint64_t address, uint32_t byte);
EXTISM("store_u64") void extism_store_u64(uint64_t address, uint64_t word);
EXTISM("input_length") uint64_t extism_input_length(void);
EXTISM("input_load_u8") uint32_t extism_input_load_u8(uint64_t offset);
EXTISM("input_load_u64") uint64_t extism_input_load_u64(uint64_t offset);
EXTISM("output_set") void extism_output_set(uint64_t address, uint64_t size);
EXTISM("error_set") void extism_error_set(uint64_t address);

#undef EXTISM

/* Copies the whole input; `bytes` has room for `size`, which is the input's length. */
static inline void extism_read_input(char *bytes, size_t size) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word = extism_input_load_u64(at);
        memcpy(bytes + at, &word, 8);
    }
    for (; at < size; at++) bytes[at] = (char)extism_input_load_u8(at);
}

/* Copies the first `size` bytes of a block. */
static inline void extism_get(uint64_t block, char *bytes, size_t size) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word = extism_load_u64(block + at);
        memcpy(bytes + at, &word, 8);
    }
    for (; at < size; at++) bytes[at] = (char)extism_load_u8(block + at);
}

/* A new block of the host's memory with these bytes. */
static inline uint64_t extism_put(const char *bytes, size_t size) {
    uint64_t block = extism_alloc(size);
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        extism_store_u64(block + at, word);
    }
    for (; at < size; at++) extism_store_u8(block + at, (unsigned char)bytes[at]);
    return block;
}

static inline void extism_output(const char *bytes, size_t size) { extism_output_set(extism_put(bytes, size), size); }

static inline void extism_error(const char *bytes, size_t size) { extism_error_set(extism_put(bytes, size)); }

#endif
