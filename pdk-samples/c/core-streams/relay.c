#include "relay.h"

int32_t relay(relay_item each, void *context) {
    void *mark = ik_mark();
    for (;;) {
        ik_release(mark);
        ik_items in = ik_stream_read_many("inputStream", IK_MOST_ITEMS);
        if (!in.ok) return ik_fail("input 'inputStream': %t", in.message);
        ik_writer items;
        ik_write_items(&items);
        ik_value item = in.first;
        for (size_t left = in.count; left > 0; left--) {
            if (!each(item, &items, context)) return ik_fail("there is not enough memory for a chunk");
            if (left > 1) item = ik_next(item);
        }
        ik_answer out = ik_stream_write_many("outputStream", &items);
        if (!out.ok && ik_text_is(out.kind, "closed")) break;
        if (!out.ok) return ik_fail("output 'outputStream': %t", out.message);
        if (in.end) break;
    }
    ik_writer outputs;
    ik_write_outputs(&outputs, 0);
    return ik_finish(&outputs);
}
