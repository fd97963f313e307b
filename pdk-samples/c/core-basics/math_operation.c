/* core:MathOperation computes one number from one to three, as JavaScript's Math does. */
#include <math.h>
#include <string.h>

#include "innkeeper.h"
#include "number.h"

#define E 2.718281828459045
#define PI 3.141592653589793

static double add(const double *in) { return in[0] + in[1]; }
static double subtract(const double *in) { return in[0] - in[1]; }
static double multiply(const double *in) { return in[0] * in[1]; }
static double multiply_add(const double *in) { return in[0] * in[1] + in[2]; }
static double divide(const double *in) { return in[0] / in[1]; }
/* The remainder has the sign of the dividend. */
static double modulo(const double *in) { return fmod(in[0], in[1]); }
static double minimum(const double *in) { return in[0] < in[1] ? in[0] : in[1]; }
static double maximum(const double *in) { return in[0] > in[1] ? in[0] : in[1]; }
static double less_than(const double *in) { return in[0] < in[1]; }
static double greater_than(const double *in) { return in[0] > in[1]; }

/* C gives 1 for a base of 1 or -1 and an infinite exponent. */
static double power(const double *in) { return fabs(in[0]) == 1 && isinf(in[1]) ? NAN : pow(in[0], in[1]); }

static double logarithm(const double *in) {
    if (in[0] <= 0 || in[1] <= 0 || in[1] == 1) return NAN;
    return log(in[0]) / log(in[1]);
}

static double square_root(const double *in) { return sqrt(in[0]); }
static double inverse_square_root(const double *in) { return 1 / sqrt(in[0]); }
static double absolute(const double *in) { return fabs(in[0]); }
static double exponential(const double *in) { return exp(in[0]); }
static double sign(const double *in) { return in[0] > 0 ? 1 : in[0] < 0 ? -1 : in[0]; }

/* Halves go up. Adding 0.5 before cutting would round 0.49999999999999994 up as well. */
static double round_half_up(const double *in) {
    double below = floor(in[0]);
    return copysign(in[0] - below >= 0.5 ? below + 1 : below, in[0]);
}

static double round_down(const double *in) { return floor(in[0]); }
static double round_up(const double *in) { return ceil(in[0]); }
static double truncate_to_integer(const double *in) { return trunc(in[0]); }

static double fraction(const double *in) {
    double rest = in[0] - trunc(in[0]);
    return in[0] < 0 ? 1 + rest : rest;
}

static double sine(const double *in) { return sin(in[0]); }
static double cosine(const double *in) { return cos(in[0]); }
static double tangent(const double *in) { return tan(in[0]); }
static double arc_sine(const double *in) { return asin(in[0]); }
static double arc_cosine(const double *in) { return acos(in[0]); }
static double arc_tangent(const double *in) { return atan(in[0]); }
static double arc_tangent_of_two(const double *in) { return atan2(in[0], in[1]); }
static double hyperbolic_sine(const double *in) { return sinh(in[0]); }
static double hyperbolic_cosine(const double *in) { return cosh(in[0]); }
static double hyperbolic_tangent(const double *in) { return tanh(in[0]); }
static double to_radians(const double *in) { return in[0] * (PI / 180); }
static double to_degrees(const double *in) { return in[0] * (180 / PI); }

enum { MAX_INPUTS = 3 };

typedef struct {
    const char *slot;
    double fallback; /* instead of nothing, 0, NaN, false and empty text */
} operand;

typedef struct {
    const char *id;
    double (*compute)(const double *);
    operand operands[MAX_INPUTS];
} mode;

#define ONE {{"value", 0}}
#define TWO {{"a", 0}, {"b", 0}}

