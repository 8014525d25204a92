/* The part of C's <stdlib.h> that a policy needs; see memory.c. */
#pragma once
#include <stddef.h>

void *malloc(size_t size);
void *realloc(void *block, size_t size);
void free(void *block);
_Noreturn void abort(void);
