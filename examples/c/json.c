#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 16, MOST_VALUES = 100000, MOST_MEMBERS = 64, BLOCK = 256 };

/* Values stay where they are: a full block is followed by another. */
struct json_block {
    json_block *earlier;
    size_t used;
    json values[BLOCK];
};

typedef struct {
    json_document *document;
    char *at, *start, *end;
} reader;

static json *read_value(reader *r, int depth);

/* Keep the first thing that is wrong. Returns NULL, for the caller to return. */
static json *fail(reader *r, const char *error) {
    if (!r->document->error) {
        r->document->error = error;
        r->document->where = (size_t)(r->at - r->start);
    }
    return NULL;
}

static json *new_value(reader *r, json_kind kind) {
    json_document *d = r->document;
    if (d->count++ == MOST_VALUES)
        return fail(r, "too many values");
    if (!d->blocks || d->blocks->used == BLOCK) {
        json_block *block = malloc(sizeof *block);
        if (!block)
            return fail(r, "out of memory");
        block->earlier = d->blocks;
        block->used = 0;
        d->blocks = block;
    }
    json *value = &d->blocks->values[d->blocks->used++];
    *value = (json){.kind = kind};
    return value;
}

static void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n'))
        r->at++;
}

static int take(reader *r, char c) {
    if (r->at < r->end && *r->at == c) {
        r->at++;
        return 1;
    }
    return 0;
}

static int read_hex(reader *r, unsigned *code) {
    *code = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->end ? *r->at : 0;
        int value = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (value < 0)
            return 0;
        *code = *code << 4 | (unsigned)value;
    }
    return 1;
}

static char *put_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

/* The number of bytes of the UTF-8 character at `at`, or 0: overlong forms and surrogates are none. */
static size_t utf8_length(const unsigned char *at, const unsigned char *end) {
    size_t length = *at < 0x80 ? 1 : *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
    if (!length || (size_t)(end - at) < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] >= 0xa0) || (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] >= 0x90))
        return 0;
    return length;
}

/* Read a string behind its first quotation mark. No escape is shorter than what it stands for, so the decoded text fits
   where the string was. */
static int read_string(reader *r, const char **text, size_t *length) {
    char *to = r->at;
    *text = to;
    while (r->at < r->end && *r->at != '"') {
        unsigned char c = (unsigned char)*r->at;
        if (c < 0x20)
            return fail(r, "a control character in a string") != NULL;
        if (c != '\\') {
            size_t bytes = utf8_length((unsigned char *)r->at, (unsigned char *)r->end);
            if (!bytes)
                return fail(r, "invalid UTF-8") != NULL;
            memmove(to, r->at, bytes);
            to += bytes;
            r->at += bytes;
            continue;
        }
        r->at++;
        static const char NAMES[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
        const char *name = r->at < r->end && *r->at ? strchr(NAMES, *r->at) : NULL;
        if (name) {
            *to++ = MEANT[name - NAMES];
            r->at++;
            continue;
        }
        unsigned code, low;
        if (!take(r, 'u') || !read_hex(r, &code))
            return fail(r, "an invalid escape") != NULL;
        if (code >= 0xd800 && code < 0xe000) {
            if (code >= 0xdc00 || !take(r, '\\') || !take(r, 'u') || !read_hex(r, &low) || low < 0xdc00 || low >= 0xe000)
                return fail(r, "a lone surrogate") != NULL;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        to = put_utf8(to, code);
    }
    *length = (size_t)(to - *text);
    if (!take(r, '"'))
        return fail(r, "a string without an end") != NULL;
    return 1;
}

static int read_digits(reader *r) {
    char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > start;
}

static json *read_number(reader *r) {
    char *start = r->at;
    take(r, '-');
    if (!take(r, '0') && !read_digits(r))
        return fail(r, "a character that begins no value");
    if (take(r, '.') && !read_digits(r))
        return fail(r, "a number without digits behind its point");
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '-'))
            take(r, '+');
        if (!read_digits(r))
            return fail(r, "a number without digits in its exponent");
    }
    json *value = new_value(r, JSON_NUMBER);
    if (value) {
        value->text = start;
        value->length = (size_t)(r->at - start);
        /* It ends where the number does: what follows is a comma, a bracket, a space or the zero byte. */
        value->number = strtod(start, NULL);
    }
    return value;
}

