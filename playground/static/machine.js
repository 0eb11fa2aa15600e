// Machine: memory, requests and models from /metrics, as small charts of the last minutes.

import { chart } from "./charts.js";
import { bytes, el } from "./dom.js";
import { growth, largest, read, sum } from "./prometheus.js";
import { ask, queues } from "./server.js";

const EVERY_MS = 2000;
const KEPT = 90;
const MEGA = 1e6;

// The unit of an engine's counter, and how many counts make one unit. Image engines with a budget
// count pixels, others pictures.
function unitOf(surface, budget) {
  if (surface === "images")
    return Number.isFinite(budget) ? ["megapixels/s", MEGA] : ["pictures/s", 1];
  const units = { transcribe: "windows/s", speech: "sentences/s", music: "songs/s" };
  return [units[surface] ?? "tokens/s", 1];
}

export class Machine {
  constructor() {
    this.cards = el("div", { class: "cards" });
    this.status = el("p", { class: "status", role: "status" });
    this.element = el(
      "section",
      { "aria-label": "Machine" },
      el("h2", {}, "Machine"),
      this.status,
      this.cards,
    );
    this.series = new Map();
  }

  // Poll from the first opening on, also while another tab is shown, so that charts have no gaps.
  open() {
    this.asking ??= setInterval(() => this.look(), EVERY_MS);
    this.look();
  }

  async look() {
    if (this.looking || document.hidden) return;
    this.looking = true;
    try {
      const text = await (await ask("metrics")).text();
      this.status.textContent = "";
      this.take(read(text), performance.now());
    } catch (error) {
      this.status.textContent = error.message;
    } finally {
      this.looking = false;
    }
  }

  take(samples, now) {
    const before = this.before;
    this.before = { samples, now };
    const s = before ? (now - before.now) / 1000 : null;
    const since = (name, labels) => (before ? growth(before.samples, samples, name, labels) : 0);
    const warm = samples.filter((one) => one.name === "quartet_model_warm");
    const loaded = new Map(warm.map((one) => [one.labels.model, one.labels.surface]));
    const budget = sum(samples, "quartet_memory_budget_bytes");
    const used = sum(samples, "quartet_model_memory_bytes");
    const resident = sum(samples, "process_resident_memory_bytes");
    const answered = s ? since("quartet_requests_total") / s : 0;
    const counted = (title, name) => [title, sum(samples, name), String(sum(samples, name))];
    const requests = [
      ["Answered", answered, rate(answered, "per second")],
      counted("In flight", "quartet_requests_in_flight"),
    ];
    if (queues) requests.push(counted("In queue", "quartet_queue_depth"));
    this.cards.replaceChildren(
      this.card("Memory", [
        ["Reserved for warm models", used, bytes(used), budget, `of ${bytes(budget)}`],
        ["Processes", resident, bytes(resident)],
      ]),
      this.card("Requests", requests),
      ...[...loaded].sort().map((one) => this.modelCard(...one, samples, since, s)),
    );
    if (!loaded.size) this.status.textContent = "No model is loaded yet. The first job loads one.";
  }

  modelCard(model, surface, samples, since, s) {
    const runs = since("quartet_model_runs_total", { model });
    const size = since("quartet_model_size_total", { model, padding: "without" });
    const padded = since("quartet_model_size_total", { model, padding: "with" });
    const most = largest(samples, "quartet_model_budget", { model });
    const [unit, factor] = unitOf(surface, most);
    const speed = s ? size / s / factor : 0;
    const bounded = Number.isFinite(most) && most > 0;
    const fill = !runs ? 0 : bounded ? padded / runs / most : size / runs;
    const filled = bounded ? percent(fill) : `${fill.toFixed(1)} at once`;
    const padding = padded ? 1 - size / padded : 0;
    const waiting = sum(samples, "quartet_model_waiting", { model });
    return this.card(model, [
      ["Speed", speed, rate(speed, unit)],
      ["Batch fill", fill, runs ? filled : "–"],
      ["Padding", padding, padded ? percent(padding) : "–"],
      ["Waiting", waiting, String(waiting)],
    ]);
  }

  card(title, facts) {
    return el(
      "div",
      { class: "card" },
      el("h3", {}, title),
      ...facts.map(([name, value, words, most = null, more = ""]) => {
        const key = `${title} ${name}`;
        const values = [...(this.series.get(key) ?? []), value].slice(-KEPT);
        this.series.set(key, values);
        return el(
          "div",
          { class: "measure" },
          el("span", {}, name),
          el("strong", {}, words),
          el("span", { class: "facts" }, more),
          chart(values, most, `${name}: ${words} ${more}`),
        );
      }),
    );
  }
}

const percent = (share) => `${Math.round(share * 100)} %`;
const rate = (value, unit) => `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
