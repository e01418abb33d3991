/* A reader of JSON (RFC 8259) that takes one message at a time, with limits on depth and number of values. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

typedef enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

typedef struct json json;
struct json {
    json_kind kind;
    double number;
    const char *text;    /* a string, decoded, or a number as it was written; not ended by a zero byte */
    size_t length;       /* bytes of the text, elements of an array, or members of an object */
    const char *key;     /* the name of a member of an object */
    size_t key_length;
    json *first, *next;  /* the first element or member; the next one of the same array or object */
};

typedef struct json_block json_block;

typedef struct {
    json_block *blocks;  /* the memory of the values */
    size_t count;
    const char *error;   /* what is wrong with the message, after a failure */
    size_t where;        /* and at which byte */
} json_document;

/* Read `text`, which must be followed by a zero byte. Returns NULL on failure. Strings are decoded in place: the text
   is changed, and must stay as long as the values are used. */
const json *json_read(json_document *document, char *text, size_t length);

/* Free the values. */
void json_free(json_document *document);

/* The member of an object, or NULL if there is none or `object` is NULL or no object. */
const json *json_member(const json *object, const char *key);

/* Whether a value is this string. */
int json_is(const json *value, const char *string);

/* Read an integer from 0 to `most`. Returns 0 if the value is anything else. */
int json_count(const json *value, size_t most, size_t *count);

#endif
