#include "network.h"

#include <math.h>

/* One place for the order of the activations: the lists of names, and `value` and `slope` in pass.inc. */
#define ACTIVATIONS(_) \
    _(identity, 0) _(sigmoid, 0) _(tanh, 0) _(relu, 0) _(leaky_relu, "slope") _(relu6, 0) _(hardtanh, 0) \
    _(hard_sigmoid, 0) _(hard_swish, 0) _(elu, "alpha") _(selu, 0) _(celu, "alpha") _(softplus, 0) _(softsign, 0) \
    _(silu, 0) _(gelu, 0) _(gelu_tanh, 0) _(mish, 0) _(log_sigmoid, 0) _(tanhshrink, 0) _(softshrink, "threshold") \
    _(hardshrink, "threshold") _(squareplus, "b") _(sin, 0)

#define NUMBER(name, parameter) A_##name,
#define NAME(name, parameter) #name,
#define PARAMETER(name, parameter) parameter,
enum { ACTIVATIONS(NUMBER) ACTIVATION_COUNT };
const char *const ACTIVATION_NAMES[] = {ACTIVATIONS(NAME) 0};
const char *const ACTIVATION_PARAMETERS[] = {ACTIVATIONS(PARAMETER) 0};

/* pass.inc is written once, for a type REAL and the functions of <math.h> that work in it. */
#define REAL double
#define IN(name) name##_double
#define M(name) name
#include "pass.inc"
#undef REAL
#undef IN
#undef M

#define REAL float
#define IN(name) name##_float
#define M(name) name##f
#include "pass.inc"

void backpropagate(const network *n, const pass *p) {
    if (n->is_double)
        run_double(n, p);
    else
        run_float(n, p);
}
