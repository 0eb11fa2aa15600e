// Machine: what the workers' models do, from /metrics, as small charts of the last minutes.

import { chart } from "./charts.js";
import { bytes, el } from "./dom.js";
import { read, sum } from "./prometheus.js";
import { ask, models, about } from "./server.js";

const EVERY_MS = 2000;
const KEPT = 90;
const MEGA = 1e6;
const UNITS = {
  chat: ["tokens/s", 1], embeddings: ["tokens/s", 1], images: ["megapixels/s", MEGA],
  transcribe: ["seconds of sound/s", 1],
};

export class Machine {
  constructor() {
    this.cards = el("div", { class: "cards" });
    this.status = el("p", { class: "status", role: "status" });
    this.element = el("section", { "aria-label": "Machine" }, el("h2", {}, "Machine"), this.status, this.cards);
    this.series = new Map();
    this.surfaces = new Map();
  }

  // From the first time on, also while another tab is looked at: the charts have no gaps then.
  open() {
    this.asking ??= setInterval(() => this.look(), EVERY_MS);
    this.look();
  }

  async look() {
    if (this.looking || document.hidden) return;
    this.looking = true;
    try {
      this.take(read(await (await ask("metrics")).text()), performance.now());
      this.status.textContent = "";
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
    const since = (name, labels) =>
      before ? Math.max(0, sum(samples, name, labels) - sum(before.samples, name, labels)) : 0;
    const loaded = [...new Set(samples.filter((one) => one.name === "quartet_model_warm").map((one) => one.labels.model))];
    const budget = sum(samples, "quartet_memory_budget_bytes");
    const used = sum(samples, "quartet_model_memory_bytes");
    this.cards.replaceChildren(
      this.card("Memory", [
        ["Warm models", used, bytes(used), budget, `of ${bytes(budget)}`],
        ["Processes", sum(samples, "process_resident_memory_bytes"), bytes(sum(samples, "process_resident_memory_bytes"))],
      ]),
      this.card("Requests", [
        ["Answered", s ? since("quartet_requests_total") / s : 0, rate(s && since("quartet_requests_total") / s, "a second")],
        ["Under way", sum(samples, "quartet_requests_in_flight"), String(sum(samples, "quartet_requests_in_flight"))],
        ...(about.kind === "platform" ? [["In queue", sum(samples, "quartet_queue_depth"), String(sum(samples, "quartet_queue_depth"))]] : []),
      ]),
      ...loaded.sort().map((model) => this.modelCard(model, samples, since, s)),
    );
    if (!loaded.length) this.status.textContent = "No model is warm yet: the first job loads one.";
  }

  modelCard(model, samples, since, s) {
    const [unit, factor] = UNITS[this.surfaceOf(model)] ?? ["units/s", 1];
    const runs = since("quartet_model_runs_total", { model });
    const size = since("quartet_model_size_total", { model, padding: "without" });
    const padded = since("quartet_model_size_total", { model, padding: "with" });
    const most = sum(samples, "quartet_model_budget", { model });
    const speed = s ? size / s / factor : 0;
    const fill = runs && Number.isFinite(most) && most ? padded / runs / most : runs ? size / runs : 0;
    const filled = Number.isFinite(most) && most ? percent(fill) : `${fill.toFixed(1)} at once`;
    const waiting = sum(samples, "quartet_model_waiting", { model });
    return this.card(model, [
      ["Speed", speed, rate(speed, unit)],
      ["Batch fill", fill, runs ? filled : "–"],
      ["Padding", padded ? 1 - size / padded : 0, padded ? percent(1 - size / padded) : "–"],
      ["Waiting", waiting, String(waiting)],
    ]);
  }

  // Which surface a model is of, once the listings are here.
  surfaceOf(model) {
    if (!this.listed) {
      this.listed = true;
      for (const surface of about.surfaces)
        models(surface).then((all) => all.forEach((one) => this.surfaces.set(one.id, surface)), () => {});
    }
    return this.surfaces.get(model);
  }

  card(title, facts) {
    return el("div", { class: "card" }, el("h3", {}, title),
      ...facts.map(([name, value, words, most = null, more = ""]) => {
        const key = `${title} ${name}`;
        const values = [...(this.series.get(key) ?? []), value].slice(-KEPT);
        this.series.set(key, values);
        return el("div", { class: "measure" },
          el("span", {}, name), el("strong", {}, words), el("span", { class: "facts" }, more),
          chart(values, most, `${name}: ${words} ${more}`));
      }));
  }
}

const percent = (share) => `${Math.round(share * 100)} %`;
const rate = (value, unit) => `${(value || 0).toFixed(value < 10 ? 1 : 0)} ${unit}`;
