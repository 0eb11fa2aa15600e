// A small line chart of values over time.

import { shape } from "./dom.js";

const [WIDTH, HEIGHT] = [120, 28];

// values   oldest first
// most     the value at full height; null = the largest value
// label    the text for screen readers
export function chart(values, most, label) {
  const top = most || Math.max(...values, Number.EPSILON);
  const step = WIDTH / Math.max(values.length - 1, 1);
  const points = values.map((value, index) => {
    const height = Math.min(1, Math.max(0, value / top)) * (HEIGHT - 2);
    return `${(index * step).toFixed(1)},${(HEIGHT - 1 - height).toFixed(1)}`;
  });
  const drawing = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "chart",
    role: "img",
    "aria-label": label,
  });
  drawing.append(shape("polyline", { points: points.join(" ") }));
  return drawing;
}
