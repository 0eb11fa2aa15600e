// Jobs: the platform's queues as they change, and each job with its times and actions.

import { announce, button, el, labelled, seconds, select } from "./dom.js";
import { ask, askJson, events } from "./server.js";

const FINAL = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);
const WORDS = {
  IN_QUEUE: "in queue",
  IN_PROGRESS: "running",
  COMPLETED: "completed",
  FAILED: "failed",
  CANCELLED: "cancelled",
  TIMED_OUT: "timed out",
};
const SHOWN = 100;
const SPANS = [
  [10_000, "10 seconds"],
  [60_000, "minute"],
  [300_000, "5 minutes"],
  [1_800_000, "30 minutes"],
];
const LONG_TEXT = 400;

export class Jobs {
  constructor() {
    this.jobs = new Map();
    this.rows = new Map();
    this.queues = el("div", { class: "cards" });
    this.body = el("tbody", {});
    this.status = el("p", { class: "status" });
    this.trouble = el("p", { class: "trouble", role: "alert", hidden: true });
    this.span = select(SPANS);
    this.span.addEventListener("change", () => this.draw());
    this.detail = el("section", {
      class: "detail",
      "aria-label": "Job",
      tabindex: -1,
      hidden: true,
    });
    const columns = ["Job", "Endpoint", "State", "Queued / ran", "Worker", "Actions"];
    this.element = el(
      "section",
      { "aria-label": "Jobs" },
      el("h2", {}, "Jobs"),
      this.status,
      this.queues,
      this.trouble,
      el("div", { class: "span" }, labelled("Timeline of the last", this.span)),
      el(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "The latest jobs" },
        el(
          "table",
          { class: "jobs" },
          el(
            "caption",
            {},
            "The latest jobs, newest first. Jobs sent to /run are kept for 30 minutes, others for 1 minute.",
          ),
          el("thead", {}, el("tr", {}, ...columns.map((one) => el("th", { scope: "col" }, one)))),
          this.body,
        ),
      ),
      this.detail,
    );
  }

  open() {
    this.following ??= this.follow();
    this.ticking ??= setInterval(() => this.draw(), 500);
  }

  close() {
    clearInterval(this.ticking);
    this.ticking = null;
  }

  // Follow the platform's events. Reconnect when it goes away; another platform may answer then.
  async follow() {
    for (;;) {
      try {
        let first = true;
        for await (const change of events("playground/events")) {
          if (first) this.jobs.clear();
          first = false;
          this.take(change);
        }
      } catch (error) {
        this.status.textContent = error.message;
        if (error.status === 401) {
          this.following = null;
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  take({ now, jobs, gone, endpoints, workers }) {
    this.ahead = now - Date.now();
    for (const job of jobs) this.jobs.set(job.id, job);
    for (const id of gone) this.jobs.delete(id);
    if (this.shown && jobs.some((job) => job.id === this.shown.job.id))
      this.detailOf(this.shown.job);
    this.status.textContent = workers.length
      ? workers
          .map((one) => `${one.id} (${one.endpoint}): ${one.state}, ${one.jobs} jobs`)
          .join(" · ")
      : "No workers are running.";
    this.queues.replaceChildren(...Object.entries(endpoints).map(queueCard));
    this.draw();
  }

  draw() {
    // Running jobs are always shown, however many are queued.
    const runs = (job) => job.status === "IN_PROGRESS";
    const order = (a, b) => b.submitted - a.submitted;
    const jobs = [...this.jobs.values()].filter(
      (job) => !(job.about ?? "").startsWith("/v1/models"),
    );
    const all = jobs.sort((a, b) => runs(b) - runs(a) || order(a, b));
    const latest = all.slice(0, SHOWN).sort(order);
    const now = Date.now() + (this.ahead ?? 0);
    const from = now - Number(this.span.value);
    const kept = new Set(latest.map((job) => job.id));
    for (const [id, row] of this.rows)
      if (!kept.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    latest.forEach((job, index) => {
      const row = this.rows.get(job.id) ?? new Row(job, this);
      this.rows.set(job.id, row);
      row.update(job, now, from);
      if (this.body.children[index] !== row.element)
        this.body.insertBefore(row.element, this.body.children[index] ?? null);
    });
  }

  async act(job, what) {
    try {
      await ask(`v2/${job.endpoint}/${what}/${job.id}`, { method: "POST" });
      announce(`${what}: ${job.id}`);
      this.trouble.hidden = true;
    } catch (error) {
      this.trouble.textContent = error.message;
      this.trouble.hidden = false;
    }
  }

  async show(job, opener) {
    this.shown = { job, opener };
    await this.detailOf(job);
    this.detail.hidden = false;
    this.detail.focus();
    this.detail.scrollIntoView({ block: "nearest" });
  }

  hide() {
    this.detail.hidden = true;
    this.shown.opener.focus();
    this.shown = null;
  }

  // Show the details of a job; called again when the job changes.
  async detailOf(job) {
    let facts;
    try {
      facts = await askJson(`playground/jobs/${job.endpoint}/${job.id}`);
    } catch (error) {
      facts = { error: error.message };
    }
    if (this.shown?.job !== job) return; // closed meanwhile, or another job is shown
    const inside = this.detail.contains(document.activeElement);
    const { input, output, error, ...rest } = facts;
    const part = (name, value) =>
      value === undefined
        ? []
        : [el("h4", {}, name), el("pre", { tabindex: 0, "aria-label": name }, shortened(value))];
    this.detail.replaceChildren(
      el("h3", {}, job.id),
      el(
        "p",
        { class: "facts" },
        Object.entries(rest)
          .filter(([name]) => name !== "id")
          .map(([name, value]) => `${name} ${value}`)
          .join(" · "),
      ),
      ...part("Input", input),
      ...part("Error", parsed(error)),
      ...part("Output", output),
      button("Close", () => this.hide()),
    );
    if (inside) this.detail.focus(); // the focused element was replaced
  }
}

class Row {
  constructor(job, jobs) {
    this.state = el("td", {});
    this.times = el("td", { class: "times" });
    this.worker = el("td", {});
    this.before = el("span", { class: "bar" });
    this.wait = el("span", { class: "bar wait" });
    this.run = el("span", { class: "bar run" });
    this.words = el("span", { class: "facts" });
    this.times.append(el("span", { class: "line" }, this.before, this.wait, this.run), this.words);
    this.cancel = button("Cancel", () => jobs.act(job, "cancel"), {
      "aria-label": `Cancel ${job.id}`,
    });
    this.retry = button("Retry", () => jobs.act(job, "retry"), { "aria-label": `Retry ${job.id}` });
    const short = job.id.replace(/^sync-/, "").slice(0, 8);
    this.opener = button(short, () => jobs.show(job, this.opener), {
      class: "link",
      "aria-label": `Show ${job.id}`,
    });
    this.element = el(
      "tr",
      {},
      el("th", { scope: "row" }, this.opener, el("span", { class: "facts" }, job.about ?? "")),
      el("td", {}, job.endpoint),
      this.state,
      this.times,
      this.worker,
      el("td", {}, this.cancel, this.retry),
    );
  }

  update(job, now, from) {
    const end = job.finished ?? now;
    const waited = (job.taken ?? end) - job.submitted;
    const ran = job.taken === null ? 0 : end - job.taken;
    const { done, total, unit } = job.progress ?? {};
    const progress = total ? `${done} of ${total} ${unit}` : null;
    this.state.textContent = [WORDS[job.status], job.code ?? progress].filter(Boolean).join(": ");
    this.state.className = `state ${job.status}`;
    this.line(job.submitted, job.taken ?? end, end, from, now);
    this.words.textContent =
      job.taken === null ? seconds(waited) : `${seconds(waited)} + ${seconds(ran)}`;
    this.worker.textContent =
      job.worker === null ? "" : job.tries > 1 ? `${job.worker}, try ${job.tries}` : job.worker;
    const acts =
      this.element.contains(document.activeElement) && document.activeElement !== this.opener;
    this.cancel.hidden = FINAL.has(job.status);
    this.retry.hidden = !FINAL.has(job.status) || job.status === "COMPLETED";
    if (acts && document.activeElement.hidden) this.opener.focus();
  }

  // Draw the job between ``from`` and ``now``: empty, queued, running. Earlier times are clipped.
  line(submitted, taken, end, from, now) {
    const at = (time) => ((Math.max(time, from) - from) / (now - from)) * 100;
    this.before.style.setProperty("--part", `${at(submitted)}%`);
    this.wait.style.setProperty("--part", `${at(taken) - at(submitted)}%`);
    this.run.style.setProperty("--part", `${at(end) - at(taken)}%`);
  }
}

function queueCard([name, { jobs, workers }]) {
  const facts = [
    ["in queue", jobs.inQueue],
    ["running", jobs.inProgress],
    ["completed", jobs.completed],
    ["failed", jobs.failed],
    ["workers", workers.ready + workers.initializing],
  ];
  return el(
    "div",
    { class: "card" },
    el("h3", {}, name),
    el(
      "dl",
      {},
      ...facts.flatMap(([what, count]) => [el("dt", {}, what), el("dd", {}, String(count))]),
    ),
  );
}

function parsed(error) {
  try {
    return JSON.parse(error);
  } catch {
    return error;
  }
}

// JSON for people: long texts (files, pictures) are cut, with their length.
const shortened = (value) =>
  JSON.stringify(
    value,
    (_, one) =>
      typeof one === "string" && one.length > LONG_TEXT
        ? `${one.slice(0, LONG_TEXT)} … (${one.length} characters)`
        : one,
    2,
  );
