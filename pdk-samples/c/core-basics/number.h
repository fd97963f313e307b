/* Numbers as JavaScript reads and writes them. */
#ifndef CORE_BASICS_NUMBER_H
#define CORE_BASICS_NUMBER_H

#include "innkeeper.h"

/* Reads a number of JSON's grammar from [at, end). Answers where it ends, or NULL where there is none. */
const char *read_json_number(const char *at, const char *end, double *number);

/* What Number(text) gives for decimal numbers, Infinity and blank text; false for anything else. */
bool read_number(ik_text text, double *number);

/* Room for what `write_number` writes. */
enum { NUMBER_SIZE = 32 };

/* What String(number) gives, not terminated; answers its length. */
size_t write_number(double number, char *to);

#endif
