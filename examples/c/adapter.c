/* The host of the framework in network.c: it answers the suite's requests, one JSON message a line, on standard input
   and output. docs/protocol.md of the suite describes the messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "json.h"
#include "network.h"
#include "text.h"

#define LONGEST_MESSAGE ((size_t)1 << 28) /* bytes */
#define MOST_ENTRIES ((size_t)1 << 24)    /* of one array */
#define MOST_PROGRAMS ((size_t)1 << 16)
#define DEEPEST ((size_t)4096)

enum {
    NO_JSON = -32700,
    NO_REQUEST = -32600,
    NO_METHOD = -32601,
    BAD_PARAMETERS = -32602,
    UNSUPPORTED = -32001,
    RAISED = -32002
};

/* What is wrong with a request. Functions that can fail fill one in and return 0. */
typedef struct {
    int code;
    char message[160];
} failure;

static int fail(failure *f, int code, const char *message) {
    f->code = code;
    snprintf(f->message, sizeof f->message, "%s", message);
    return 0;
}

static int fail_at(failure *f, int code, const char *what, size_t number, const char *message) {
    f->code = code;
    snprintf(f->message, sizeof f->message, "%s %zu: %s", what, number, message);
    return 0;
}

/* The programs that were built, by number. A number is not used again. */
typedef struct {
    network *programs[MOST_PROGRAMS];
    size_t count;
} host;

static int initialize(const json *parameters, text *result, failure *f) {
    const json *device = json_member(parameters, "device");
    size_t protocol;
    if (!json_count(json_member(parameters, "protocol"), 1, &protocol) || protocol != 1)
        return fail(f, BAD_PARAMETERS, "protocol: this host speaks version 1");
    if (device && device->kind != JSON_NULL && !json_is(device, "cpu"))
        return fail(f, BAD_PARAMETERS, "device: there is only cpu");
    add(result, "{\"protocol\":1,\"name\":\"c-port\",\"version\":\"1.0\",\"layout\":\"in_out\",\"dtypes\":[\"f64\",\"f32\"],"
                "\"biases\":[\"none\",\"pre\",\"post\"],\"device\":\"cpu\",\"activations\":[");
    for (size_t i = 0; ACTIVATION_NAMES[i]; i++) {
        add(result, i ? "," : "");
        add_quoted(result, ACTIVATION_NAMES[i]);
    }
    /* The slopes that pass.inc takes where a derivative jumps. */
    add(result, "],\"kinks\":[[\"relu\",0,0],[\"leaky_relu\",0,0.125],[\"relu6\",0,0],[\"relu6\",6,0],"
                "[\"hardtanh\",-1,0],[\"hardtanh\",1,0],[\"hard_sigmoid\",-3,0],[\"hard_sigmoid\",3,0],"
                "[\"hard_swish\",-3,0],[\"hard_swish\",3,1],[\"selu\",0,1.7580993408473766],"
                "[\"softshrink\",-0.75,0],[\"softshrink\",0.75,0],[\"hardshrink\",-0.75,0],[\"hardshrink\",0.75,0]],"
                "\"arithmetic\":{\"f64\":{\"flushing\":\"never\"},\"f32\":{\"flushing\":\"never\"}}}");
    return 1;
}

static void free_network(network *n) {
    if (n)
        free(n->layers);
    free(n);
}

static int read_activation(const json *given, layer *l, size_t number, failure *f) {
    const json *name = json_member(given, "name"), *parameters = json_member(given, "parameters");
    if (!name || name->kind != JSON_STRING || (parameters && parameters->kind != JSON_OBJECT))
        return fail_at(f, BAD_PARAMETERS, "activation", number, "give an object with a name and parameters");
    size_t i = 0;
    while (ACTIVATION_NAMES[i] && !json_is(name, ACTIVATION_NAMES[i]))
        i++;
    if (!ACTIVATION_NAMES[i])
        return fail_at(f, UNSUPPORTED, "activation", number, "there is none of this name");
    const json *value = ACTIVATION_PARAMETERS[i] ? json_member(parameters, ACTIVATION_PARAMETERS[i]) : NULL;
    if ((parameters ? parameters->length : 0) != (value ? 1u : 0u))
        return fail_at(f, UNSUPPORTED, "activation", number, "it has no such parameter");
    if (ACTIVATION_PARAMETERS[i] && (!value || value->kind != JSON_NUMBER))
        return fail_at(f, BAD_PARAMETERS, "activation", number, "its parameter is missing or no number");
    l->activation = (int)i;
    l->parameter = value ? value->number : 0;
    return 1;
}

