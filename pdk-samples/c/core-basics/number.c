#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static const char *skip_digits(const char *at, const char *end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

/* Where the exponent that may start at `at` ends, `at` where there is none, NULL where it is broken. */
static const char *skip_exponent(const char *at, const char *end) {
    if (at == end || (*at != 'e' && *at != 'E')) return at;
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    const char *after = skip_digits(at, end);
    return after == at ? NULL : after;
}

/* The value of characters that are a decimal number. The C library rounds correctly at any length. */
static bool convert(const char *at, const char *end, double *number) {
    size_t length = (size_t)(end - at);
    char *copy = ik_alloc(length + 1);
    if (copy == NULL) return false;
    memcpy(copy, at, length);
    copy[length] = '\0';
    *number = strtod(copy, NULL);
    return true;
}

const char *read_json_number(const char *at, const char *end, double *number) {
    const char *start = at;
    if (at < end && *at == '-') at++;
    const char *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1)) return NULL;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        at = skip_digits(at, end);
        if (at == fraction) return NULL;
    }
    at = skip_exponent(at, end);
    return at != NULL && convert(start, at, number) ? at : NULL;
}

bool read_number(ik_text text, double *number) {
    const char *at = text.bytes, *end = text.bytes + text.length;
    while (at < end && is_space(*at)) at++;
    while (at < end && is_space(end[-1])) end--;
    if (at == end) {
        *number = 0;
        return true;
    }
    const char *start = at;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    if (ik_text_is((ik_text){at, (size_t)(end - at)}, "Infinity")) {
        *number = negative ? -INFINITY : INFINITY;
        return true;
    }
    const char *whole = at;
    at = skip_digits(at, end);
    size_t digits = (size_t)(at - whole);
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        at = skip_digits(at, end);
        digits += (size_t)(at - fraction);
    }
    if (digits == 0) return false;
    return skip_exponent(at, end) == end && convert(start, end, number);
}

/* The fewest significant digits that read back as `number` (finite, above 0), and its decimal exponent. */
static int shortest_digits(double number, char *digits, int *exponent) {
    char buffer[NUMBER_SIZE];
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(buffer, sizeof buffer, "%.*e", precision, number);
        if (strtod(buffer, NULL) == number) break;
    }
    char *mark = strchr(buffer, 'e');
    *exponent = atoi(mark + 1);
    int count = 0;
    for (char *at = buffer; at < mark; at++) {
        if (is_digit(*at)) digits[count++] = *at;
    }
    return count;
}

size_t write_number(double number, char *to) {
    char *at = to;
    if (isnan(number)) return (size_t)(stpcpy(to, "NaN") - to);
    if (number < 0) {
        *at++ = '-';
        number = -number;
    }
    if (isinf(number)) return (size_t)(stpcpy(at, "Infinity") - to);
    if (number == 0) {
        *at++ = '0';
        return (size_t)(at - to);
    }
    char digits[NUMBER_SIZE];
    int exponent, count = shortest_digits(number, digits, &exponent);
    if (exponent >= 21 || exponent < -6) {
        *at++ = digits[0];
        if (count > 1) *at++ = '.';
        for (int i = 1; i < count; i++) *at++ = digits[i];
        return (size_t)(at - to) + (size_t)sprintf(at, "e%+d", exponent);
    }
    if (exponent < 0) {
        at = stpcpy(at, "0.");
        for (int i = -1; i > exponent; i--) *at++ = '0';
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        *at++ = i < count ? digits[i] : '0';
        if (i == exponent && i + 1 < count) *at++ = '.';
    }
    return (size_t)(at - to);
}
