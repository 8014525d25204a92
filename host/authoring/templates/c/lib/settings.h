/* Reading the settings: a JSON object whose values are numbers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *name;
  double *value;
} setting;

/* Reads `text` into `settings`; what it doesn't mention keeps its value.
 * Returns false and an error for a person, which names the setting, if a setting is
 * unknown or no number. */
bool settings_read(const char *text, size_t length, const setting *settings, size_t count,
                   char **error);

/* The parts one after the other, up to a NULL, as one string in new memory. */
char *joined(const char *const *parts);
#define JOINED(...) joined((const char *const[]){__VA_ARGS__, NULL})
