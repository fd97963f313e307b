/* text-streams:FromText gives a text in pieces. */
#include "innkeeper.h"

/* Bytes of a piece at most; a longer word or line becomes several. */
enum { MOST_PIECE = 64 * 1024 };

static bool is_blank(char byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

/* The length of the first piece: up to the next line, or to the word behind the blanks behind the first one. */
static size_t piece(ik_text text, bool lines) {
    size_t most = text.length < MOST_PIECE ? text.length : MOST_PIECE, at = 0;
    if (lines) {
        while (at < most && text.bytes[at] != '\n') at++;
        if (at < most) at++;
    } else {
        while (at < most && is_blank(text.bytes[at])) at++;
        while (at < most && !is_blank(text.bytes[at])) at++;
        while (at < most && is_blank(text.bytes[at])) at++;
    }
    /* Not in the middle of a character. */
    while (at < text.length && ((unsigned char)text.bytes[at] & 0xC0) == 0x80) at--;
    return at;
}

IK_NODE(from_text) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;
    ik_value given = ik_input(&call, "text"), pieces = ik_input(&call, "pieces");
    if (ik_type_of(given) != IK_STRING) return ik_fail("input 'text' is %s, not text", ik_type_name(given));
    ik_text by = ik_text_of(pieces);
    bool lines = ik_text_is(by, "lines");
    if (ik_type_of(pieces) != IK_NIL && !lines && !ik_text_is(by, "words")) {
        return ik_fail("input 'pieces' is neither \"words\" nor \"lines\"");
    }
    ik_text left = ik_text_of(given);
    void *mark = ik_mark();
    while (left.length > 0) {
        ik_release(mark);
        ik_writer items;
        ik_write_items(&items);
        for (uint32_t count = 0; count < IK_MOST_ITEMS && left.length > 0 && items.length < MOST_PIECE; count++) {
            size_t length = piece(left, lines);
            ik_write_text(&items, (ik_text){left.bytes, length});
            left = (ik_text){left.bytes + length, left.length - length};
        }
        ik_answer out = ik_stream_write_many("stream", &items);
        if (!out.ok && ik_text_is(out.kind, "closed")) break;
        if (!out.ok) return ik_fail("output 'stream': %t", out.message);
    }
    ik_writer outputs;
    ik_write_outputs(&outputs, 0);
    return ik_finish(&outputs);
}
