/* Memory for one call.
 *
 * A policy is compiled without a C library: most of one asks for files, clocks and
 * an environment, and a policy imports nothing. The host runs every call in a fresh
 * instance, so memory is handed out in a row and never taken back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Set by the linker: where the data end and free memory begins. */
extern unsigned char __heap_base;

#define ALIGNMENT 16
#define PAGE 65536

/* Each block has its size in front of it, so that realloc knows what to copy. */
typedef struct {
  _Alignas(ALIGNMENT) size_t size;
} header;

static uintptr_t next;

static size_t padded(size_t size) { return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); }

void *malloc(size_t size) {
  if (next == 0) next = padded((uintptr_t)&__heap_base);
  if (size > SIZE_MAX - sizeof(header) - ALIGNMENT) return NULL;
  size_t wanted = sizeof(header) + padded(size);
  size_t present = __builtin_wasm_memory_size(0) * (size_t)PAGE;
  if (wanted > SIZE_MAX - next) return NULL;
  if (next + wanted > present) {
    size_t pages = (next + wanted - present + PAGE - 1) / PAGE;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return NULL;
  }
  header *block = (header *)next;
  next += wanted;
  block->size = size;
  return block + 1;
}

void *realloc(void *block, size_t size) {
  if (block == NULL) return malloc(size);
  size_t old = ((header *)block - 1)->size;
  if (size <= old) return block;
  void *larger = malloc(size);
  if (larger != NULL) memcpy(larger, block, old);
  return larger;
}

void free(void *block) { (void)block; }

/* The host reports it as a fault of the policy and stops the run. */
_Noreturn void abort(void) { __builtin_trap(); }

/* With -mbulk-memory these three are single instructions, not calls of themselves. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  return __builtin_memcpy(to, from, size);
}

void *memmove(void *to, const void *from, size_t size) {
  return __builtin_memmove(to, from, size);
}

void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < size; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}
