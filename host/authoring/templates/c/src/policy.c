/* {{name}}: an answer that the safe reference finds surprising is risky.
 *
 * The surprise of a sample is its mean -ln P per answer token under the reference.
 * Its risk compares that with the usual surprise of the steps before. Change what you
 * like: the host only asks for the four functions below, which policy.h declares. */
#include "policy.h" /* made from wit/policy.wit by `host policy build` */

#include <stdlib.h>
#include <string.h>

#include "settings.h"
#include "settings_schema.h" /* made from settings.schema.json */

/* A risk above this is worth a line in the run's records. */
#define WORTH_A_REASON 0.8

typedef struct {
  double b_max, b_min, memory;
} options;

/* Every call gets the settings, and absent ones take their defaults. */
static bool read_options(const policy_string_t *text, options *o, policy_string_t *err) {
  *o = (options){.b_max = 0.9, .b_min = 0.1, .memory = 0.9};
  const setting known[] = {
      {"b_max", &o->b_max}, {"b_min", &o->b_min}, {"memory", &o->memory}};
  char *error = NULL;
  if (!settings_read((const char *)text->ptr, text->len, known, 3, &error)) {
  } else if (!(o->b_max >= 0 && o->b_max <= 1)) {
    error = "setting `b_max`: must be a number from 0 to 1";
  } else if (!(o->b_min >= 0 && o->b_min <= o->b_max)) {
    error = "setting `b_min`: must be a number from 0 to `b_max`";
  } else if (!(o->memory >= 0 && o->memory < 1)) {
    error = "setting `memory`: must be a number from 0 to below 1";
  } else {
    return true;
  }
  policy_string_set(err, error);
  return false;
}

static double *numbers(size_t count) {
  double *list = malloc(count * sizeof *list);
  if (list == NULL) abort();
  return list;
}

void exports_policy_describe(exports_policy_descriptor_t *ret) {
  policy_string_set(&ret->name, "{{name}}");
  policy_string_set(&ret->version, "0.1.0");
  policy_string_set(&ret->summary, "Answers that surprise the reference are held to it.");
  policy_string_set(&ret->settings_schema, SETTINGS_SCHEMA);
}

/* Called before anything expensive: refuse bad settings here, by name. */
bool exports_policy_configure(policy_string_t *settings, exports_policy_run_info_t *run,
                              exports_policy_needs_t *ret, policy_string_t *err) {
  (void)run;
  options o;
  if (!read_options(settings, &o, err)) return false;
  memset(ret, 0, sizeof *ret); /* nothing is measured but: */
  ret->tokens = EXPORTS_POLICY_TOKEN_NEEDS_REFERENCE;
  return true;
}

/* Only called if the needs say so. */
bool exports_policy_calibrate(policy_string_t *settings, exports_policy_run_info_t *run,
                              exports_policy_examples_t *examples,
                              exports_policy_calibration_t *ret, policy_string_t *err) {
  (void)settings, (void)run, (void)examples, (void)ret;
  policy_string_set(err, "{{name}} has nothing to calibrate: train with it directly");
  return false;
}

/* Called once per optimizer step, over all its samples. */
bool exports_policy_assess(policy_string_t *settings, exports_policy_run_info_t *run,
                           policy_list_u8_t *parameters, policy_list_u8_t *state,
                           exports_policy_signals_t *signals, exports_policy_assessment_t *ret,
                           policy_string_t *err) {
  (void)run, (void)parameters;
  options o;
  if (!read_options(settings, &o, err)) return false;

  /* Sample i owns the elements offsets[i] to offsets[i + 1]. */
  const policy_list_u32_t offsets = signals->tokens.val.offsets;
  const policy_list_f32_t reference = signals->tokens.val.reference;
  size_t samples = signals->samples.len;
  double *surprise = numbers(samples), mean = 0;
  for (size_t i = 0; i < samples; i++) {
    double sum = 0;
    for (uint32_t t = offsets.ptr[i]; t < offsets.ptr[i + 1]; t++) sum -= reference.ptr[t];
    uint32_t tokens = offsets.ptr[i + 1] - offsets.ptr[i];
    surprise[i] = tokens > 0 ? sum / tokens : 0;
    mean += surprise[i] / (double)samples;
  }
  /* Broken measurements are refused, which ends the run: they are no low risk. */
  if (!(mean - mean == 0)) {
    policy_string_set(err, "a log-probability of the reference is not finite");
    return false;
  }

  /* The state is what this function returned at the step before: one number. */
  double usual = mean;
  if (state->len == sizeof usual) {
    memcpy(&usual, state->ptr, sizeof usual);
  } else if (state->len != 0) {
    policy_string_set(err, "the state is not one of {{name}}: it must have 8 bytes");
    return false;
  }

  /* Risk 0.5 is the usual surprise. KL weight b_min + (b_max - b_min) * risk. */
  memset(ret, 0, sizeof *ret); /* an ordinary update, and everything optional is off */
  double *risk = numbers(samples), *kl = numbers(samples), *task = numbers(samples);
  exports_policy_reason_t *reasons = malloc(samples * sizeof *reasons);
  if (reasons == NULL) abort();
  for (size_t i = 0; i < samples; i++) {
    double square = surprise[i] * surprise[i], total = square + usual * usual;
    risk[i] = total > 0 ? square / total : 0;
    kl[i] = o.b_min + (o.b_max - o.b_min) * risk[i];
    task[i] = 1 - kl[i];
    if (risk[i] > WORTH_A_REASON) {
      exports_policy_reason_t *reason = &reasons[ret->reasons.len++];
      reason->sample = (policy_option_u32_t){.is_some = true, .val = (uint32_t)i};
      policy_string_set(&reason->code, "surprising");
      policy_string_set(&reason->message, "far less likely under the reference than usual");
    }
  }
  ret->risk = (policy_list_f64_t){risk, samples};
  ret->regularization.kl_weight = (policy_list_f64_t){kl, samples};
  ret->regularization.task_weight = (policy_list_f64_t){task, samples};
  ret->regularization.learning_rate_scale = 1;
  ret->reasons.ptr = reasons;

  exports_policy_metric_t *metrics = malloc(2 * sizeof *metrics);
  if (metrics == NULL) abort();
  policy_string_set(&metrics[0].name, "surprise.mean");
  metrics[0].value = mean;
  policy_string_set(&metrics[1].name, "surprise.usual");
  metrics[1].value = usual;
  ret->metrics = (exports_policy_list_metric_t){metrics, 2};

  double *kept = numbers(1);
  *kept = o.memory * usual + (1 - o.memory) * mean;
  ret->state = (policy_list_u8_t){(uint8_t *)kept, sizeof *kept};
  return true;
}
