#include "files.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

/* Bytes of a file that a script reads. It gets them as one text, beside which the script needs room. */
enum { MOST_BYTES = 16 * 1024 * 1024 };

enum { MOST_NAME = 256 };

/* The part of a path below a granted folder such as "/user", or NULL. */
static const char *below(const char *path, const char *folder, size_t length) {
    if (strncmp(path, folder, length) != 0 || path[length] != '/') return NULL;
    return path + length + 1;
}

/* Opens a file of a granted folder for reading. False after an exception. */
static bool open_file(JSContext *context, const char *path, __wasi_fd_t *file) {
    for (__wasi_fd_t folder = 3;; folder++) {
        __wasi_prestat_t stat;
        char name[MOST_NAME];
        if (__wasi_fd_prestat_get(folder, &stat) != __WASI_ERRNO_SUCCESS) break;
        size_t length = stat.u.dir.pr_name_len;
        if (length > sizeof name || __wasi_fd_prestat_dir_name(folder, (uint8_t *)name, length) != 0) continue;
        const char *rest = below(path, name, length);
        if (rest == NULL) continue;
        __wasi_errno_t failed = __wasi_path_open(folder, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, rest, 0,
                                                 __WASI_RIGHTS_FD_READ, 0, 0, file);
        if (failed == __WASI_ERRNO_SUCCESS) return true;
        if (failed == __WASI_ERRNO_NOENT) return JS_ThrowReferenceError(context, "there is no file '%s'", path), false;
        return JS_ThrowTypeError(context, "the file '%s' cannot be opened (WASI error %d)", path, failed), false;
    }
    return JS_ThrowTypeError(context, "'%s' is in no folder that was granted", path), false;
}

/* All bytes of an open file; NULL after an exception. */
static char *read_all(JSContext *context, const char *path, __wasi_fd_t file, size_t *length) {
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
        __wasi_iovec_t vector = {(uint8_t *)bytes + *length, capacity - *length};
        __wasi_size_t got;
        __wasi_errno_t failed = __wasi_fd_read(file, &vector, 1, &got);
        if (failed != __WASI_ERRNO_SUCCESS) {
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
    __wasi_fd_t file;
    if (open_file(context, path, &file)) {
        size_t length;
        char *bytes = read_all(context, path, file, &length);
        __wasi_fd_close(file);
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
