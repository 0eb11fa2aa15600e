// Jobs: the platform's queues as they change, each job with its times, and what can be done with it.

import { announce, button, el, seconds } from "./dom.js";
import { ask, askJson, events } from "./server.js";

const FINAL = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);
const WORDS = {
  IN_QUEUE: "in queue", IN_PROGRESS: "running", COMPLETED: "completed", FAILED: "failed",
  CANCELLED: "cancelled", TIMED_OUT: "timed out",
};
const SHOWN = 100;
const LONG_TEXT = 400;

export class Jobs {
  constructor() {
    this.jobs = new Map();
    this.rows = new Map();
    this.queues = el("div", { class: "cards" });
    this.body = el("tbody", {});
    this.status = el("p", { class: "status", role: "status" });
    this.detail = el("section", { class: "detail", "aria-label": "Job", tabindex: -1, hidden: true });
    const columns = ["Job", "Endpoint", "State", "Waited and ran", "Worker", "Do"];
    this.element = el(
      "section", { "aria-label": "Jobs" },
      el("h2", {}, "Jobs"),
      this.status,
      this.queues,
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The latest jobs" },
        el("table", { class: "jobs" },
          el("caption", {}, "The latest jobs, the newest first"),
          el("thead", {}, el("tr", {}, ...columns.map((one) => el("th", { scope: "col" }, one)))),
          this.body)),
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

  // Follow the platform; when it goes away, look for it again.
  async follow() {
    for (;;) {
      try {
        for await (const change of events("playground/events")) this.take(change);
      } catch (error) {
        this.status.textContent = `${error.message} Trying again …`;
        if (error.status === 401) this.jobs.clear();
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  take({ now, jobs, gone, endpoints, workers }) {
    this.ahead = now - Date.now();
    for (const job of jobs) this.jobs.set(job.id, job);
    for (const id of gone) this.jobs.delete(id);
    this.status.textContent = workers.length
      ? workers.map((one) => `${one.id} (${one.endpoint}): ${one.state}, ${one.jobs} jobs`).join(" · ")
      : "No worker runs.";
    this.queues.replaceChildren(...Object.entries(endpoints).map(queueCard));
    this.draw();
  }

  draw() {
    const latest = [...this.jobs.values()].sort((a, b) => b.submitted - a.submitted).slice(0, SHOWN);
    const now = Date.now() + (this.ahead ?? 0);
    const longest = Math.max(1000, ...latest.map((job) => (job.finished ?? now) - job.submitted));
    const kept = new Set(latest.map((job) => job.id));
    for (const [id, row] of this.rows)
      if (!kept.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    latest.forEach((job, index) => {
      const row = this.rows.get(job.id) ?? new Row(job, this);
      this.rows.set(job.id, row);
      row.update(job, now, longest);
      if (this.body.children[index] !== row.element)
        this.body.insertBefore(row.element, this.body.children[index] ?? null);
    });
  }

  async act(job, what) {
    try {
      await ask(`v2/${job.endpoint}/${what}/${job.id}`, { method: "POST" });
      announce(`${what}: ${job.id}`);
    } catch (error) {
      this.status.textContent = error.message;
    }
  }

  async show(job) {
    let facts;
    try {
      facts = await askJson(`playground/jobs/${job.endpoint}/${job.id}`);
    } catch (error) {
      facts = { error: error.message };
    }
    const { input, output, error, ...rest } = facts;
    const part = (name, value) =>
      value === undefined ? [] : [el("h4", {}, name), el("pre", { tabindex: 0, "aria-label": name }, shortened(value))];
    this.detail.replaceChildren(
      el("h3", {}, job.id),
      el("p", { class: "facts" }, Object.entries(rest).filter(([name]) => name !== "id")
        .map(([name, value]) => `${name} ${value}`).join(" · ")),
      ...part("Input", input),
      ...part("Error", parsed(error)),
      ...part("Output", output),
      button("Close", () => { this.detail.hidden = true; }),
    );
    this.detail.hidden = false;
    this.detail.focus();
    this.detail.scrollIntoView({ block: "nearest" });
  }
}

class Row {
  constructor(job, jobs) {
    this.state = el("td", {});
    this.times = el("td", { class: "times" });
    this.worker = el("td", {});
    this.wait = el("span", { class: "bar wait" });
    this.run = el("span", { class: "bar run" });
    this.words = el("span", { class: "facts" });
    this.times.append(el("span", { class: "line" }, this.wait, this.run), this.words);
    this.cancel = button("Cancel", () => jobs.act(job, "cancel"), { "aria-label": `Cancel ${job.id}` });
    this.retry = button("Retry", () => jobs.act(job, "retry"), { "aria-label": `Retry ${job.id}` });
    const short = job.id.replace(/^sync-/, "").slice(0, 8);
    this.element = el(
      "tr", {},
      el("th", { scope: "row" },
        button(short, () => jobs.show(job), { class: "link", "aria-label": `Show ${job.id}` }),
        el("span", { class: "facts" }, job.about ?? "")),
      el("td", {}, job.endpoint),
      this.state, this.times, this.worker,
      el("td", {}, this.cancel, this.retry),
    );
  }

  update(job, now, longest) {
    const end = job.finished ?? now;
    const waited = (job.taken ?? end) - job.submitted;
    const ran = job.taken === null ? 0 : end - job.taken;
    this.state.textContent = [WORDS[job.status], job.code].filter(Boolean).join(": ");
    this.state.className = `state ${job.status}`;
    this.wait.style.setProperty("--part", `${(waited / longest) * 100}%`);
    this.run.style.setProperty("--part", `${(ran / longest) * 100}%`);
    this.words.textContent = job.taken === null ? seconds(waited) : `${seconds(waited)} + ${seconds(ran)}`;
    this.worker.textContent = job.worker === null ? "" : job.tries > 1 ? `${job.worker}, try ${job.tries}` : job.worker;
    this.cancel.hidden = FINAL.has(job.status);
    this.retry.hidden = !FINAL.has(job.status) || job.status === "COMPLETED";
  }
}

function queueCard([name, { jobs, workers }]) {
  const facts = [
    ["in queue", jobs.inQueue], ["running", jobs.inProgress], ["completed", jobs.completed],
    ["failed", jobs.failed], ["workers", workers.ready + workers.initializing],
  ];
  return el("div", { class: "card" }, el("h3", {}, name),
    el("dl", {}, ...facts.flatMap(([what, count]) => [el("dt", {}, what), el("dd", {}, String(count))])));
}

function parsed(error) {
  try {
    return JSON.parse(error);
  } catch {
    return error;
  }
}

// JSON to be read: long texts (files, pictures) cut, and said how long they are.
const shortened = (value) => JSON.stringify(value, (_, one) =>
  typeof one === "string" && one.length > LONG_TEXT
    ? `${one.slice(0, LONG_TEXT)} … (${one.length} characters)` : one, 2);
