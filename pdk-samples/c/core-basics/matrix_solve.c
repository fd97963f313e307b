#include <math.h>

#include "matrix.h"

/* Integers up to this are exact as doubles. */
static const double EXACT = 9007199254740992.0;

static void swap_rows(matrix *m, size_t first, size_t second) {
    for (size_t column = 0; column < m->columns; column++) {
        double cell = m->cells[first * m->columns + column];
        m->cells[first * m->columns + column] = m->cells[second * m->columns + column];
        m->cells[second * m->columns + column] = cell;
    }
}

/* The row from `step` on whose cell in column `step` is the largest by magnitude. */
static size_t find_pivot(const matrix *m, size_t step) {
    size_t pivot = step;
    for (size_t row = step + 1; row < m->rows; row++) {
        if (fabs(m->cells[row * m->columns + step]) > fabs(m->cells[pivot * m->columns + step])) pivot = row;
    }
    return pivot;
}

/* Fraction-free elimination: exact for integers, as long as no product leaves what a double holds exactly. False
 * where one does. */
static bool exact_determinant(matrix *m, double *result) {
    size_t n = m->rows;
    double previous = 1, sign = 1;
    for (size_t i = 0; i < n * n; i++) {
        if (m->cells[i] != trunc(m->cells[i]) || fabs(m->cells[i]) > EXACT) return false;
    }
    for (size_t step = 0; step + 1 < n; step++) {
        size_t pivot = find_pivot(m, step);
        if (m->cells[pivot * n + step] == 0) {
            *result = 0;
            return true;
        }
        if (pivot != step) {
            swap_rows(m, pivot, step);
            sign = -sign;
        }
        double divisor = m->cells[step * n + step];
        for (size_t row = step + 1; row < n; row++) {
            for (size_t column = step + 1; column < n; column++) {
                double left = m->cells[row * n + column] * divisor;
                double right = m->cells[row * n + step] * m->cells[step * n + column];
                if (fabs(left) > EXACT / 2 || fabs(right) > EXACT / 2) return false;
                m->cells[row * n + column] = (left - right) / previous;
            }
        }
        previous = divisor;
    }
    *result = sign * m->cells[n * n - 1];
    return true;
}

double determinant(matrix *square) {
    static matrix copy;
    copy = *square;
    double result;
    if (exact_determinant(&copy, &result)) return result;

    size_t n = square->rows;
    result = 1;
    for (size_t step = 0; step < n; step++) {
        size_t pivot = find_pivot(square, step);
        double divisor = square->cells[pivot * n + step];
        if (divisor == 0) return 0;
        if (pivot != step) {
            swap_rows(square, pivot, step);
            result = -result;
        }
        result *= divisor;
        for (size_t row = step + 1; row < n; row++) {
            double factor = square->cells[row * n + step] / divisor;
            for (size_t column = step + 1; column < n; column++) {
                square->cells[row * n + column] -= factor * square->cells[step * n + column];
            }
        }
    }
    return result;
}

bool invert(matrix *square, matrix *inverse) {
    static matrix copy;
    size_t n = square->rows;
    copy = *square;
    /* Rounding would hide that integers are singular. */
    double whole = determinant(&copy);
    if (whole == 0) return false;

    *inverse = (matrix){.shape = MATRIX, .rows = n, .columns = n};
    if (n == 2 && isfinite(1 / whole)) {
        /* By its formula, as mathjs does: integers that divide evenly stay integers. */
        const double *cells = square->cells;
        const double adjugate[] = {cells[3], -cells[1], -cells[2], cells[0]};
        for (size_t i = 0; i < 4; i++) inverse->cells[i] = adjugate[i] / whole;
        return true;
    }
    for (size_t i = 0; i < n; i++) inverse->cells[i * n + i] = 1;
    for (size_t step = 0; step < n; step++) {
        size_t pivot = find_pivot(square, step);
        double divisor = square->cells[pivot * n + step];
        if (divisor == 0) return false;
        swap_rows(square, pivot, step);
        swap_rows(inverse, pivot, step);
        for (size_t column = 0; column < n; column++) {
            square->cells[step * n + column] /= divisor;
            inverse->cells[step * n + column] /= divisor;
        }
        for (size_t row = 0; row < n; row++) {
            double factor = square->cells[row * n + step];
            if (row == step || factor == 0) continue;
            for (size_t column = 0; column < n; column++) {
                square->cells[row * n + column] -= factor * square->cells[step * n + column];
                inverse->cells[row * n + column] -= factor * inverse->cells[step * n + column];
            }
        }
    }
    return true;
}
