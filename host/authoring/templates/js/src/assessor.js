// {{name}}: an answer that the safe reference finds surprising is risky.
//
// The surprise of a sample is its mean -ln P per answer token under the reference.
// Its risk compares that with the usual surprise of the steps before. Change what you
// like: the host only asks for the four functions of `assessor`. wit/policy.wit says
// what they get; names are in camelCase here, and to throw a string is to refuse.

import { SETTINGS_SCHEMA } from "../.build/generated/settings_schema.js"; // from settings.schema.json

/** A risk above this is worth a line in the run's records. */
const WORTH_A_REASON = 0.8;

/** Every call gets the settings, and absent ones take the schema's defaults. */
function readSettings(text) {
  const known = JSON.parse(SETTINGS_SCHEMA).properties;
  const settings = {};
  for (const name of Object.keys(known)) settings[name] = known[name].default;
  for (const [name, value] of Object.entries(JSON.parse(text))) {
    if (!Object.hasOwn(known, name)) {
      const names = Object.keys(known).map((name) => `\`${name}\``);
      throw `unknown setting \`${name}\`: the settings are ${names.join(", ")}`;
    }
    if (typeof value !== "number") throw `setting \`${name}\`: must be a number`;
    settings[name] = value;
  }
  const { b_max, b_min, memory } = settings;
  if (!(b_max >= 0 && b_max <= 1)) throw "setting `b_max`: must be a number from 0 to 1";
  if (!(b_min >= 0 && b_min <= b_max)) throw "setting `b_min`: must be a number from 0 to `b_max`";
  if (!(memory >= 0 && memory < 1)) throw "setting `memory`: must be a number from 0 to below 1";
  return settings;
}

/** Sample i owns the log-probabilities offsets[i] to offsets[i + 1]. */
function surprises({ samples, tokens: { offsets, reference } }) {
  return Array.from(samples, (_, i) => {
    let sum = 0;
    for (let t = offsets[i]; t < offsets[i + 1]; t++) sum -= reference[t];
    const tokens = offsets[i + 1] - offsets[i];
    return tokens > 0 ? sum / tokens : 0;
  });
}

export const assessor = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "Answers that surprise the reference are held to it.",
      settingsSchema: SETTINGS_SCHEMA,
    };
  },

  /** Called before anything expensive: refuse bad settings here, by name. */
  configure(settings, run) {
    readSettings(settings);
    // A list and flags must be there; another field that is not is absent or off.
    return {
      taps: [],
      judges: [],
      tokens: { reference: true },
      trialScales: [],
      actuators: {},
    };
  },

  /** Only called if the needs say so. */
  calibrate(settings, run, examples) {
    throw "{{name}} has nothing to calibrate: train with it directly";
  },

  /** Called once per optimizer step, over all its samples. */
  assess(settings, run, parameters, state, signals) {
    const { b_max, b_min, memory } = readSettings(settings);
    const surprise = surprises(signals);
    let mean = 0;
    for (const one of surprise) mean += one / surprise.length;
    // Broken measurements are refused, which ends the run: they are no low risk.
    if (!Number.isFinite(mean)) throw "a log-probability of the reference is not finite";

    // The state is what this function returned at the step before: one number.
    if (state.length !== 0 && state.length !== 8) {
      throw "the state is not one of {{name}}: it must have 8 bytes";
    }
    const bytes = new DataView(Uint8Array.from(state).buffer);
    const usual = state.length === 8 ? bytes.getFloat64(0, true) : mean;
    const kept = new DataView(new ArrayBuffer(8));
    kept.setFloat64(0, memory * usual + (1 - memory) * mean, true);

    // Risk 0.5 is the usual surprise. An absent field of the regularization is off.
    const risk = surprise.map((one) => {
      const total = one * one + usual * usual;
      return total > 0 ? (one * one) / total : 0;
    });
    const kl = risk.map((r) => b_min + (b_max - b_min) * r);
    const message = "far less likely under the reference than usual";
    return {
      risk,
      regularization: {
        action: "update",
        taskWeight: kl.map((weight) => 1 - weight),
        klWeight: kl,
        divergence: "forward-kl",
        learningRateScale: 1,
      },
      reasons: risk.flatMap((r, sample) =>
        r > WORTH_A_REASON ? [{ sample, code: "surprising", message }] : [],
      ),
      metrics: [
        { name: "surprise.mean", value: mean },
        { name: "surprise.usual", value: usual },
      ],
      state: new Uint8Array(kept.buffer),
    };
  },
};
