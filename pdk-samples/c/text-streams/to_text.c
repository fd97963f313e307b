/* text-streams:ToText puts the text of a stream together. */
#include <stdlib.h>
#include <string.h>

#include "innkeeper.h"

/* Outside of the arena, which is released for each batch. */
typedef struct {
    char *bytes;
    size_t length, capacity;
} gathered;

static bool add(gathered *all, ik_text text) {
    if (text.length > all->capacity - all->length) {
        size_t capacity = (all->length + text.length) * 2;
        char *bytes = realloc(all->bytes, capacity);
        if (bytes == NULL) return false;
        all->bytes = bytes;
        all->capacity = capacity;
    }
    if (text.length > 0) memcpy(all->bytes + all->length, text.bytes, text.length);
    all->length += text.length;
    return true;
}

/* Text, and the content of {type: "text_chunk", content: text}; of anything else nothing. */
static ik_text text_of(ik_value item) {
    if (ik_type_of(item) == IK_STRING) return ik_text_of(item);
    ik_value content = ik_get(item, "content");
    bool is_text = ik_text_is(ik_text_of(ik_get(item, "type")), "text_chunk") && ik_type_of(content) == IK_STRING;
    return is_text ? ik_text_of(content) : (ik_text){"", 0};
}

IK_NODE(to_text) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;
    gathered all = {0};
    int64_t chunks = 0;
    void *mark = ik_mark();
    for (;;) {
        ik_release(mark);
        ik_items in = ik_stream_read_many("stream", IK_MOST_ITEMS);
        if (!in.ok) return ik_fail("input 'stream': %t", in.message);
        ik_value item = in.first;
        for (size_t left = in.count; left > 0; left--) {
            if (!add(&all, text_of(item))) return ik_fail("there is not enough memory for the text");
            if (left > 1) item = ik_next(item);
        }
        chunks += (int64_t)in.count;
        if (in.end) break;
    }
    ik_writer outputs;
    ik_write_outputs(&outputs, 2);
    ik_write_string(&outputs, "text");
    ik_write_text(&outputs, (ik_text){all.bytes, all.length});
    ik_write_string(&outputs, "chunks");
    ik_write_integer(&outputs, chunks);
    return ik_finish(&outputs);
}
