/* core:MatrixOperation computes with numbers, vectors and matrices, with the shapes that mathjs gives. */
#include "matrix.h"

/* 32 KiB each: too much for the stack. */
static matrix a, b, result;

static double plus(double x, double y) { return x + y; }
static double minus(double x, double y) { return x - y; }
static double times(double x, double y) { return x * y; }

static int32_t refuse_shapes(const char *operation, const char *rule) {
    ik_fail("inputs 'a' (%u x %u) and 'b' (%u x %u) cannot be %s: %s", a.rows, a.columns, b.rows, b.columns, operation,
            rule);
    return IK_FAILED;
}

/* Cell by cell; a scalar goes with every cell of the other. */
static void combine(double (*operation)(double, double)) {
    const matrix *larger = a.shape == SCALAR ? &b : &a;
    result.shape = larger->shape;
    result.rows = larger->rows;
    result.columns = larger->columns;
    for (size_t i = 0; i < result.rows * result.columns; i++) {
        result.cells[i] = operation(a.cells[a.shape == SCALAR ? 0 : i], b.cells[b.shape == SCALAR ? 0 : i]);
    }
}

static int32_t elementwise(double (*operation)(double, double), const char *name) {
    bool same = a.shape == b.shape && a.rows == b.rows && a.columns == b.columns;
    if (!same && a.shape != SCALAR && b.shape != SCALAR) {
        return refuse_shapes(name, "they must have the same shape, or one be a number");
    }
    combine(operation);
    return IK_OK;
}

static int32_t add(void) { return elementwise(plus, "added"); }

static int32_t subtract(void) { return elementwise(minus, "subtracted"); }

/* A vector counts as a row on the left and as a column on the right; two of them give their dot product. */
static int32_t multiply(void) {
    if (a.shape == SCALAR || b.shape == SCALAR) {
        combine(times);
        return IK_OK;
    }
    size_t depth = b.shape == VECTOR ? b.columns : b.rows;
    if (a.columns != depth) {
        return refuse_shapes("multiplied", "the columns of 'a' must be as many as the rows of 'b' (of a vector: its elements)");
    }
    size_t columns = b.shape == VECTOR ? 1 : b.columns;
    for (size_t row = 0; row < a.rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            double sum = 0;
            for (size_t i = 0; i < depth; i++) sum += a.cells[row * depth + i] * b.cells[i * columns + column];
            result.cells[row * columns + column] = sum;
        }
    }
    result.shape = a.shape == MATRIX && b.shape == MATRIX ? MATRIX : a.shape == b.shape ? SCALAR : VECTOR;
    result.rows = result.shape == MATRIX ? a.rows : 1;
    result.columns = result.shape == VECTOR && b.shape == VECTOR ? a.rows : columns;
    return IK_OK;
}

static int32_t transpose(void) {
    if (a.shape == VECTOR) {
        result = a;
        return IK_OK;
    }
    result.shape = MATRIX;
    result.rows = a.columns;
    result.columns = a.rows;
    for (size_t row = 0; row < a.rows; row++) {
        for (size_t column = 0; column < a.columns; column++) {
            result.cells[column * a.rows + row] = a.cells[row * a.columns + column];
        }
    }
    return IK_OK;
}

static int32_t refuse_not_square(const char *slot) {
    if (a.shape == MATRIX && a.rows == a.columns) return IK_OK;
    return ik_fail("input '%s' is not a square matrix: it has %u rows and %u columns", slot, a.rows, a.columns);
}

static int32_t inverse_of(const char *slot) {
    if (refuse_not_square(slot) != IK_OK) return IK_FAILED;
    return invert(&a, &result) ? IK_OK : ik_fail("input '%s' is singular: it has no inverse", slot);
}

static int32_t determinant_of(const char *slot) {
    if (refuse_not_square(slot) != IK_OK) return IK_FAILED;
    result.shape = SCALAR;
    result.rows = result.columns = 1;
    result.cells[0] = determinant(&a);
    return IK_OK;
}

static int32_t compute_of_two(const ik_call *call, int32_t (*operation)(void)) {
    if (!read_matrix(ik_input(call, "a"), "a", &a) || !read_matrix(ik_input(call, "b"), "b", &b)) return IK_FAILED;
    return operation();
}

/* ComfyTavern's slot is 'matrix'; 'a' is taken too, so that changing the mode does not break a graph. */
static int32_t compute_of_one(const ik_call *call, ik_text mode) {
    const char *slot = "matrix";
    ik_value value = ik_input(call, slot);
    if (ik_type_of(value) == IK_NIL && ik_type_of(ik_input(call, "a")) != IK_NIL) value = ik_input(call, slot = "a");
    if (!read_matrix(value, slot, &a)) return IK_FAILED;
    if (a.shape == SCALAR) return ik_fail("input '%s' is a number, not a matrix", slot);
    if (ik_text_is(mode, "invert")) return inverse_of(slot);
    if (ik_text_is(mode, "det")) return determinant_of(slot);
    return transpose();
}

IK_NODE(matrix_operation) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;

    ik_value id = ik_config(&call, "operationMode");
    if (ik_type_of(id) != IK_STRING && ik_type_of(id) != IK_NIL) {
        return ik_fail("the configuration's 'operationMode' is %s, not text", ik_type_name(id));
    }
    ik_text mode = ik_type_of(id) == IK_NIL ? (ik_text){"add", 3} : ik_text_of(id);
    int32_t status;
    if (ik_text_is(mode, "add")) {
        status = compute_of_two(&call, add);
    } else if (ik_text_is(mode, "subtract")) {
        status = compute_of_two(&call, subtract);
    } else if (ik_text_is(mode, "multiply")) {
        status = compute_of_two(&call, multiply);
    } else if (ik_text_is(mode, "transpose") || ik_text_is(mode, "invert") || ik_text_is(mode, "det")) {
        status = compute_of_one(&call, mode);
    } else {
        return ik_fail("the configuration's 'operationMode' is \"%t\", which is no mode", mode);
    }
    if (status != IK_OK) return status;

    ik_writer out;
    ik_write_outputs(&out, 1);
    ik_write_string(&out, "result");
    write_matrix(&out, &result);
    return ik_finish(&out);
}
