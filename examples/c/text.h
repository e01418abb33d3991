/* A text that grows as it is written, and base64 in both directions. */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

typedef struct {
    char *bytes;
    size_t length, room;
    int failed; /* memory ran out: what was written after that is missing */
} text;

/* Add bytes, a string, or a string between quotation marks with what JSON asks to be escaped. */
void add_bytes(text *to, const char *bytes, size_t length);
void add(text *to, const char *string);
void add_quoted(text *to, const char *string);
void add_count(text *to, size_t count);

/* Make room for `length` more bytes without adding them. Returns 0 if memory ran out. */
int make_room(text *to, size_t length);

void add_base64(text *to, const unsigned char *bytes, size_t length);

/* Decode `length` characters of base64 into exactly `expected` bytes. Returns 0 if they are anything else. */
int decode_base64(const char *from, size_t length, unsigned char *to, size_t expected);

#endif
