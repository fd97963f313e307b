/* Numbers, vectors and matrices: reading them from inputs, computing with them, writing them. */
#ifndef CORE_BASICS_MATRIX_H
#define CORE_BASICS_MATRIX_H

#include "innkeeper.h"

/* Rows and columns at most: the arithmetic of an inversion grows with the cube. */
enum { MAX_SIDE = 64 };

typedef enum { SCALAR, VECTOR, MATRIX } shape;

/* A scalar has one cell, a vector one row. */
typedef struct {
    shape shape;
    size_t rows, columns;
    double cells[MAX_SIDE * MAX_SIDE];
} matrix;

/* Reads a number, an array, or JSON text of either. False after `error_set`, which names the slot. */
bool read_matrix(ik_value value, const char *slot, matrix *to);

void write_matrix(ik_writer *writer, const matrix *from);

/* Elimination changes its argument. */
double determinant(matrix *square);

/* False where it has no inverse. Changes its argument. */
bool invert(matrix *square, matrix *inverse);

#endif
