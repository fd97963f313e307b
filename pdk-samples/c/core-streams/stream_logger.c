/* core:StreamLogger writes each chunk of a stream into the log and passes it on. */
#include "relay.h"
#include "show.h"

/* A host keeps 64 KiB of a call's log. What would be dropped there is not made here. */
enum { MOST_LOGGED = 60 * 1024 };

typedef struct {
    size_t logged;
    bool silent;
} logger;

static bool log_item(ik_value item, ik_writer *items, void *context) {
    logger *log = context;
    if (!log->silent) {
        char line[SHOWN_SIZE];
        size_t length = show(item, line);
        log->logged += length;
        log->silent = log->logged > MOST_LOGGED;
        static const char over[] = "the log has no room for further chunks";
        ik_log(log->silent ? (ik_text){over, sizeof over - 1} : (ik_text){line, length});
    }
    ik_write_value(items, item);
    return !items->failed;
}

IK_NODE(stream_logger) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;
    logger log = {0};
    return relay(log_item, &log);
}
