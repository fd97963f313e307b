/* The guest that tests JavaScript's regular expressions: QuickJS's libregexp without an engine around it.
 *
 * `begin` takes the text and what a test may cost, `test` takes expressions and answers a verdict for each. Both may be
 * called again; a text stays until the next `begin`. Numbers are little-endian.
 *
 *     begin: u32 steps of one expression, u32 of all, in units of 10,000; u32 bytes of heap of one expression;
 *            u32 bytes of a unit of the text, 1 (Latin-1) or 2 (UTF-16); the text
 *     test:  for each expression u32 flags (libregexp's), u32 bytes, the pattern in UTF-8; without the flags u and v
 *            each half of a surrogate pair is a character by itself
 *     test's output: a byte for each expression, then u32 steps of all that are spent since `begin`
 *
 * Steps are counted, not seconds: equal calls have equal answers on each machine. What no step counts, compiling
 * above all, the host bounds by the guest's processor time. */
#include <stdlib.h>
#include <string.h>

#include "extism.h"
#include "libregexp.h"

#define EXPORT(name) __attribute__((export_name(#name))) int32_t name(void)

enum verdict { MATCH, NO_MATCH, INVALID, EXHAUSTED };

/* Bytes of the stack in memory that a pattern's groups inside of each other may take: compiling recurses, and each such
 * frame has another on the engine's own stack. */
enum { STACK_BUDGET = 96 * 1024 };

enum { HEADER = 16, ERROR_SIZE = 64 };

static uint32_t most_steps, most_steps_of_all, most_heap;
static uint32_t steps, steps_of_all;
/* Bytes that are held, and that were before this expression: what a refused one may have left is not held against it. */
static size_t heap, heap_before;
static bool heap_ended;
static const char *stack_base;

static uint8_t *text;
static int text_length, text_shift;

/* ---- What libregexp asks for --------------------------------------------------------------------------------- */

bool lre_check_stack_overflow(void *opaque, size_t alloca_size) {
    (void)opaque;
    return (size_t)(stack_base - (const char *)__builtin_frame_address(0)) + alloca_size > STACK_BUDGET;
}

int lre_check_timeout(void *opaque) {
    (void)opaque;
    if (steps >= most_steps || steps_of_all >= most_steps_of_all) return 1;
    steps++;
    steps_of_all++;
    return 0;
}

/* Each block has its size in front, so that what one expression holds is known. */
typedef struct {
    _Alignas(16) size_t size;
} block;

void *lre_realloc(void *opaque, void *pointer, size_t size) {
    (void)opaque;
    block *old = pointer == NULL ? NULL : (block *)pointer - 1;
    size_t held = old == NULL ? 0 : old->size;
    if (size == 0) {
        heap -= held;
        free(old);
        return NULL;
    }
    if (size > most_heap || heap - heap_before - held > most_heap - size) {
        heap_ended = true;
        return NULL;
    }
    block *made = realloc(old, sizeof(block) + size);
    if (made == NULL) {
        heap_ended = true;
        return NULL;
    }
    made->size = size;
    heap += size - held;
    return made + 1;
}

/* ---- A test --------------------------------------------------------------------------------------------------- */

/* Not inlined: the stack that compiling takes is measured from its frame. */
static __attribute__((noinline)) enum verdict test_one(const char *pattern, size_t length, int flags) {
    char error[ERROR_SIZE];
    int size;
    steps = 0;
    heap_before = heap;
    heap_ended = false;
    stack_base = __builtin_frame_address(0);
    uint8_t *code = lre_compile(&size, error, sizeof error, pattern, length, flags, NULL);
    if (code == NULL) return heap_ended ? EXHAUSTED : INVALID;
    int slots = lre_get_alloc_count(code);
    uint8_t **capture = lre_realloc(NULL, NULL, sizeof capture[0] * (size_t)(slots > 0 ? slots : 1));
    int found = capture == NULL ? -1 : lre_exec(capture, code, text, 0, text_length, text_shift, NULL);
    lre_realloc(NULL, capture, 0);
    lre_realloc(NULL, code, 0);
    return found < 0 ? EXHAUSTED : found > 0 ? MATCH : NO_MATCH;
}

/* The whole input and a NUL behind it, or NULL where memory ended. */
static uint8_t *read_input(size_t *size) {
    *size = (size_t)extism_input_length();
    uint8_t *bytes = malloc(*size + 1);
    if (bytes == NULL) return NULL;
    extism_read_input((char *)bytes, *size);
    bytes[*size] = 0;
    return bytes;
}

static uint32_t number_at(const uint8_t *bytes) {
    uint32_t number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

static int32_t refuse(const char *sentence) {
    extism_error(sentence, strlen(sentence));
    return 1;
}

EXPORT(begin) {
    static uint8_t *held;
    size_t size;
    free(held);
    text_length = 0;
    held = read_input(&size);
    if (held == NULL) return refuse("there is no memory for the text");
    if (size < HEADER) return refuse("the header is cut off");
    most_steps = number_at(held);
    most_steps_of_all = number_at(held + 4);
    most_heap = number_at(held + 8);
    uint32_t unit = number_at(held + 12);
    if (unit != 1 && unit != 2) return refuse("a unit of the text has one byte or two");
    steps_of_all = 0;
    text = held + HEADER;
    text_shift = unit == 2;
    text_length = (int)((size - HEADER) >> text_shift);
    return 0;
}

EXPORT(test) {
    size_t size;
    uint8_t *input = read_input(&size);
    /* No expression is shorter than its eight bytes of lengths. */
    uint8_t *output = malloc(size / 8 + sizeof steps_of_all);
    if (input == NULL || output == NULL) return refuse("there is no memory for the expressions");
    size_t at = 0, count = 0;
    while (at < size) {
        if (size - at < 8) return refuse("an expression is cut off");
        uint32_t flags = number_at(input + at), length = number_at(input + at + 4);
        at += 8;
        if (length > size - at) return refuse("an expression is cut off");
        /* Compiling wants a NUL behind the pattern, where the next expression begins. */
        uint8_t next = input[at + length];
        input[at + length] = 0;
        output[count++] = (uint8_t)test_one((const char *)input + at, length, (int)flags);
        input[at + length] = next;
        at += length;
    }
    memcpy(output + count, &steps_of_all, sizeof steps_of_all);
    extism_output((const char *)output, count + sizeof steps_of_all);
    free(output);
    free(input);
    return 0;
}
