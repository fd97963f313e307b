/* logic:Compare says how two values stand to each other. */
#include <string.h>

#include "innkeeper.h"

typedef enum { EQUAL, NOT_EQUAL, LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, CONTAINS, OPERATORS } operator;

static const char *const names[OPERATORS] = {
    "equal", "notEqual", "less", "lessOrEqual", "greater", "greaterOrEqual", "contains",
};

/* The operator that is asked for; OPERATORS where there is none of that name. */
static operator asked_for(ik_value given) {
    if (ik_type_of(given) == IK_NIL) return EQUAL;
    operator found = EQUAL;
    while (found < OPERATORS && !ik_text_is(ik_text_of(given), names[found])) found++;
    return found;
}

/* Bytes of UTF-8 have the order of code points. */
static int text_order(ik_text a, ik_text b) {
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter > 0 ? memcmp(a.bytes, b.bytes, shorter) : 0;
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

static bool contains(ik_text text, ik_text part) {
    if (part.length == 0) return true;
    const char *at = text.bytes, *end = text.bytes + text.length;
    while ((size_t)(end - at) >= part.length) {
        at = memchr(at, part.bytes[0], (size_t)(end - at) - part.length + 1);
        if (at == NULL) return false;
        if (memcmp(at, part.bytes, part.length) == 0) return true;
        at++;
    }
    return false;
}

/* Of numbers or of texts; NaN stands to nothing. */
static bool ordered(ik_value a, ik_value b, operator how) {
    double x = ik_number_of(a), y = ik_number_of(b);
    if (ik_type_of(a) == IK_STRING) {
        x = text_order(ik_text_of(a), ik_text_of(b));
        y = 0;
    }
    switch (how) {
        case LESS:
            return x < y;
        case LESS_OR_EQUAL:
            return x <= y;
        case GREATER:
            return x > y;
        case GREATER_OR_EQUAL:
            return x >= y;
        default:
            return x == y;
    }
}

static bool is_plain(ik_value value) {
    ik_type type = ik_type_of(value);
    return type != IK_BYTES && type != IK_ARRAY && type != IK_MAP;
}

static bool equal(ik_value a, ik_value b) {
    if (ik_type_of(a) != ik_type_of(b)) return false;
    if (ik_type_of(a) == IK_BOOL) return ik_bool_of(a) == ik_bool_of(b);
    return ik_type_of(a) == IK_NIL || ordered(a, b, EQUAL);
}

IK_NODE(compare) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;
    ik_value a = ik_input(&call, "a"), b = ik_input(&call, "b"), given = ik_input(&call, "operator");
    operator how = asked_for(given);
    if (how == OPERATORS) {
        return ik_fail(
            "input 'operator' is none of equal, notEqual, less, lessOrEqual, greater, greaterOrEqual and contains");
    }
    if (!is_plain(a)) return ik_fail("input 'a' is %s, which is not compared", ik_type_name(a));
    if (!is_plain(b)) return ik_fail("input 'b' is %s, which is not compared", ik_type_name(b));

    bool texts = ik_type_of(a) == IK_STRING && ik_type_of(b) == IK_STRING;
    bool numbers = ik_type_of(a) == IK_NUMBER && ik_type_of(b) == IK_NUMBER;
    bool result;
    if (how == EQUAL || how == NOT_EQUAL) {
        result = equal(a, b) == (how == EQUAL);
    } else if (!texts && (how == CONTAINS || !numbers)) {
        return ik_fail("input 'operator' is %s, which wants two texts%s; a is %s, b is %s", names[how],
                       how == CONTAINS ? "" : " or two numbers", ik_type_name(a), ik_type_name(b));
    } else {
        result = how == CONTAINS ? contains(ik_text_of(a), ik_text_of(b)) : ordered(a, b, how);
    }
    ik_writer outputs;
    ik_write_outputs(&outputs, 1);
    ik_write_string(&outputs, "result");
    ik_write_bool(&outputs, result);
    return ik_finish(&outputs);
}