static const mode modes[] = {
    {"add", add, TWO},
    {"subtract", subtract, TWO},
    {"multiply", multiply, TWO},
    {"multiply_add", multiply_add, {{"val1", 0}, {"val2", 0}, {"val3", 0}}},
    {"divide", divide, TWO},
    {"modulo", modulo, TWO},
    {"power", power, {{"base", 0}, {"exponent", 2}}},
    {"logarithm", logarithm, {{"value", 1}, {"base", E}}},
    {"sqrt", square_root, ONE},
    {"inverse_sqrt", inverse_square_root, ONE},
    {"absolute", absolute, ONE},
    {"exp", exponential, ONE},
    {"min", minimum, TWO},
    {"max", maximum, TWO},
    {"lessThan", less_than, TWO},
    {"greaterThan", greater_than, TWO},
    {"sign", sign, ONE},
    {"round", round_half_up, ONE},
    {"floor", round_down, ONE},
    {"ceil", round_up, ONE},
    {"truncate", truncate_to_integer, ONE},
    {"fraction", fraction, ONE},
    {"sin", sine, ONE},
    {"cos", cosine, ONE},
    {"tan", tangent, ONE},
    {"asin", arc_sine, ONE},
    {"acos", arc_cosine, ONE},
    {"atan", arc_tangent, ONE},
    {"atan2", arc_tangent_of_two, {{"y", 0}, {"x", 0}}},
    {"sinh", hyperbolic_sine, ONE},
    {"cosh", hyperbolic_cosine, ONE},
    {"tanh", hyperbolic_tangent, ONE},
    {"to_radians", to_radians, {{"degrees", 0}}},
    {"to_degrees", to_degrees, {{"radians", 0}}},
};

static const mode *find_mode(ik_value id) {
    if (ik_type_of(id) == IK_NIL) return &modes[0];
    if (ik_type_of(id) != IK_STRING) return NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (ik_text_is(ik_text_of(id), modes[i].id)) return &modes[i];
    }
    return NULL;
}

/* What JavaScript counts as false. */
static bool is_falsy(ik_value value) {
    switch (ik_type_of(value)) {
        case IK_NIL:
            return true;
        case IK_BOOL:
            return !ik_bool_of(value);
        case IK_NUMBER:
            return ik_number_of(value) == 0 || isnan(ik_number_of(value));
        case IK_STRING:
            return ik_text_of(value).length == 0;
        default:
            return false;
    }
}

/* The number that an input stands for; false where it stands for none. */
static bool number_of(ik_value value, double *number) {
    switch (ik_type_of(value)) {
        case IK_BOOL:
            *number = ik_bool_of(value);
            return true;
        case IK_NUMBER:
            *number = ik_number_of(value);
            return true;
        case IK_STRING:
            return read_number(ik_text_of(value), number);
        default:
            return false;
    }
}

/* Sets the error for operands that a mode refuses; IK_OK for all others. */
static int32_t check_operands(const mode *mode, const double *in) {
    if ((mode->compute == divide || mode->compute == modulo) && in[1] == 0) {
        return ik_fail("input 'b' is 0: %s by zero has no result", mode->compute == divide ? "division" : "modulo");
    }
    if (mode->compute == square_root && in[0] < 0) {
        return ik_fail("input 'value' is negative: it has no square root");
    }
    if (mode->compute == inverse_square_root && in[0] <= 0) {
        return ik_fail("input 'value' is not above 0: it has no inverse square root");
    }
    return IK_OK;
}

IK_NODE(math_operation) {
    ik_call call;
    if (!ik_begin(&call)) return IK_FAILED;

    ik_value id = ik_config(&call, "operationMode");
    const mode *mode = find_mode(id);
    if (mode == NULL && ik_type_of(id) == IK_STRING) {
        return ik_fail("the configuration's 'operationMode' is \"%t\", which is no mode", ik_text_of(id));
    }
    if (mode == NULL) return ik_fail("the configuration's 'operationMode' is %s, not text", ik_type_name(id));

    double in[MAX_INPUTS] = {0};
    for (size_t i = 0; i < MAX_INPUTS && mode->operands[i].slot != NULL; i++) {
        const char *slot = mode->operands[i].slot;
        ik_value value = ik_input(&call, slot);
        if (is_falsy(value)) {
            in[i] = mode->operands[i].fallback;
        } else if (!number_of(value, &in[i])) {
            if (ik_type_of(value) != IK_STRING) return ik_fail("input '%s' is %s, not a number", slot, ik_type_name(value));
            return ik_fail("input '%s' is the text \"%t\", which is not a number", slot, ik_text_of(value));
        }
    }
    if (check_operands(mode, in) != IK_OK) return IK_FAILED;

    double result = mode->compute(in);
    if (!is_falsy(ik_input(&call, "clamp")) && !isnan(result)) result = fmax(0, fmin(1, result));

    ik_writer out;
    ik_write_outputs(&out, 1);
    ik_write_string(&out, "result");
    ik_write_float(&out, result);
    return ik_finish(&out);
}
