#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int make_room(text *to, size_t length) {
    if (to->failed || length > SIZE_MAX / 4 || to->length > SIZE_MAX / 4) {
        to->failed = 1;
        return 0;
    }
    if (to->length + length > to->room) {
        size_t room = 2 * (to->length + length);
        char *bytes = realloc(to->bytes, room);
        if (!bytes) {
            to->failed = 1;
            return 0;
        }
        to->bytes = bytes;
        to->room = room;
    }
    return 1;
}

void add_bytes(text *to, const char *bytes, size_t length) {
    if (length && make_room(to, length)) {
        memcpy(to->bytes + to->length, bytes, length);
        to->length += length;
    }
}

void add(text *to, const char *string) { add_bytes(to, string, strlen(string)); }

void add_quoted(text *to, const char *string) {
    add(to, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        char escaped[8];
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < 0x20)
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else
            snprintf(escaped, sizeof escaped, "%c", c);
        add(to, escaped);
    }
    add(to, "\"");
}

void add_count(text *to, size_t count) {
    char digits[32];
    snprintf(digits, sizeof digits, "%zu", count);
    add(to, digits);
}

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void add_base64(text *to, const unsigned char *bytes, size_t length) {
    if (length > SIZE_MAX / 8 || !make_room(to, (length + 2) / 3 * 4))
        return;
    char *out = to->bytes + to->length;
    size_t i = 0;
    for (; i + 3 <= length; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        *out++ = DIGITS[three >> 18];
        *out++ = DIGITS[three >> 12 & 63];
        *out++ = DIGITS[three >> 6 & 63];
        *out++ = DIGITS[three & 63];
    }
    if (i < length) {
        uint32_t rest = (uint32_t)bytes[i] << 16 | (i + 1 < length ? (uint32_t)bytes[i + 1] << 8 : 0);
        *out++ = DIGITS[rest >> 18];
        *out++ = DIGITS[rest >> 12 & 63];
        *out++ = i + 1 < length ? DIGITS[rest >> 6 & 63] : '=';
        *out++ = '=';
    }
    to->length = (size_t)(out - to->bytes);
}

static int digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int decode_base64(const char *from, size_t length, unsigned char *to, size_t expected) {
    if (expected > SIZE_MAX / 8 || length != (expected + 2) / 3 * 4)
        return 0;
    for (size_t i = 0, done = 0; i < length; i += 4, done += 3) {
        size_t bytes = expected - done < 3 ? expected - done : 3;
        uint32_t four = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = j <= bytes ? digit(from[i + j]) : from[i + j] == '=' ? 0 : -1;
            if (value < 0)
                return 0;
            four = four << 6 | (uint32_t)value;
        }
        /* The bits behind the last byte are zero: one text for each array. */
        if (four & (bytes == 3 ? 0 : bytes == 2 ? 0xffu : 0xffffu))
            return 0;
        for (size_t j = 0; j < bytes; j++)
            to[done + j] = (unsigned char)(four >> (16 - 8 * j));
    }
    return 1;
}
