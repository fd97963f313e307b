#include "guest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "extism.h"
#include "quickjs.h"

/* JavaScript may use this much of the C stack in memory. A frame there comes with one of up to three times its size on
 * the engine's own stack (see stack.h): with this budget QuickJS throws a RangeError before the engine's 512 KiB end. */
enum { STACK_BUDGET = 150 * 1024 };

/* Bytes of an error's text that reach the host. */
enum { ERROR_SIZE = 2000 };

/* Garbage is collected when this much has been allocated since the last time. */
enum { GC_THRESHOLD = 8 * 1024 * 1024 };

static JSContext *context;
static JSValue functions[64];

/* ---- Errors -------------------------------------------------------------------------------------------------- */

/* A text that is cut at its capacity. */
struct text {
    char bytes[ERROR_SIZE];
    size_t length;
};

static void append(struct text *text, const char *bytes, size_t length) {
    size_t room = sizeof text->bytes - text->length;
    if (length > room) {
        /* Never cut inside of a UTF-8 sequence. */
        for (length = room; length > 0 && ((unsigned char)bytes[length] & 0xC0) == 0x80; length--) {
        }
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void append_text(struct text *text, const char *bytes) { append(text, bytes, strlen(bytes)); }

/* Appends what String(value) gives, or nothing where that throws. */
static void append_value(struct text *text, JSValueConst value) {
    size_t length;
    const char *bytes = JS_ToCStringLen(context, &length, value);
    if (bytes == NULL) {
        JS_FreeValue(context, JS_GetException(context));
        return;
    }
    append(text, bytes, length);
    JS_FreeCString(context, bytes);
}

/* A property of an exception, as a string; undefined where reading it throws or where it is something else. */
static JSValue text_property(JSValueConst exception, const char *name) {
    JSValue value = JS_GetPropertyStr(context, exception, name);
    if (JS_IsException(value)) {
        JS_FreeValue(context, JS_GetException(context));
        return JS_UNDEFINED;
    }
    if (!JS_IsString(value)) {
        JS_FreeValue(context, value);
        return JS_UNDEFINED;
    }
    return value;
}

/* Appends " (at NAME (FILE:LINE:COLUMN))" from a stack's first line; an empty stack adds nothing. */
static void append_place(struct text *text, JSValueConst stack) {
    size_t length;
    const char *bytes = JS_ToCStringLen(context, &length, stack);
    if (bytes == NULL) {
        JS_FreeValue(context, JS_GetException(context));
        return;
    }
    const char *start = bytes + strspn(bytes, " \n");
    size_t line = strcspn(start, "\n");
    if (line > 0) {
        append_text(text, " (");
        append(text, start, line);
        append_text(text, ")");
    }
    JS_FreeCString(context, bytes);
}

/* Describes the pending exception: "MESSAGE (at PLACE)" for an Error, "TypeError: MESSAGE (at PLACE)" for its
 * kinds, String(value) for anything else that was thrown. */
static void describe_exception(struct text *text) {
    JSValue exception = JS_GetException(context);
    if (JS_IsError(exception)) {
        JSValue name = text_property(exception, "name");
        JSValue message = text_property(exception, "message");
        JSValue stack = text_property(exception, "stack");
        struct text kind = {.length = 0};
        append_value(&kind, name);
        if (JS_IsString(name) && !(kind.length == 5 && memcmp(kind.bytes, "Error", 5) == 0)) {
            append(text, kind.bytes, kind.length);
            append_text(text, ": ");
        }
        if (JS_IsString(message)) append_value(text, message);
        if (JS_IsString(stack)) append_place(text, stack);
        JS_FreeValue(context, name);
        JS_FreeValue(context, message);
        JS_FreeValue(context, stack);
    } else {
        append_value(text, exception);
    }
    if (text->length == 0) append_text(text, "the script threw something that has no text");
    JS_FreeValue(context, exception);
}

/* A lone surrogate comes out of QuickJS as three bytes that are not UTF-8: U+FFFD takes their place. */
static int32_t fail(struct text *text) {
    for (size_t i = 0; i + 2 < text->length; i++) {
        if (text->bytes[i] == '\xED' && (unsigned char)text->bytes[i + 1] >= 0xA0) memcpy(text->bytes + i, "\xEF\xBF\xBD", 3);
    }
    extism_error(text->bytes, text->length);
    return 1;
}

static int32_t fail_with(const char *sentence) {
    struct text text = {.length = 0};
    append_text(&text, sentence);
    return fail(&text);
}

static int32_t fail_with_exception(void) {
    struct text text = {.length = 0};
    describe_exception(&text);
    return fail(&text);
}

/* ---- A call -------------------------------------------------------------------------------------------------- */

/* The input as a JavaScript value. */
static JSValue read_input(void) {
    uint64_t size = extism_input_length();
    char *bytes = size < SIZE_MAX ? malloc((size_t)size + 1) : NULL;
    if (bytes == NULL) return JS_ThrowOutOfMemory(context);
    extism_read_input(bytes, (size_t)size);
    bytes[size] = '\0';
    JSValue value = JS_ParseJSON(context, bytes, (size_t)size, "input");
    free(bytes);
    return value;
}

/* What an asynchronous function resolved to; any other value as it is. Takes `value`. */
static JSValue settle(JSValue value) {
    if (!JS_IsPromise(value)) return value;
    JSContext *where;
    int jobs;
    while ((jobs = JS_ExecutePendingJob(JS_GetRuntime(context), &where)) > 0) {
    }
    JSPromiseStateEnum state = JS_PromiseState(context, value);
    JSValue result = JS_PromiseResult(context, value);
    JS_FreeValue(context, value);
    if (jobs < 0) {
        JS_FreeValue(context, result);
        return JS_EXCEPTION;
    }
    if (state == JS_PROMISE_FULFILLED) return result;
    if (state == JS_PROMISE_REJECTED) return JS_Throw(context, result);
    JS_FreeValue(context, result);
    return JS_ThrowTypeError(context, "the function's promise never settles");
}

/* Sets {"outputs": outputs} as the output. Takes `outputs`. */
static bool write_outputs(JSValue outputs) {
    if (!JS_IsObject(outputs)) {
        JS_FreeValue(context, outputs);
        JS_ThrowTypeError(context, "the function must return an object with one property for each output");
        return false;
    }
    JSValue envelope = JS_NewObject(context);
    if (JS_IsException(envelope)) {
        JS_FreeValue(context, outputs);
        return false;
    }
    if (JS_DefinePropertyValueStr(context, envelope, "outputs", outputs, JS_PROP_C_W_E) < 0) {
        JS_FreeValue(context, envelope);
        return false;
    }
    JSValue json = JS_JSONStringify(context, envelope, JS_UNDEFINED, JS_UNDEFINED);
    JS_FreeValue(context, envelope);
    if (JS_IsException(json)) return false;
    size_t length;
    const char *bytes = JS_ToCStringLen(context, &length, json);
    JS_FreeValue(context, json);
    if (bytes == NULL) return false;
    extism_output(bytes, length);
    JS_FreeCString(context, bytes);
    return true;
}

int32_t innkeeper_call(size_t index) {
    JS_UpdateStackTop(JS_GetRuntime(context));
    JSValue input = read_input();
    if (JS_IsException(input)) {
        struct text text = {.length = 0};
        append_text(&text, "the input is not JSON: ");
        describe_exception(&text);
        return fail(&text);
    }
    if (!JS_IsObject(input)) return fail_with("the input is not a JSON object with inputs, config and run");
    JSValue result = settle(JS_Call(context, functions[index], JS_UNDEFINED, 1, &input));
    JS_FreeValue(context, input);
    if (JS_IsException(result) || !write_outputs(result)) return fail_with_exception();
    return 0;
}

/* ---- At build time ------------------------------------------------------------------------------------------- */

/* Evaluates the script and keeps the functions that it exports. */
static bool evaluate(struct text *problem) {
    JSValue module = JS_Eval(context, innkeeper_script, innkeeper_script_length, innkeeper_script_name,
                             JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(module)) {
        describe_exception(problem);
        return false;
    }
    JSModuleDef *definition = JS_VALUE_GET_PTR(module);
    JSValue done = settle(JS_EvalFunction(context, module));
    JSValue exports = JS_IsException(done) ? JS_EXCEPTION : JS_GetModuleNamespace(context, definition);
    JS_FreeValue(context, done);
    if (JS_IsException(exports)) {
        describe_exception(problem);
        return false;
    }
    for (size_t i = 0; i < innkeeper_function_count; i++) {
        functions[i] = JS_GetPropertyStr(context, exports, innkeeper_functions[i]);
        if (!JS_IsFunction(context, functions[i])) {
            append_text(problem, "the manifest names the function ");
            append_text(problem, innkeeper_functions[i]);
            append_text(problem, ", which the script does not export");
            return false;
        }
    }
    JS_FreeValue(context, exports);
    return true;
}

/* Clears what the evaluation left on the C stack below this frame: it would be part of the snapshot. */
__attribute__((noinline)) static void clear_stack(void) {
    extern char __stack_low;
    char *here = __builtin_frame_address(0);
    memset(&__stack_low, 0, (size_t)(here - &__stack_low));
}

/* Runs once, at build time, before the snapshot is taken of which every fresh guest starts. */
__attribute__((export_name("wizer.initialize"))) void innkeeper_initialize(void) {
    struct text problem = {.length = 0};
    JSRuntime *runtime = JS_NewRuntime();
    if (runtime == NULL) __builtin_trap();
    JS_SetMaxStackSize(runtime, STACK_BUDGET);
    JS_SetGCThreshold(runtime, GC_THRESHOLD);
    context = JS_NewContext(runtime);
    if (context == NULL || innkeeper_function_count > sizeof functions / sizeof *functions) __builtin_trap();
    if (innkeeper_equip(context) < 0) __builtin_trap();
    if (!evaluate(&problem)) {
        extism_error(problem.bytes, problem.length);
        __builtin_trap();
    }
    JS_RunGC(runtime);
    clear_stack();
}
