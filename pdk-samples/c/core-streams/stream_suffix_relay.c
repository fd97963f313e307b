/* core:StreamSuffixRelay adds a text to the end of each text chunk. */
#include <string.h>

#include "relay.h"

static bool write_with_suffix(ik_writer *items, ik_text text, const ik_text *suffix) {
    size_t length = text.length + suffix->length;
    char *joined = ik_alloc(length);
    if (joined == NULL) return false;
    memcpy(joined, text.bytes, text.length);
    memcpy(joined + text.length, suffix->bytes, suffix->length);
    ik_write_text(items, (ik_text){joined, length});
    return !items->failed;
}

static bool is_text_chunk(ik_value item) {
    return ik_type_of(item) == IK_MAP && ik_text_is(ik_text_of(ik_get(item, "type")), "text_chunk") &&
           ik_type_of(ik_get(item, "content")) == IK_STRING;
}

/* Text, and {type: "text_chunk", content: text}, whatever else that has. */
static bool add_suffix(ik_value item, ik_writer *items, void *context) {
    const ik_text *suffix = context;
    if (ik_type_of(item) == IK_STRING) return write_with_suffix(items, ik_text_of(item), suffix);
    if (!is_text_chunk(item)) {
        ik_write_value(items, item);
        return !items->failed;
    }
    size_t pairs = ik_count(item);
    const uint8_t *content = ik_get(item, "content").at;
    ik_write_map(items, (uint32_t)pairs);
    ik_value key = ik_first(item);
    for (size_t left = pairs; left > 0; left--) {
        ik_value value = ik_next(key);
        ik_write_value(items, key);
        if (value.at == content) {
            if (!write_with_suffix(items, ik_text_of(value), suffix)) return false;
        } else {
            ik_write_value(items, value);
        }
        if (left > 1) key = ik_next(value);
    }
    return !items->failed;
}

IK_NODE(stream_suffix_relay) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;
    ik_value given = ik_input(&call, "suffix");
    ik_text suffix = {"---", 3};
    if (ik_type_of(given) == IK_STRING) {
        suffix = ik_text_of(given);
    } else if (ik_type_of(given) != IK_NIL) {
        return ik_fail("input 'suffix' is %s, not text", ik_type_name(given));
    }
    return relay(add_suffix, &suffix);
}
