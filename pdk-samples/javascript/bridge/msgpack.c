#include "msgpack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Levels of arrays and objects: the host takes no more either. Each level is a frame on the stack. */
enum { MOST_LEVELS = 64 };

/* ---- Writing ------------------------------------------------------------------------------------------------- */

static bool append(JSContext *context, struct buffer *buffer, const void *bytes, size_t length) {
    if (length > buffer->capacity - buffer->length) {
        if (length > SIZE_MAX / 4) return JS_ThrowOutOfMemory(context), false;
        size_t capacity = 2 * (buffer->length + length) + 64;
        uint8_t *grown = realloc(buffer->bytes, capacity);
        if (grown == NULL) return JS_ThrowOutOfMemory(context), false;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    if (length > 0) memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    return true;
}

/* A first byte and an integer of `size` bytes, the highest first. */
static bool append_head(JSContext *context, struct buffer *buffer, uint8_t first, uint64_t number, size_t size) {
    uint8_t bytes[9] = {first};
    for (size_t i = 0; i < size; i++) bytes[1 + i] = (uint8_t)(number >> 8 * (size - 1 - i));
    return append(context, buffer, bytes, 1 + size);
}

static bool append_length(JSContext *context, struct buffer *buffer, uint64_t length, uint8_t small, uint8_t most,
                          uint8_t first) {
    /* `first` is the type with two bytes of length, the one after it has four. */
    if (length <= most) return append_head(context, buffer, (uint8_t)(small | length), 0, 0);
    if (length <= 0xFFFF) return append_head(context, buffer, first, length, 2);
    if (length <= 0xFFFFFFFF) return append_head(context, buffer, (uint8_t)(first + 1), length, 4);
    return JS_ThrowRangeError(context, "a value is too long for the host"), false;
}

static bool append_integer(JSContext *context, struct buffer *buffer, int64_t number) {
    if (number >= -32 && number <= 127) return append_head(context, buffer, (uint8_t)number, 0, 0);
    return append_head(context, buffer, 0xD3, (uint64_t)number, 8);
}

static bool append_number(JSContext *context, struct buffer *buffer, double number) {
    if (floor(number) == number && fabs(number) <= 9007199254740992.0) {
        return append_integer(context, buffer, (int64_t)number);
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return append_head(context, buffer, 0xCB, bits, 8);
}

/* Half of a surrogate pair comes out of QuickJS as three bytes that are no UTF-8: U+FFFD takes their place. */
static bool append_text(JSContext *context, struct buffer *buffer, JSValueConst value) {
    size_t length;
    const char *text = JS_ToCStringLen(context, &length, value);
    if (text == NULL) return false;
    bool done = append_length(context, buffer, length, 0xA0, 31, 0xDA);
    size_t start = buffer->length;
    done = done && append(context, buffer, text, length);
    JS_FreeCString(context, text);
    if (!done) return false;
    uint8_t *bytes = buffer->bytes + start;
    for (size_t i = 0; i + 2 < length; i++) {
        if (bytes[i] == 0xED && bytes[i + 1] >= 0xA0) memcpy(bytes + i, "\xEF\xBF\xBD", 3);
    }
    return true;
}

static bool append_bytes(JSContext *context, struct buffer *buffer, const uint8_t *bytes, size_t length) {
    bool head = length <= 0xFF ? append_head(context, buffer, 0xC4, length, 1)
                               : append_length(context, buffer, length, 0, 0, 0xC5);
    return head && append(context, buffer, bytes, length);
}

/* Reading takes a BigInt modulo 2^64: what comes back as another value does not fit. Takes `again`. */
static bool is_same(JSContext *context, JSValueConst value, JSValue again) {
    bool same = JS_IsStrictEqual(context, value, again);
    JS_FreeValue(context, again);
    return same;
}

static bool append_bigint(JSContext *context, struct buffer *buffer, JSValueConst value) {
    int64_t number;
    if (JS_ToBigInt64(context, &number, value) < 0) return false;
    if (is_same(context, value, JS_NewBigInt64(context, number))) return append_integer(context, buffer, number);
    if (is_same(context, value, JS_NewBigUint64(context, (uint64_t)number))) {
        return append_head(context, buffer, 0xCF, (uint64_t)number, 8);
    }
    return JS_ThrowRangeError(context, "a BigInt for the host has at most 64 bits"), false;
}

static bool append_value(JSContext *context, struct buffer *buffer, JSValueConst value, int level);

static bool append_array(JSContext *context, struct buffer *buffer, JSValueConst array, int level) {
    int64_t length;
    if (JS_GetLength(context, array, &length) < 0) return false;
    if (!append_length(context, buffer, (uint64_t)length, 0x90, 15, 0xDC)) return false;
    for (int64_t i = 0; i < length; i++) {
        JSValue item = JS_GetPropertyInt64(context, array, i);
        bool done = !JS_IsException(item) && append_value(context, buffer, item, level);
        JS_FreeValue(context, item);
        if (!done) return false;
    }
    return true;
}

/* Properties that are undefined are left out, as JSON does. */
static bool append_object(JSContext *context, struct buffer *buffer, JSValueConst object, int level) {
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_GetOwnPropertyNames(context, &names, &count, object, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY) < 0) return false;
    size_t head = buffer->length;
    uint32_t written = 0;
    /* How many there are is known at the end. */
    bool done = append_head(context, buffer, 0xDF, 0, 4);
    for (uint32_t i = 0; done && i < count; i++) {
        JSValue item = JS_GetProperty(context, object, names[i].atom);
        if (JS_IsException(item)) {
            done = false;
        } else if (!JS_IsUndefined(item)) {
            JSValue key = JS_AtomToString(context, names[i].atom);
            done = append_text(context, buffer, key) && append_value(context, buffer, item, level);
            JS_FreeValue(context, key);
            written++;
        }
        JS_FreeValue(context, item);
    }
    JS_FreePropertyEnum(context, names, count);
    if (done) {
        for (size_t i = 0; i < 4; i++) buffer->bytes[head + 1 + i] = (uint8_t)(written >> 8 * (3 - i));
    }
    return done;
}

static bool append_value(JSContext *context, struct buffer *buffer, JSValueConst value, int level) {
    if (JS_IsNull(value) || JS_IsUndefined(value)) return append_head(context, buffer, 0xC0, 0, 0);
    if (JS_IsBool(value)) return append_head(context, buffer, JS_ToBool(context, value) ? 0xC3 : 0xC2, 0, 0);
    if (JS_IsNumber(value)) {
        double number;
        return JS_ToFloat64(context, &number, value) == 0 && append_number(context, buffer, number);
    }
    if (JS_IsBigInt(value)) return append_bigint(context, buffer, value);
    if (JS_IsString(value)) return append_text(context, buffer, value);
    if (!JS_IsObject(value) || JS_IsFunction(context, value)) {
        return JS_ThrowTypeError(context, "the host takes plain data: no functions and no symbols"), false;
    }
    if (level == 0) return JS_ThrowRangeError(context, "a value for the host is nested too deeply"), false;
    if (JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        size_t length;
        const uint8_t *bytes = JS_GetUint8Array(context, &length, value);
        return bytes != NULL && append_bytes(context, buffer, bytes, length);
    }
    /* Of the kinds of typed arrays only Uint8Array is bytes: the others are arrays of their numbers. */
    if (JS_IsArray(value) || JS_GetTypedArrayType(value) >= 0) return append_array(context, buffer, value, level - 1);
    return append_object(context, buffer, value, level - 1);
}

bool msgpack_write(JSContext *context, struct buffer *buffer, JSValueConst value) {
    return append_value(context, buffer, value, MOST_LEVELS);
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

struct reader {
    JSContext *context;
    const uint8_t *at, *end;
};

static JSValue wrong(struct reader *reader) {
    return JS_ThrowTypeError(reader->context, "the host's answer is not msgpack that a script can read");
}

static bool take(struct reader *reader, size_t length, const uint8_t **bytes) {
    if (length > (size_t)(reader->end - reader->at)) return false;
    *bytes = reader->at;
    reader->at += length;
    return true;
}

static bool take_number(struct reader *reader, size_t size, uint64_t *number) {
    const uint8_t *bytes;
    if (!take(reader, size, &bytes)) return false;
    *number = 0;
    for (size_t i = 0; i < size; i++) *number = *number << 8 | bytes[i];
    return true;
}

static JSValue read_value(struct reader *reader, int level);

static JSValue read_text(struct reader *reader, uint64_t length) {
    const uint8_t *bytes;
    if (!take(reader, (size_t)length, &bytes)) return wrong(reader);
    return JS_NewStringLen(reader->context, (const char *)bytes, (size_t)length);
}

static JSValue read_bytes(struct reader *reader, uint64_t length) {
    const uint8_t *bytes;
    if (!take(reader, (size_t)length, &bytes)) return wrong(reader);
    return JS_NewUint8ArrayCopy(reader->context, bytes, (size_t)length);
}

static JSValue read_array(struct reader *reader, uint64_t count, int level) {
    /* Each item has at least a byte. */
    if (level == 0 || count > (size_t)(reader->end - reader->at)) return wrong(reader);
    JSValue array = JS_NewArray(reader->context);
    for (uint64_t i = 0; i < count && !JS_IsException(array); i++) {
        JSValue item = read_value(reader, level - 1);
        if (JS_IsException(item) ||
            JS_DefinePropertyValueUint32(reader->context, array, (uint32_t)i, item, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(reader->context, array);
            return JS_EXCEPTION;
        }
    }
    return array;
}

static JSValue read_map(struct reader *reader, uint64_t count, int level) {
    if (level == 0 || count > (size_t)(reader->end - reader->at)) return wrong(reader);
    JSValue object = JS_NewObject(reader->context);
    for (uint64_t i = 0; i < count && !JS_IsException(object); i++) {
        JSValue key = read_value(reader, 0);
        JSAtom atom = JS_IsString(key) ? JS_ValueToAtom(reader->context, key) : JS_ATOM_NULL;
        bool text = JS_IsString(key);
        JS_FreeValue(reader->context, key);
        JSValue item = text ? read_value(reader, level - 1) : wrong(reader);
        bool done = !JS_IsException(item) && atom != JS_ATOM_NULL &&
                    JS_DefinePropertyValue(reader->context, object, atom, item, JS_PROP_C_W_E) >= 0;
        if (atom != JS_ATOM_NULL) JS_FreeAtom(reader->context, atom);
        if (!done) {
            JS_FreeValue(reader->context, object);
            return JS_EXCEPTION;
        }
    }
    return object;
}

static JSValue new_unsigned(JSContext *context, uint64_t number) {
    if (number <= 9007199254740992u) return JS_NewInt64(context, (int64_t)number);
    return JS_NewBigUint64(context, number);
}

static JSValue new_signed(JSContext *context, int64_t number) {
    if (number >= -9007199254740992 && number <= 9007199254740992) return JS_NewInt64(context, number);
    return JS_NewBigInt64(context, number);
}

static JSValue read_float(struct reader *reader, uint64_t bits, size_t size) {
    if (size == 4) {
        uint32_t half = (uint32_t)bits;
        float number;
        memcpy(&number, &half, sizeof number);
        return JS_NewFloat64(reader->context, number);
    }
    double number;
    memcpy(&number, &bits, sizeof number);
    return JS_NewFloat64(reader->context, number);
}

static JSValue read_value(struct reader *reader, int level) {
    JSContext *context = reader->context;
    uint64_t first, number;
    if (!take_number(reader, 1, &first)) return wrong(reader);
    if (first <= 0x7F) return JS_NewInt32(context, (int32_t)first);
    if (first <= 0x8F) return read_map(reader, first & 0x0F, level);
    if (first <= 0x9F) return read_array(reader, first & 0x0F, level);
    if (first <= 0xBF) return read_text(reader, first & 0x1F);
    if (first >= 0xE0) return JS_NewInt32(context, (int32_t)(int8_t)first);
    switch (first) {
    case 0xC0: return JS_NULL;
    case 0xC2: return JS_FALSE;
    case 0xC3: return JS_TRUE;
    default: break;
    }
    /* Bytes of the number that follows the type: a length, an integer, a float. */
    static const uint8_t sizes[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4, [0x0A] = 4, [0x0B] = 8, [0x0C] = 1, [0x0D] = 2, [0x0E] = 4, [0x0F] = 8,
        [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8, [0x19] = 1, [0x1A] = 2, [0x1B] = 4, [0x1C] = 2, [0x1D] = 4,
        [0x1E] = 2, [0x1F] = 4,
    };
    size_t size = sizes[first - 0xC0];
    if (size == 0 || !take_number(reader, size, &number)) return wrong(reader);
    switch (first) {
    case 0xC4: case 0xC5: case 0xC6: return read_bytes(reader, number);
    case 0xCA: case 0xCB: return read_float(reader, number, size);
    case 0xCC: case 0xCD: case 0xCE: case 0xCF: return new_unsigned(context, number);
    case 0xD0: return new_signed(context, (int8_t)number);
    case 0xD1: return new_signed(context, (int16_t)number);
    case 0xD2: return new_signed(context, (int32_t)number);
    case 0xD3: return new_signed(context, (int64_t)number);
    case 0xD9: case 0xDA: case 0xDB: return read_text(reader, number);
    case 0xDC: case 0xDD: return read_array(reader, number, level);
    default: return read_map(reader, number, level);
    }
}

JSValue msgpack_read(JSContext *context, const uint8_t *bytes, size_t length) {
    struct reader reader = {context, bytes, bytes + length};
    JSValue value = read_value(&reader, MOST_LEVELS);
    if (!JS_IsException(value) && reader.at != reader.end) {
        JS_FreeValue(context, value);
        return wrong(&reader);
    }
    return value;
}