static int read_structure(const json *structure, network *n, failure *f) {
    const json *widths = json_member(structure, "widths"), *activations = json_member(structure, "activations");
    const json *bias = json_member(structure, "bias"), *dtype = json_member(structure, "dtype");
    if (!widths || widths->kind != JSON_ARRAY || !activations || activations->kind != JSON_ARRAY ||
        widths->length != activations->length + 1 || !activations->length)
        return fail(f, BAD_PARAMETERS, "structure: give one activation a layer, and one width more");
    if (!json_count(json_member(structure, "batch"), MOST_ENTRIES, &n->batch))
        return fail(f, BAD_PARAMETERS, "structure: batch is not an integer from 0 to 2^24");
    if (activations->length > DEEPEST)
        return fail(f, UNSUPPORTED, "structure: more than 4096 layers");
    if (json_is(bias, "none") || json_is(bias, "pre") || json_is(bias, "post"))
        n->bias = json_is(bias, "none") ? BIAS_NONE : json_is(bias, "pre") ? BIAS_PRE : BIAS_POST;
    else
        return fail(f, BAD_PARAMETERS, "structure: bias is none, pre or post");
    n->is_double = json_is(dtype, "f64");
    if (!n->is_double && !json_is(dtype, "f32"))
        return fail(f, UNSUPPORTED, "structure: dtype is f64 or f32 here");

    n->depth = activations->length;
    n->layers = calloc(n->depth, sizeof *n->layers);
    if (!n->layers)
        return fail(f, RAISED, "out of memory");
    const json *width = widths->first, *activation = activations->first;
    for (size_t i = 0; i <= n->depth; i++, width = width->next) {
        size_t count;
        if (!json_count(width, MOST_ENTRIES, &count))
            return fail_at(f, BAD_PARAMETERS, "width", i, "it is not an integer from 0 to 2^24");
        if (count && n->batch > MOST_ENTRIES / count)
            return fail_at(f, UNSUPPORTED, "width", i, "more than 2^24 numbers in one array");
        if (i < n->depth)
            n->layers[i].inputs = count;
        if (i) {
            n->layers[i - 1].outputs = count;
            if (count && n->layers[i - 1].inputs > MOST_ENTRIES / count)
                return fail_at(f, UNSUPPORTED, "layer", i, "more than 2^24 weights");
        }
    }
    for (size_t i = 0; i < n->depth; i++, activation = activation->next)
        if (!read_activation(activation, &n->layers[i], i + 1, f))
            return 0;
    return 1;
}

static int build(host *h, const json *parameters, text *result, failure *f) {
    if (h->count == MOST_PROGRAMS)
        return fail(f, RAISED, "too many programs in one process");
    network *n = calloc(1, sizeof *n);
    if (!n)
        return fail(f, RAISED, "out of memory");
    if (!read_structure(json_member(parameters, "structure"), n, f)) {
        free_network(n);
        return 0;
    }
    h->programs[h->count] = n;
    add(result, "{\"program\":");
    add_count(result, h->count++);
    add(result, "}");
    return 1;
}

/* The built program that the parameters name, or NULL. */
static network **find_program(host *h, const json *parameters, failure *f) {
    size_t number;
    if (h->count && json_count(json_member(parameters, "program"), h->count - 1, &number) && h->programs[number])
        return &h->programs[number];
    fail(f, BAD_PARAMETERS, "program: there is none of this number");
    return NULL;
}

