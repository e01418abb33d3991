/* The framework: fully connected networks in float and double, and their gradients by backpropagation. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stddef.h>

typedef enum { BIAS_NONE, BIAS_PRE, BIAS_POST } bias_placement;

/* The names of the activations, ended by NULL, and the parameter that each takes, or NULL for none. An activation is
   its place in these lists. */
extern const char *const ACTIVATION_NAMES[];
extern const char *const ACTIVATION_PARAMETERS[];

typedef struct {
    size_t inputs, outputs;
    int activation;
    double parameter;
} layer;

typedef struct {
    size_t depth, batch;
    layer *layers;
    bias_placement bias;
    int is_double; /* else float */
} network;

/* The arrays of one pass, each an array of `float` or `double` without gaps, by rows. Layer i has weights W (inputs,
   outputs), which act as x W, biases b (outputs), and z, x, k of (batch, outputs). */
typedef struct {
    const void *x, *y;                     /* (batch, inputs of the first layer), (batch, outputs of the last one) */
    void **weights, **biases;
    void **z, **activations, **k;          /* z_i, x_i and dE/dz_i */
    void **weight_gradients, **bias_gradients;
    void *error;                           /* one number: E = 1/2 sum (x_n - y)^2 */
    void *incoming;                        /* room for dE/dx_i of the widest layer */
} pass;

/* Compute z, activations, k, both kinds of gradients and the error from x, y, weights and biases. */
void backpropagate(const network *n, const pass *p);

#endif
