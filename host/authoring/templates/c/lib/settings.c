#include "settings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *at, *end;
} reader;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Skips white space, then `c` if it is there. */
static bool next_is(reader *r, char c) {
  while (r->at < r->end && is_space(*r->at)) r->at++;
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}

/* A string in new memory. Escapes stay as they are written: no setting has one. */
static char *read_string(reader *r) {
  if (!next_is(r, '"')) return NULL;
  const char *start = r->at;
  while (r->at < r->end && *r->at != '"') r->at += *r->at == '\\' ? 2 : 1;
  if (r->at >= r->end) return NULL;
  size_t length = (size_t)(r->at - start);
  r->at++;
  char *text = malloc(length + 1);
  if (text == NULL) abort();
  memcpy(text, start, length);
  text[length] = 0;
  return text;
}

/* As precise as a setting has to be: exact up to 15 digits, within an ulp or two beyond. */
static bool read_number(reader *r, double *number) {
  bool negative = next_is(r, '-'), point = false;
  uint64_t digits = 0;
  int64_t scale = 0;
  if (r->at == r->end || !is_digit(*r->at)) return false;
  for (; r->at < r->end && (is_digit(*r->at) || (*r->at == '.' && !point)); r->at++) {
    if (*r->at == '.') {
      point = true;
    } else if (digits < UINT64_MAX / 10 - 1) {
      digits = digits * 10 + (uint64_t)(*r->at - '0');
      scale -= point;
    } else {
      scale += !point;
    }
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    r->at++;
    bool down = next_is(r, '-');
    if (!down) next_is(r, '+');
    int64_t exponent = 0;
    for (; r->at < r->end && is_digit(*r->at); r->at++)
      if (exponent < 1000) exponent = exponent * 10 + (*r->at - '0');
    scale += down ? -exponent : exponent;
  }
  double power = 1;
  for (int64_t i = scale < 0 ? -scale : scale; i > 0 && power < 1e300; i--) power *= 10;
  double value = scale < 0 ? (double)digits / power : (double)digits * power;
  *number = negative ? -value : value;
  return true;
}

char *joined(const char *const *parts) {
  size_t length = 0;
  for (size_t i = 0; parts[i] != NULL; i++) length += strlen(parts[i]);
  char *text = malloc(length + 1), *to = text;
  if (text == NULL) abort();
  for (size_t i = 0; parts[i] != NULL; i++) {
    size_t size = strlen(parts[i]);
    memcpy(to, parts[i], size);
    to += size;
  }
  *to = 0;
  return text;
}

static char *unknown(const char *key, const setting *settings, size_t count) {
  char *names = "";
  for (size_t i = 0; i < count; i++)
    names = JOINED(names, i > 0 ? ", " : "", "`", settings[i].name, "`");
  return JOINED("unknown setting `", key, "`: the settings are ", names);
}

bool settings_read(const char *text, size_t length, const setting *settings, size_t count,
                   char **error) {
  reader r = {text, text + length};
  *error = "the settings are not a JSON object of numbers";
  if (!next_is(&r, '{')) return false;
  if (next_is(&r, '}')) return true;
  do {
    char *key = read_string(&r);
    if (key == NULL || !next_is(&r, ':')) return false;
    const setting *found = NULL;
    for (size_t i = 0; i < count; i++)
      if (strlen(key) == strlen(settings[i].name) &&
          memcmp(key, settings[i].name, strlen(key)) == 0)
        found = &settings[i];
    if (found == NULL) {
      *error = unknown(key, settings, count);
      return false;
    }
    if (next_is(&r, '"') || !read_number(&r, found->value)) {
      *error = JOINED("setting `", key, "`: must be a number");
      return false;
    }
  } while (next_is(&r, ','));
  return next_is(&r, '}');
}