static json *read_word(reader *r, const char *word, json_kind kind) {
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return fail(r, "a character that begins no value");
    r->at += length;
    return new_value(r, kind);
}

static json *read_text(reader *r) {
    json *value = new_value(r, JSON_STRING);
    return value && read_string(r, &value->text, &value->length) ? value : NULL;
}

static int has_member(const json *object, const char *key, size_t length) {
    for (const json *member = object->first; member; member = member->next)
        if (member->key_length == length && memcmp(member->key, key, length) == 0)
            return 1;
    return 0;
}

/* Read an array or an object behind its opening bracket. */
static json *read_group(reader *r, json_kind kind, char closing, int depth) {
    json *group = new_value(r, kind);
    if (!group || depth == DEEPEST)
        return group ? fail(r, "nested too deeply") : NULL;
    skip_space(r);
    if (take(r, closing))
        return group;
    json **end = &group->first;
    do {
        const char *key = NULL;
        size_t key_length = 0;
        if (kind == JSON_OBJECT) {
            skip_space(r);
            if (!take(r, '"'))
                return fail(r, "a member without a name");
            if (!read_string(r, &key, &key_length))
                return NULL;
            /* Looking for the name among all the others takes the square of their number. */
            if (group->length == MOST_MEMBERS)
                return fail(r, "too many members");
            if (has_member(group, key, key_length))
                return fail(r, "a name that occurs twice");
            skip_space(r);
            if (!take(r, ':'))
                return fail(r, "no colon behind a name");
        }
        json *value = read_value(r, depth + 1);
        if (!value)
            return NULL;
        value->key = key;
        value->key_length = key_length;
        *end = value;
        end = &value->next;
        group->length++;
        skip_space(r);
    } while (take(r, ','));
    return take(r, closing) ? group : fail(r, "no comma and no closing bracket");
}

static json *read_value(reader *r, int depth) {
    skip_space(r);
    if (take(r, '{'))
        return read_group(r, JSON_OBJECT, '}', depth);
    if (take(r, '['))
        return read_group(r, JSON_ARRAY, ']', depth);
    if (take(r, '"'))
        return read_text(r);
    switch (r->at < r->end ? *r->at : 0) {
    case 'n':
        return read_word(r, "null", JSON_NULL);
    case 't':
        return read_word(r, "true", JSON_TRUE);
    case 'f':
        return read_word(r, "false", JSON_FALSE);
    default:
        return read_number(r);
    }
}

const json *json_read(json_document *document, char *text, size_t length) {
    reader r = {document, text, text, text + length};
    *document = (json_document){0};
    const json *value = read_value(&r, 0);
    if (value) {
        skip_space(&r);
        if (r.at < r.end)
            value = fail(&r, "something behind the value");
    }
    if (!value)
        fail(&r, "no value");
    return value;
}

void json_free(json_document *document) {
    while (document->blocks) {
        json_block *earlier = document->blocks->earlier;
        free(document->blocks);
        document->blocks = earlier;
    }
}

const json *json_member(const json *object, const char *key) {
    if (!object || object->kind != JSON_OBJECT)
        return NULL;
    size_t length = strlen(key);
    for (const json *member = object->first; member; member = member->next)
        if (member->key_length == length && memcmp(member->key, key, length) == 0)
            return member;
    return NULL;
}

int json_is(const json *value, const char *string) {
    size_t length = strlen(string);
    return value && value->kind == JSON_STRING && value->length == length && memcmp(value->text, string, length) == 0;
}

int json_count(const json *value, size_t most, size_t *count) {
    if (!value || value->kind != JSON_NUMBER || !(value->number >= 0) || value->number > (double)most ||
        floor(value->number) != value->number)
        return 0;
    *count = (size_t)value->number;
    return 1;
}