/* Arrays travel in little-endian byte order. On a machine of that order this changes nothing. */
static void swap_bytes(unsigned char *bytes, size_t size, size_t count) {
    const unsigned short one = 1;
    if (*(const unsigned char *)&one == 1)
        return;
    for (size_t i = 0; i < count; i++, bytes += size)
        for (size_t j = 0; j < size / 2; j++) {
            unsigned char byte = bytes[j];
            bytes[j] = bytes[size - 1 - j];
            bytes[size - 1 - j] = byte;
        }
}

/* Room for `count` numbers, at least one: some systems return NULL for none. */
static void *new_array(const network *n, size_t count) {
    return malloc((count ? count : 1) * (n->is_double ? sizeof(double) : sizeof(float)));
}

/* Read a tensor of one dimension (rows = 0) or two. */
static void *read_tensor(const network *n, const json *tensor, int dimensions, size_t rows, size_t columns,
                         const char *what, size_t number, failure *f) {
    const size_t size = n->is_double ? sizeof(double) : sizeof(float), count = dimensions == 2 ? rows * columns : columns;
    const json *shape = json_member(tensor, "shape"), *data = json_member(tensor, "data");
    size_t given;
    if (!json_is(json_member(tensor, "dtype"), n->is_double ? "f64" : "f32")) {
        fail_at(f, BAD_PARAMETERS, what, number, "the dtype is not the structure's");
        return NULL;
    }
    if (!shape || shape->kind != JSON_ARRAY || shape->length != (size_t)dimensions ||
        (dimensions == 2 && (!json_count(shape->first, MOST_ENTRIES, &given) || given != rows)) ||
        !json_count(dimensions == 2 ? shape->first->next : shape->first, MOST_ENTRIES, &given) || given != columns) {
        fail_at(f, BAD_PARAMETERS, what, number, "the shape is not the structure's");
        return NULL;
    }
    unsigned char *bytes = new_array(n, count);
    if (!bytes) {
        fail(f, RAISED, "out of memory");
        return NULL;
    }
    if (!data || data->kind != JSON_STRING || !decode_base64(data->text, data->length, bytes, count * size)) {
        free(bytes);
        fail_at(f, BAD_PARAMETERS, what, number, "the data are not base64 of as many bytes as the shape needs");
        return NULL;
    }
    swap_bytes(bytes, size, count);
    return bytes;
}

/* Write a tensor of 0, 1 or 2 dimensions. */
static void add_tensor(text *result, const network *n, void *array, int dimensions, size_t rows, size_t columns) {
    const size_t size = n->is_double ? sizeof(double) : sizeof(float);
    const size_t count = dimensions == 2 ? rows * columns : dimensions == 1 ? columns : 1;
    add(result, n->is_double ? "{\"dtype\":\"f64\",\"shape\":[" : "{\"dtype\":\"f32\",\"shape\":[");
    if (dimensions == 2) {
        add_count(result, rows);
        add(result, ",");
    }
    if (dimensions)
        add_count(result, columns);
    add(result, "],\"data\":\"");
    swap_bytes(array, size, count);
    add_base64(result, array, count * size);
    swap_bytes(array, size, count);
    add(result, "\"}");
}

/* Write one tensor a layer: (inputs, outputs) for weights, (outputs) for biases, else (batch, outputs). */
static void add_tensors(text *result, const network *n, const char *name, void **arrays, char kind) {
    add(result, name);
    for (size_t i = 0; arrays && i < n->depth; i++) {
        add(result, i ? "," : "");
        add_tensor(result, n, arrays[i], kind == 'b' ? 1 : 2, kind == 'w' ? n->layers[i].inputs : n->batch,
                   n->layers[i].outputs);
    }
    add(result, "]");
}

static int check_lists(const network *n, const json *weights, const json *biases, failure *f) {
    if (!weights || weights->kind != JSON_ARRAY || weights->length != n->depth)
        return fail(f, BAD_PARAMETERS, "weights: give one tensor a layer");
    if (!biases || biases->kind != JSON_ARRAY || biases->length != (n->bias == BIAS_NONE ? 0 : n->depth))
        return fail(f, BAD_PARAMETERS, "biases: give one tensor a layer, or none if the structure has none");
    return 1;
}

