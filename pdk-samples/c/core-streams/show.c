#include "show.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    char *to;
    size_t length;
    bool full;
} sight;

static void add(sight *seen, const char *bytes, size_t length) {
    size_t room = SHOWN_SIZE - 3 - seen->length;
    if (seen->full) return;
    if (length > room) {
        /* Not in the middle of a character. */
        length = room;
        while (length > 0 && ((unsigned char)bytes[length] & 0xC0) == 0x80) length--;
        seen->full = true;
    }
    memcpy(seen->to + seen->length, bytes, length);
    seen->length += length;
    if (seen->full) {
        memcpy(seen->to + seen->length, "...", 3);
        seen->length += 3;
    }
}

static void add_string(sight *seen, const char *string) { add(seen, string, strlen(string)); }

/* As in JSON: a line break in it would make another line of the log. */
static void add_quoted(sight *seen, ik_text text) {
    add_string(seen, "\"");
    size_t plain = 0;
    for (size_t i = 0; i < text.length && !seen->full; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        add(seen, text.bytes + plain, i - plain);
        plain = i + 1;
        char escape[8];
        const char *short_one = strchr("\nn\tt\rr\"\"\\\\", byte);
        if (byte != 0 && short_one != NULL) {
            snprintf(escape, sizeof escape, "\\%c", short_one[1]);
        } else {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
        }
        add_string(seen, escape);
    }
    add(seen, text.bytes + plain, text.length - plain);
    add_string(seen, "\"");
}

static void add_number(sight *seen, double number) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.15g", number);
    add_string(seen, digits);
}

/* Each level of containers takes a byte of what is shown, which bounds how deep this goes. */
static void add_value(sight *seen, ik_value value) {
    if (seen->full) return;
    ik_type type = ik_type_of(value);
    if (type == IK_NIL) {
        add_string(seen, "null");
    } else if (type == IK_BOOL) {
        add_string(seen, ik_bool_of(value) ? "true" : "false");
    } else if (type == IK_NUMBER) {
        add_number(seen, ik_number_of(value));
    } else if (type == IK_STRING) {
        add_quoted(seen, ik_text_of(value));
    } else if (type == IK_BYTES) {
        add_number(seen, (double)ik_text_of(value).length);
        add_string(seen, " bytes");
    } else {
        bool map = type == IK_MAP;
        add_string(seen, map ? "{" : "[");
        ik_value at = ik_first(value);
        for (size_t count = ik_count(value), i = 0; i < count && !seen->full; i++) {
            if (i > 0) add_string(seen, ", ");
            if (map) {
                add_value(seen, at);
                add_string(seen, ": ");
                at = ik_next(at);
            }
            add_value(seen, at);
            if (i + 1 < count) at = ik_next(at);
        }
        add_string(seen, map ? "}" : "]");
    }
}

size_t show(ik_value value, char *to) {
    sight seen = {.to = to};
    add_value(&seen, value);
    return seen.length;
}
