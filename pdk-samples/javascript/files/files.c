#include "files.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The calls by their own names: the C library's, which are of one piece, are the ones that no_wasi.c answers. */
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))

WASI("fd_prestat_get") int32_t wasi_prestat_get(int32_t fd, uint32_t *kind_and_length);
WASI("fd_prestat_dir_name") int32_t wasi_prestat_dir_name(int32_t fd, char *name, uint32_t length);
WASI("path_open")
int32_t wasi_path_open(int32_t folder, uint32_t look_up, const char *path, uint32_t length, uint32_t open_flags,
                       uint64_t rights, uint64_t inheriting, uint32_t descriptor_flags, int32_t *file);
WASI("fd_read") int32_t wasi_read(int32_t fd, const void *vectors, uint32_t count, uint32_t *got);
WASI("fd_close") int32_t wasi_close(int32_t fd);

enum { WASI_NOENT = 44, WASI_FOLLOW = 1, WASI_RIGHT_READ = 2 };

struct vector {
    char *bytes;
    uint32_t length;
};

/* Bytes of a file that a script reads. It gets them as one text, beside which the script needs room. */
enum { MOST_BYTES = 16 * 1024 * 1024 };

enum { MOST_NAME = 256 };

/* The part of a path below a granted folder such as "/user", or NULL. */
static const char *below(const char *path, const char *folder, size_t length) {
    if (strncmp(path, folder, length) != 0 || path[length] != '/') return NULL;
    return path + length + 1;
}

/* Opens a file of a granted folder for reading. False after an exception. */
static bool open_file(JSContext *context, const char *path, int32_t *file) {
    for (int32_t folder = 3;; folder++) {
        uint32_t stat[2];
        char name[MOST_NAME];
        if (wasi_prestat_get(folder, stat) != 0) break;
        uint32_t length = stat[1];
        if (length > sizeof name || wasi_prestat_dir_name(folder, name, length) != 0) continue;
        const char *rest = below(path, name, length);
        if (rest == NULL) continue;
        int32_t failed = wasi_path_open(folder, WASI_FOLLOW, rest, (uint32_t)strlen(rest), 0, WASI_RIGHT_READ, 0, 0, file);
        if (failed == 0) return true;
        if (failed == WASI_NOENT) return JS_ThrowReferenceError(context, "there is no file '%s'", path), false;
        return JS_ThrowTypeError(context, "the file '%s' cannot be opened (WASI error %d)", path, failed), false;
    }
    return JS_ThrowTypeError(context, "'%s' is in no folder that was granted", path), false;
}

/* All bytes of an open file; NULL after an exception. */
static char *read_all(JSContext *context, const char *path, int32_t file, size_t *length) {
    char *bytes = NULL;
    size_t capacity = 0;
    for (*length = 0;;) {
        if (*length == capacity) {
            if (capacity >= MOST_BYTES) {
                JS_ThrowRangeError(context, "the file '%s' has more than %d MiB", path, MOST_BYTES >> 20);
                break;
            }
            capacity = capacity == 0 ? 64 * 1024 : 2 * capacity;
            char *grown = realloc(bytes, capacity);
            if (grown == NULL) {
                JS_ThrowOutOfMemory(context);
                break;
            }
            bytes = grown;
        }
        struct vector vector = {bytes + *length, (uint32_t)(capacity - *length)};
        uint32_t got;
        int32_t failed = wasi_read(file, &vector, 1, &got);
        if (failed != 0) {
            JS_ThrowTypeError(context, "the file '%s' cannot be read (WASI error %d)", path, failed);
            break;
        }
        if (got == 0) return bytes;
        *length += got;
    }
    free(bytes);
    return NULL;
}

/* innkeeper.readFile(path): the file's text; what is no UTF-8 in it becomes U+FFFD. */
static JSValue read_file(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
    (void)self;
    const char *path = JS_ToCString(context, count > 0 ? values[0] : JS_UNDEFINED);
    if (path == NULL) return JS_EXCEPTION;
    JSValue text = JS_EXCEPTION;
    int32_t file;
    if (open_file(context, path, &file)) {
        size_t length;
        char *bytes = read_all(context, path, file, &length);
        wasi_close(file);
        if (bytes != NULL) text = JS_NewStringLen(context, bytes, length);
        free(bytes);
    }
    JS_FreeCString(context, path);
    return text;
}

int innkeeper_define_files(JSContext *context) {
    JSValue global = JS_GetGlobalObject(context);
    JSValue object = JS_GetPropertyStr(context, global, "innkeeper");
    JS_FreeValue(context, global);
    int done = -1;
    if (JS_IsObject(object)) {
        JSValue function = JS_NewCFunction(context, read_file, "readFile", 1);
        done = JS_DefinePropertyValueStr(context, object, "readFile", function, JS_PROP_ENUMERABLE);
    }
    JS_FreeValue(context, object);
    return done < 0 ? -1 : 0;
}
