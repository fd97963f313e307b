// What every guest of `innkeeper bench` exports. Functions whose names begin with `plain_` do the same work on the
// guest's own memory, for hosts without the ABI.
#include "abi.h"

enum { PAGE = 65536, WORDS = 8 };

extern unsigned char __heap_base;

// Room behind everything else, as large as asked for; 0 if there is none.
static unsigned char *room(uint64_t length) {
    uint64_t begin = ((uintptr_t)&__heap_base + 15) & ~15ull;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (begin + length > have) {
        uint64_t pages = (begin + length - have + PAGE - 1) / PAGE;
        if (pages > PAGE || __builtin_wasm_memory_grow(0, (uint32_t)pages) == (unsigned long)-1) return 0;
    }
    return (unsigned char *)(uintptr_t)begin;
}

// As a plugin kit does it: the input into a buffer of the guest, the buffer into a new block, eight bytes at a time.
EXPORT(echo) int32_t echo(void) {
    uint64_t length = input_length(), whole = length & ~7ull;
    unsigned char *buffer = room(length);
    if (!buffer) return 1;
    for (uint64_t at = 0; at < whole; at += 8) *(uint64_t *)(buffer + at) = input_load_u64(at);
    for (uint64_t at = whole; at < length; at++) buffer[at] = (unsigned char)input_load_u8(at);
    uint64_t block = alloc(length);
    for (uint64_t at = 0; at < whole; at += 8) store_u64(block + at, *(uint64_t *)(buffer + at));
    for (uint64_t at = whole; at < length; at++) store_u8(block + at, buffer[at]);
    output_set(block, length);
    return 0;
}

static int32_t answer(uint64_t word) {
    uint64_t block = alloc(8);
    store_u64(block, word);
    output_set(block, 8);
    return 0;
}

// Calls the host as often as the input says (8 bytes), with 64 bytes each way; gives a sum of what came back.
EXPORT(hosts) int32_t hosts(void) {
    uint64_t left = input_load_u64(0), sum = 0, block = alloc(8 * WORDS);
    for (; left; left--) {
        for (uint64_t word = 0; word < WORDS; word++) store_u64(block + 8 * word, left + word);
        uint64_t given = exchange(block);
        for (uint64_t word = 0; word < WORDS; word++) sum += load_u64(given + 8 * word);
        release(given);
    }
    return answer(sum);
}

EXPORT(plain_room) uint32_t plain_room(uint32_t length) { return (uint32_t)(uintptr_t)room(length); }

EXPORT(plain_hosts) uint64_t plain_hosts(uint64_t left) {
    uint64_t sum = 0;
    uint64_t *block = (uint64_t *)room(8 * WORDS);
    for (; left; left--) {
        for (uint64_t word = 0; word < WORDS; word++) block[word] = left + word;
        uint64_t *given = (uint64_t *)(uintptr_t)exchange((uintptr_t)block);
        for (uint64_t word = 0; word < WORDS; word++) sum += given[word];
    }
    return sum;
}

EXPORT(wait) int32_t wait(void) {
    pause();
    return answer(1);
}

EXPORT(plain_wait) void plain_wait(void) { pause(); }

EXPORT(nop) int32_t nop(void) { return 0; }

// Copies so many bytes inside of the guest's memory.
EXPORT(plain_echo) void plain_echo(uint32_t from, uint32_t to, uint32_t length) {
    uint32_t at = 0;
    for (; at + 8 <= length; at += 8) *(volatile uint64_t *)(to + at) = *(uint64_t *)(from + at);
    for (; at < length; at++) *(volatile unsigned char *)(to + at) = *(unsigned char *)(from + at);
}

// Short loops over 16 KiB, as often as asked: fills it, counts vowels in it. Nothing in the second loop waits for
// anything, so that what a host adds to each round of a loop shows.
EXPORT(plain_work) uint64_t plain_work(uint64_t times) {
    enum { SIZE = 16384 };
    unsigned char *bytes = room(SIZE);
    uint64_t seed = 0x9e3779b97f4a7c15u, count = 0;
    if (!bytes) return 0;
    for (; times; times--) {
        for (uint32_t at = 0; at < SIZE; at += 64) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *(uint64_t *)(bytes + at) = seed;
        }
#pragma clang loop unroll(disable)
        for (uint32_t at = 0; at < SIZE; at++) {
            unsigned char c = bytes[at] | 0x20;
            count += (c == 'a') | (c == 'e') | (c == 'i') | (c == 'o') | (c == 'u');
        }
    }
    return count;
}

EXPORT(work) int32_t work(void) { return answer(plain_work(input_load_u64(0))); }
