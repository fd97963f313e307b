#include "bridge.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "extism.h"
#include "msgpack.h"

static const struct innkeeper_operation *find(const char *name) {
    for (size_t i = 0; i < innkeeper_operation_count; i++) {
        if (strcmp(innkeeper_operations[i].name, name) == 0) return &innkeeper_operations[i];
    }
    return NULL;
}

/* Throws what the host refused: a BridgeError with the `kind`, the message and whatever else the host says. */
static JSValue throw_refusal(JSContext *context, const char *operation, JSValueConst refusal) {
    JSValue error = JS_NewError(context);
    if (JS_IsException(error)) return error;
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_GetOwnPropertyNames(context, &names, &count, refusal, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY) < 0) {
        JS_FreeValue(context, error);
        return JS_EXCEPTION;
    }
    for (uint32_t i = 0; i < count; i++) {
        JSValue value = JS_GetProperty(context, refusal, names[i].atom);
        JS_DefinePropertyValue(context, error, names[i].atom, value, JS_PROP_C_W_E);
    }
    JS_FreePropertyEnum(context, names, count);
    JS_DefinePropertyValueStr(context, error, "name", JS_NewString(context, "BridgeError"), JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(context, error, "operation", JS_NewString(context, operation), JS_PROP_C_W_E);
    return JS_Throw(context, error);
}

/* What the answer's map has under `ok`, or the refusal thrown. Takes `answer`. */
static JSValue open_answer(JSContext *context, const char *operation, JSValue answer) {
    if (JS_IsException(answer)) return answer;
    JSValue error = JS_GetPropertyStr(context, answer, "error");
    JSValue result;
    if (JS_IsException(error)) {
        result = JS_EXCEPTION;
    } else if (JS_IsObject(error)) {
        result = throw_refusal(context, operation, error);
    } else {
        result = JS_GetPropertyStr(context, answer, "ok");
    }
    JS_FreeValue(context, error);
    JS_FreeValue(context, answer);
    return result;
}

static JSValue ask(JSContext *context, const struct innkeeper_operation *operation, JSValueConst arguments) {
    struct buffer given = {0};
    if (!msgpack_write(context, &given, arguments)) {
        free(given.bytes);
        return JS_EXCEPTION;
    }
    uint64_t block = extism_put((const char *)given.bytes, given.length);
    free(given.bytes);
    uint64_t answer = operation->function(block);
    extism_free(block);
    uint64_t length = extism_length(answer);
    char *bytes = length < SIZE_MAX ? malloc((size_t)length + 1) : NULL;
    if (bytes == NULL) return JS_ThrowOutOfMemory(context);
    extism_get(answer, bytes, (size_t)length);
    extism_free(answer);
    JSValue value = msgpack_read(context, (const uint8_t *)bytes, (size_t)length);
    free(bytes);
    return open_answer(context, operation->name, value);
}

/* innkeeper.call(operation, arguments) */
static JSValue call(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
    (void)self;
    const char *name = JS_ToCString(context, count > 0 ? values[0] : JS_UNDEFINED);
    if (name == NULL) return JS_EXCEPTION;
    const struct innkeeper_operation *operation = find(name);
    JSValue result;
    if (operation == NULL) {
        result = JS_ThrowTypeError(context, "the manifest requests no capability that has the operation '%s'", name);
    } else if (count > 1 && JS_IsObject(values[1])) {
        result = ask(context, operation, values[1]);
    } else if (count > 1 && !JS_IsUndefined(values[1])) {
        result = JS_ThrowTypeError(context, "the arguments of '%s' are an object", name);
    } else {
        JSValue none = JS_NewObject(context);
        result = JS_IsException(none) ? none : ask(context, operation, none);
        JS_FreeValue(context, none);
    }
    JS_FreeCString(context, name);
    return result;
}

int innkeeper_define_bridge(JSContext *context) {
    JSValue global = JS_GetGlobalObject(context);
    JSValue object = JS_NewObject(context);
    int done = -1;
    if (!JS_IsException(object)) {
        JSValue function = JS_NewCFunction(context, call, "call", 2);
        done = JS_DefinePropertyValueStr(context, object, "call", function, JS_PROP_ENUMERABLE);
        if (done >= 0) done = JS_DefinePropertyValueStr(context, global, "innkeeper", object, JS_PROP_ENUMERABLE);
    }
    JS_FreeValue(context, global);
    return done < 0 ? -1 : 0;
}
