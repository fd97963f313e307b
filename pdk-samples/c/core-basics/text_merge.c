/* core:TextMerge joins texts with a separator. */
#include <string.h>

#include "innkeeper.h"
#include "number.h"

/* The separator with \n, \t, \r, \\, \' and \" replaced by what they stand for; other characters, a lone backslash
 * too, stay as they are. Never longer than the text. */
static ik_text unescape(ik_text text) {
    static const char escapes[] = "n\nt\tr\r\\\\''\"\"";
    char *to = ik_alloc(text.length);
    if (to == NULL) return (ik_text){NULL, 0};
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.bytes[i];
        if (byte == '\\' && i + 1 < text.length) {
            for (const char *escape = escapes; *escape != '\0'; escape += 2) {
                if (escape[0] == text.bytes[i + 1]) {
                    byte = escape[1];
                    i++;
                    break;
                }
            }
        }
        to[length++] = byte;
    }
    return (ik_text){to, length};
}

/* The text of a value as JavaScript's join gives it; false for what has none. `digits` holds a number's. */
static bool text_of(ik_value value, char *digits, ik_text *text) {
    switch (ik_type_of(value)) {
        case IK_NIL:
            *text = (ik_text){"", 0};
            return true;
        case IK_BOOL:
            *text = ik_bool_of(value) ? (ik_text){"true", 4} : (ik_text){"false", 5};
            return true;
        case IK_NUMBER:
            *text = (ik_text){digits, write_number(ik_number_of(value), digits)};
            return true;
        case IK_STRING:
            *text = ik_text_of(value);
            return true;
        default:
            return false;
    }
}

IK_NODE(text_merge) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;

    ik_text separator = {"\n", 1};
    ik_value given = ik_input(&call, "separator");
    if (ik_type_of(given) == IK_STRING) {
        separator = unescape(ik_text_of(given));
        if (separator.bytes == NULL) return ik_fail("there is not enough memory for the separator");
    } else if (ik_type_of(given) != IK_NIL) {
        return ik_fail("input 'separator' is %s, not text", ik_type_name(given));
    }

    ik_value texts = ik_input(&call, "text_inputs");
    bool many = ik_type_of(texts) == IK_ARRAY;
    size_t count = many ? ik_count(texts) : ik_type_of(texts) == IK_NIL ? 0 : 1;
    char digits[NUMBER_SIZE];
    ik_text text;

    uint64_t total = 0;
    ik_value item = many && count > 0 ? ik_first(texts) : texts;
    for (size_t i = 0; i < count; i++) {
        if (!text_of(item, digits, &text)) {
            return ik_fail("input 'text_inputs' is not text: item %u of %u is %s", i + 1, count, ik_type_name(item));
        }
        total += text.length + (i > 0 ? separator.length : 0);
        if (i + 1 < count) item = ik_next(item);
    }
    /* A few bytes of separators can ask for gigabytes. */
    char *merged = total < SIZE_MAX ? ik_alloc((size_t)total) : NULL;
    if (merged == NULL) return ik_fail("there is not enough memory for the merged text");

    char *at = merged;
    item = many && count > 0 ? ik_first(texts) : texts;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) at = (char *)memcpy(at, separator.bytes, separator.length) + separator.length;
        text_of(item, digits, &text);
        at = (char *)memcpy(at, text.bytes, text.length) + text.length;
        if (i + 1 < count) item = ik_next(item);
    }

    ik_writer out;
    ik_write_outputs(&out, 1);
    ik_write_string(&out, "merged_text");
    ik_write_text(&out, (ik_text){merged, (size_t)total});
    return ik_finish(&out);
}
