#include <string.h>

#include "matrix.h"
#include "number.h"

/* Collects the cells of a matrix, row by row, from either notation. */
typedef struct {
    matrix *to;
    const char *slot;
    size_t width; /* of the row that is being read */
} builder;

static bool refuse_number_of(const char *slot, const char *what) {
    ik_fail("input '%s' is too large: it has more than %u %s", slot, (size_t)MAX_SIDE, what);
    return false;
}

static bool add_cell(builder *build, double cell) {
    matrix *to = build->to;
    if (build->width == MAX_SIDE) return refuse_number_of(build->slot, to->shape == VECTOR ? "elements" : "columns");
    to->cells[to->rows * to->columns + build->width++] = cell;
    /* The first row tells how many columns there are; until it ends its cells lie at the start. */
    return true;
}

static bool end_row(builder *build) {
    matrix *to = build->to;
    if (build->width == 0) {
        ik_fail("input '%s' has an empty %s", build->slot, to->shape == VECTOR ? "array" : "row");
        return false;
    }
    if (to->rows == 0) to->columns = build->width;
    if (build->width != to->columns) {
        ik_fail("input '%s' is ragged: row 1 has %u elements, row %u has %u", build->slot, to->columns, to->rows + 1,
                build->width);
        return false;
    }
    to->rows++;
    build->width = 0;
    return true;
}

static bool begin_row(builder *build) {
    return build->to->rows < MAX_SIDE || refuse_number_of(build->slot, "rows");
}

static bool refuse_element(builder *build, const char *what) {
    ik_fail("input '%s' has an element that is %s, not a number", build->slot, what);
    return false;
}

static bool refuse_mixture(builder *build) {
    ik_fail("input '%s' mixes numbers and rows", build->slot);
    return false;
}

/* ---- From a msgpack array ------------------------------------------------------------------------------------- */

static bool read_row(builder *build, ik_value row) {
    size_t count = ik_count(row);
    ik_value cell = ik_first(row);
    for (size_t i = 0; i < count; i++) {
        if (ik_type_of(cell) == IK_ARRAY) {
            ik_fail("input '%s' is nested deeper than a matrix", build->slot);
            return false;
        }
        if (ik_type_of(cell) != IK_NUMBER) return refuse_element(build, ik_type_name(cell));
        if (!add_cell(build, ik_number_of(cell))) return false;
        if (i + 1 < count) cell = ik_next(cell);
    }
    return end_row(build);
}

static bool read_array(builder *build, ik_value array) {
    size_t count = ik_count(array);
    if (count == 0) return end_row(build);
    ik_value item = ik_first(array);
    if (ik_type_of(item) != IK_ARRAY) {
        for (size_t i = 0; i < count; i++) {
            if (ik_type_of(item) == IK_ARRAY) return refuse_mixture(build);
            if (ik_type_of(item) != IK_NUMBER) return refuse_element(build, ik_type_name(item));
            if (!add_cell(build, ik_number_of(item))) return false;
            if (i + 1 < count) item = ik_next(item);
        }
        return end_row(build);
    }
    build->to->shape = MATRIX;
    for (size_t i = 0; i < count; i++) {
        if (ik_type_of(item) != IK_ARRAY) return refuse_mixture(build);
        if (!begin_row(build) || !read_row(build, item)) return false;
        if (i + 1 < count) item = ik_next(item);
    }
    return true;
}

/* ---- From JSON text ------------------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} cursor;

static char peek(cursor *in) {
    while (in->at < in->end && strchr(" \t\r\n", *in->at) != NULL && *in->at != '\0') in->at++;
    return in->at < in->end ? *in->at : '\0';
}

static bool refuse_text(builder *build, const char *start, cursor *in) {
    ik_fail("input '%s' is text that is neither a number nor a JSON array of numbers (at character %u)", build->slot,
            (size_t)(in->at - start) + 1);
    return false;
}

/* A row from after its opening bracket to after its closing one. */
static bool read_json_row(builder *build, const char *start, cursor *in) {
    if (peek(in) == ']') {
        in->at++;
        return end_row(build);
    }
    for (;;) {
        double cell;
        if (peek(in) == '[') {
            if (build->to->shape == VECTOR) return refuse_mixture(build);
            ik_fail("input '%s' is nested deeper than a matrix", build->slot);
            return false;
        }
        const char *after = read_json_number(in->at, in->end, &cell);
        if (after == NULL) return refuse_text(build, start, in);
        in->at = after;
        if (!add_cell(build, cell)) return false;
        char next = peek(in);
        if (next != ',' && next != ']') return refuse_text(build, start, in);
        in->at++;
        if (next == ']') return end_row(build);
    }
}

static bool read_json(builder *build, ik_text text) {
    cursor in = {text.bytes, text.bytes + text.length};
    if (peek(&in) != '[') return refuse_text(build, text.bytes, &in);
    in.at++;
    if (peek(&in) != '[') {
        if (!read_json_row(build, text.bytes, &in)) return false;
    } else {
        build->to->shape = MATRIX;
        for (char next = ','; next == ','; in.at++) {
            char opening = peek(&in);
            if (opening != '[') {
                double cell;
                if (read_json_number(in.at, in.end, &cell) != NULL) return refuse_mixture(build);
                return refuse_text(build, text.bytes, &in);
            }
            in.at++;
            if (!begin_row(build) || !read_json_row(build, text.bytes, &in)) return false;
            next = peek(&in);
            if (next != ',' && next != ']') return refuse_text(build, text.bytes, &in);
        }
    }
    return (peek(&in) == '\0' && in.at == in.end) || refuse_text(build, text.bytes, &in);
}

bool read_matrix(ik_value value, const char *slot, matrix *to) {
    builder build = {to, slot, 0};
    to->shape = VECTOR;
    to->rows = to->columns = 0;
    double number;
    switch (ik_type_of(value)) {
        case IK_ARRAY:
            return read_array(&build, value);
        case IK_STRING:
            if (ik_text_of(value).length == 0 || !read_number(ik_text_of(value), &number)) {
                return read_json(&build, ik_text_of(value));
            }
            break;
        case IK_NUMBER:
            number = ik_number_of(value);
            break;
        case IK_NIL:
            ik_fail("input '%s' is missing", slot);
            return false;
        default:
            ik_fail("input '%s' is %s, not a number, an array or JSON text", slot, ik_type_name(value));
            return false;
    }
    to->shape = SCALAR;
    to->rows = to->columns = 1;
    to->cells[0] = number;
    return true;
}

void write_matrix(ik_writer *writer, const matrix *from) {
    if (from->shape == MATRIX) ik_write_array(writer, (uint32_t)from->rows);
    for (size_t row = 0; row < from->rows; row++) {
        if (from->shape != SCALAR) ik_write_array(writer, (uint32_t)from->columns);
        for (size_t column = 0; column < from->columns; column++) {
            ik_write_float(writer, from->cells[row * from->columns + column]);
        }
    }
}