/* Read the arrays that a call gives, and make room for those that it computes. */
static int fill_pass(const network *n, const json *parameters, pass *p, void ***lists, failure *f) {
    const json *weights = json_member(parameters, "weights"), *biases = json_member(parameters, "biases");
    if (!check_lists(n, weights, biases, f))
        return 0;
    const json *weight = weights->first, *bias = biases->first;
    size_t widest = 0;
    for (size_t i = 0; i < n->depth; i++) {
        const layer *l = &n->layers[i];
        const size_t by_weight = l->inputs * l->outputs, by_row = n->batch * l->outputs;
        if (l->outputs > widest)
            widest = l->outputs;
        if (!(p->weights[i] = read_tensor(n, weight, 2, l->inputs, l->outputs, "weights of layer", i + 1, f)))
            return 0;
        weight = weight->next;
        if (n->bias != BIAS_NONE) {
            if (!(p->biases[i] = read_tensor(n, bias, 1, 0, l->outputs, "biases of layer", i + 1, f)))
                return 0;
            bias = bias->next;
        }
        p->z[i] = new_array(n, by_row);
        p->activations[i] = new_array(n, by_row);
        p->k[i] = new_array(n, by_row);
        p->weight_gradients[i] = new_array(n, by_weight);
        p->bias_gradients[i] = new_array(n, l->outputs);
        for (int j = 2; j < 7; j++)
            if (!lists[j][i])
                return fail(f, RAISED, "out of memory");
    }
    const size_t outputs = n->layers[n->depth - 1].outputs;
    if (!(p->x = read_tensor(n, json_member(parameters, "x"), 2, n->batch, n->layers[0].inputs, "x of layer", 0, f)) ||
        !(p->y = read_tensor(n, json_member(parameters, "y"), 2, n->batch, outputs, "y of layer", n->depth, f)))
        return 0;
    p->error = new_array(n, 1);
    p->incoming = new_array(n, n->batch * widest);
    return p->error && p->incoming ? 1 : fail(f, RAISED, "out of memory");
}

static int call(host *h, const json *parameters, text *result, failure *f) {
    network **found = find_program(h, parameters, f);
    if (!found)
        return 0;
    const network *n = *found;
    void **lists[7], **all = calloc(7 * n->depth, sizeof *all);
    if (!all)
        return fail(f, RAISED, "out of memory");
    for (size_t j = 0; j < 7; j++)
        lists[j] = all + j * n->depth;
    pass p = {0};
    p.weights = lists[0];
    p.biases = lists[1];
    p.z = lists[2];
    p.activations = lists[3];
    p.k = lists[4];
    p.weight_gradients = lists[5];
    p.bias_gradients = lists[6];
    const int filled = fill_pass(n, parameters, &p, lists, f);
    if (filled) {
        backpropagate(n, &p);
        const size_t outputs = n->layers[n->depth - 1].outputs;
        add_tensors(result, n, "{\"z\":[", p.z, 'x');
        add_tensors(result, n, ",\"x\":[", p.activations, 'x');
        add_tensors(result, n, ",\"k\":[", p.k, 'x');
        add_tensors(result, n, ",\"weight_gradients\":[", p.weight_gradients, 'w');
        add_tensors(result, n, ",\"bias_gradients\":[", n->bias == BIAS_NONE ? NULL : p.bias_gradients, 'b');
        add(result, ",\"error\":");
        add_tensor(result, n, p.error, 0, 0, 0);
        add(result, ",\"outputs\":");
        add_tensor(result, n, p.activations[n->depth - 1], 2, n->batch, outputs);
        add(result, "}");
    }
    for (size_t i = 0; i < 7 * n->depth; i++)
        free(all[i]);
    free(all);
    free((void *)p.x);
    free((void *)p.y);
    free(p.error);
    free(p.incoming);
    return filled;
}

