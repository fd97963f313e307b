// The guest's side of the Extism ABI, as far as the guests that `innkeeper bench` runs need it.
#ifndef BENCH_ABI_H
#define BENCH_ABI_H

#include <stdint.h>

#define IMPORT(space, name) __attribute__((import_module(space), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT("extism:host/env", input_length) uint64_t input_length(void);
IMPORT("extism:host/env", input_load_u8) uint32_t input_load_u8(uint64_t at);
IMPORT("extism:host/env", input_load_u64) uint64_t input_load_u64(uint64_t at);
IMPORT("extism:host/env", alloc) uint64_t alloc(uint64_t length);
IMPORT("extism:host/env", free) void release(uint64_t block);
IMPORT("extism:host/env", load_u64) uint64_t load_u64(uint64_t at);
IMPORT("extism:host/env", store_u8) void store_u8(uint64_t at, uint32_t byte);
IMPORT("extism:host/env", store_u64) void store_u64(uint64_t at, uint64_t word);
IMPORT("extism:host/env", output_set) void output_set(uint64_t at, uint64_t length);

// Takes a block of bytes, gives one back.
IMPORT("extism:host/user", exchange) uint64_t exchange(uint64_t block);
// Comes back after a while.
IMPORT("extism:host/user", pause) void pause(void);

#endif
