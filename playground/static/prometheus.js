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

// The sum of a metric's samples, of those with these labels.
export function sum(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  return samples
    .filter((one) => one.name === name && wanted.every(([key, value]) => one.labels[key] === value))
    .reduce((total, one) => total + one.value, 0);
}