static int release(host *h, const json *parameters, text *result, failure *f) {
    network **found = find_program(h, parameters, f);
    if (!found)
        return 0;
    free_network(*found);
    *found = NULL;
    add(result, "{}");
    return 1;
}

/* Answer one request: write a result, or fill in what is wrong with it. `last` is set if it is the last one. */
static int answer(host *h, const json *request, text *result, int *last, failure *f) {
    const json *method = json_member(request, "method"), *parameters = json_member(request, "params");
    if (!json_is(json_member(request, "jsonrpc"), "2.0") || !method || method->kind != JSON_STRING)
        return fail(f, NO_REQUEST, "not a request of JSON-RPC 2.0");
    if (json_is(method, "initialize"))
        return initialize(parameters, result, f);
    if (json_is(method, "build"))
        return build(h, parameters, result, f);
    if (json_is(method, "backprop"))
        return call(h, parameters, result, f);
    if (json_is(method, "release"))
        return release(h, parameters, result, f);
    if (!json_is(method, "shutdown"))
        return fail(f, NO_METHOD, "there is no such method");
    *last = 1;
    add(result, "{}");
    return 1;
}

/* Write a whole reply: the number of the request, and the result or the error. Returns 0 if it cannot be written. */
static int send(const json *id, const text *result, const failure *f) {
    text reply = {0};
    add(&reply, "{\"jsonrpc\":\"2.0\",\"id\":");
    if (id)
        add_bytes(&reply, id->text, id->length);
    else
        add(&reply, "null");
    if (f) {
        char code[40];
        snprintf(code, sizeof code, ",\"error\":{\"code\":%d,\"message\":", f->code);
        add(&reply, code);
        add_quoted(&reply, f->message);
        add(&reply, "}}\n");
    } else {
        add(&reply, ",\"result\":");
        add_bytes(&reply, result->bytes, result->length);
        add(&reply, "}\n");
    }
    const int sent = !reply.failed && fwrite(reply.bytes, 1, reply.length, stdout) == reply.length && fflush(stdout) == 0;
    free(reply.bytes);
    return sent;
}

/* Read one line, without its end and followed by a zero byte. Returns 0 at the end of the input. Of a line that is too
   long, or for which there is no memory, nothing is kept and `failed` is set. */
static int read_line(text *line) {
    int c;
    line->length = 0;
    line->failed = 0;
    while ((c = getchar()) != EOF && c != '\n') {
        const char byte = (char)c;
        if (!line->failed && line->length < LONGEST_MESSAGE)
            add_bytes(line, &byte, 1);
        else
            line->failed = 1;
    }
    if (make_room(line, 1))
        line->bytes[line->length] = 0;
    return c != EOF || line->length;
}

int main(void) {
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    host *h = calloc(1, sizeof *h);
    text line = {0};
    int last = 0;
    while (h && !last && read_line(&line)) {
        json_document document = {0};
        text result = {0};
        failure f = {0};
        const json *request = line.failed ? NULL : json_read(&document, line.bytes, line.length), *id = json_member(request, "id");
        int answered;
        if (!request) {
            f.code = NO_JSON;
            snprintf(f.message, sizeof f.message, "%s at byte %zu", line.failed ? "too long" : document.error, document.where);
            answered = 0;
        } else if (!id || id->kind != JSON_NUMBER || strcspn(id->text, ".eE") < id->length) {
            id = NULL;
            answered = fail(&f, NO_REQUEST, "a request has an integer as its id");
        } else {
            answered = answer(h, request, &result, &last, &f);
            if (answered && result.failed)
                answered = fail(&f, RAISED, "out of memory");
        }
        if (!send(id, &result, answered ? NULL : &f))
            return 1;
        free(result.bytes);
        json_free(&document);
    }
    if (!h)
        return 1;
    for (size_t i = 0; i < h->count; i++)
        free_network(h->programs[i]);
    free(h);
    free(line.bytes);
    return 0;
}
