#include <string.h>

#include "msgpack.h"

IK_SERVICE(stream_read);
IK_SERVICE(stream_write);
IK_SERVICE(stream_write_all);
IK_SERVICE(stream_close);

/* What the host takes of one call, the arguments' own few values and bytes apart. */
enum { MOST_BYTES = 256 * 1024, MOST_VALUES = 1990 };

ik_items ik_stream_read_many(const char *slot, uint32_t most) {
    ik_writer ask;
    ik_ask(&ask, 2);
    ik_write_string(&ask, "slot");
    ik_write_string(&ask, slot);
    ik_write_string(&ask, "limit");
    ik_write_integer(&ask, most < IK_MOST_ITEMS ? most : IK_MOST_ITEMS);
    ik_answer answer = ik_send(innkeeper_stream_read, &ask);
    if (!answer.ok) return (ik_items){.kind = answer.kind, .message = answer.message};
    ik_value items = ik_get(answer.value, "items");
    return (ik_items){
        .ok = true,
        .end = ik_bool_of(ik_get(answer.value, "end")),
        .count = ik_count(items),
        .first = ik_first(items),
    };
}

ik_items ik_stream_read(const char *slot) { return ik_stream_read_many(slot, 1); }

static void ask_to_write(ik_writer *ask, const char *slot, const char *what) {
    ik_ask(ask, 2);
    ik_write_string(ask, "slot");
    ik_write_string(ask, slot);
    ik_write_string(ask, what);
}

static ik_answer no_memory(void) {
    static const char kind[] = "memory", message[] = "there is not enough memory for the items";
    return (ik_answer){.kind = {kind, sizeof kind - 1}, .message = {message, sizeof message - 1}};
}

ik_answer ik_stream_write(const char *slot, const ik_writer *item) {
    if (item->failed) return no_memory();
    ik_writer ask;
    ask_to_write(&ask, slot, "item");
    ik_write_raw(&ask, item->bytes, item->length);
    return ik_send(innkeeper_stream_write, &ask);
}

ik_answer ik_stream_write_many(const char *slot, const ik_writer *items) {
    if (items->failed) return no_memory();
    ik_value at = {items->bytes}, end = {items->bytes + items->length};
    while (at.at < end.at) {
        ik_value next = at;
        uint32_t count = 0;
        size_t values = 0;
        while (next.at < end.at && count < IK_MOST_ITEMS) {
            ik_value after = ik_next_counted(next, &values);
            /* One that is too much by itself is the host's to refuse: it says why. */
            if (count > 0 && (values > MOST_VALUES || after.at - at.at > MOST_BYTES)) break;
            next = after;
            count++;
        }
        ik_writer ask;
        void *mark = ik_mark();
        ask_to_write(&ask, slot, "items");
        ik_write_array(&ask, count);
        ik_write_raw(&ask, at.at, (size_t)(next.at - at.at));
        ik_answer answer = ik_send(innkeeper_stream_write_all, &ask);
        if (!answer.ok) return answer;
        ik_release(mark);
        at = next;
    }
    static const uint8_t nil[] = {0xC0};
    return (ik_answer){.ok = true, .value = {nil}};
}

static ik_answer close_end(const char *slot, const char *end) {
    ik_writer ask;
    ask_to_write(&ask, slot, "end");
    ik_write_string(&ask, end);
    return ik_send(innkeeper_stream_close, &ask);
}

ik_answer ik_stream_end(const char *slot) { return close_end(slot, "write"); }

ik_answer ik_stream_leave(const char *slot) { return close_end(slot, "read"); }
