// Prometheus' text format. https://prometheus.io/docs/instrumenting/exposition_formats/

const SAMPLE = /^([\w:]+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const SPELLED = { "+Inf": Infinity, "-Inf": -Infinity };
const ESCAPES = { n: "\n", '"': '"', "\\": "\\" };

// Every sample: {name, labels, value}.
export function read(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : SAMPLE.exec(line);
    if (!match) continue;
    const [, name, inside = "", value] = match;
    const labels = {};
    for (const [, key, one] of inside.matchAll(LABEL))
      labels[key] = one.replace(/\\(.)/g, (_, letter) => ESCAPES[letter] ?? letter);
    samples.push({ name, labels, value: SPELLED[value] ?? Number(value) });
  }
  return samples;
}

const matching = (samples, name, labels) => {
  const wanted = Object.entries(labels);
  return samples.filter(
    (one) => one.name === name && wanted.every(([key, value]) => one.labels[key] === value),
  );
};

// The sum of a metric's samples that have these labels.
export const sum = (samples, name, labels = {}) =>
  matching(samples, name, labels).reduce((total, one) => total + one.value, 0);

// The largest of a metric's samples that have these labels; 0 if there are none.
export const largest = (samples, name, labels = {}) =>
  Math.max(0, ...matching(samples, name, labels).map((one) => one.value));

// The growth of a counter. A new or restarted series counts as 0.
export function growth(before, after, name, labels = {}) {
  const key = (one) => JSON.stringify(Object.entries(one.labels).sort());
  const was = new Map(matching(before, name, labels).map((one) => [key(one), one.value]));
  return matching(after, name, labels).reduce(
    (total, one) => total + Math.max(0, one.value - (was.get(key(one)) ?? one.value)),
    0,
  );
}
