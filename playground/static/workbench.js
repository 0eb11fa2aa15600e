// The common part of the surfaces' tabs: the model and its fields on one side, the result on the
// other; send and stop buttons, elapsed time, errors; and the request as code.

import { CodeView } from "./code.js";
import { announce, button, el, labelled, seconds, select } from "./dom.js";
import { FieldError, Fields } from "./fields.js";
import { model, models } from "./server.js";

const narrow = matchMedia("(max-width: 48rem)");

// surface   the surface, for its models and routes
// heading   the heading
// suits     filters the surface's models
// specs     the fields, see Fields; those after "more" are folded
// known     parameters that /v1/models does not list, since it covers the first operation only
// extra     nodes of the form above the fields
// request   (values, model) => {route, body, stream}
// run       async (request, signal) => {}: sends the request and shows the result in ``output``
export class Workbench {
  constructor({
    surface,
    heading,
    suits = () => true,
    specs,
    known = {},
    extra = [],
    request,
    run,
    send,
  }) {
    Object.assign(this, { surface, suits, specs, known, makeRequest: request, run });
    this.memory = new Map();
    this.code = new CodeView(surface);
    this.picker = select([]);
    this.notice = el("p", { class: "notice", hidden: true });
    this.fieldsBox = el("div", {});
    this.sendButton = el("button", { type: "submit", class: "primary" }, send);
    this.stopButton = button("Stop", () => this.stop(), { hidden: true });
    this.status = el("p", { class: "status", role: "status" });
    this.clock = el("p", { class: "status", "aria-hidden": "true", hidden: true });
    this.trouble = el("div", { class: "trouble", role: "alert", hidden: true });
    this.output = el("div", { class: "output" });
    this.form = el(
      "form",
      { submit: (event) => this.submit(event), input: () => this.changed() },
      labelled("Model", this.picker),
      this.notice,
      ...extra,
      this.fieldsBox,
      el("div", { class: "row" }, this.sendButton, this.stopButton),
    );
    this.picker.addEventListener("change", () => this.pick());
    // An invalid field that is folded is unfolded, so that its error is visible.
    const unfold = (event) => event.target.closest("details")?.setAttribute("open", "");
    this.form.addEventListener("invalid", unfold, true);
    this.element = el(
      "section",
      { class: `workbench ${surface}`, "aria-label": heading },
      el("h2", {}, heading),
      el(
        "div",
        { class: "sides" },
        this.form,
        el("div", { class: "side" }, this.trouble, this.output, this.clock, this.status),
      ),
      this.code.element,
    );
  }

  // Load the models. Retried when the tab is opened again after a failure.
  async open() {
    if (this.opened) return;
    this.opened = true;
    this.status.textContent = "Loading models …";
    try {
      const found = (await models(this.surface)).filter((one) => this.suits(one));
      this.picker.replaceChildren(...found.map((one) => el("option", { value: one.id }, one.id)));
      this.status.textContent = found.length ? "" : "No model on this server can do this.";
      if (found.length) await this.pick();
      else this.code.lacks(this.status.textContent);
    } catch (error) {
      this.opened = false;
      this.status.textContent = "";
      this.fail(error);
    }
  }

  async pick() {
    const wanted = this.picker.value;
    let found;
    this.sendButton.disabled = true;
    try {
      found = await model(this.surface, wanted);
    } catch (error) {
      if (wanted === this.picker.value) this.fail(error);
      return;
    }
    if (wanted !== this.picker.value) return; // another model was picked meanwhile
    this.sendButton.disabled = Boolean(this.going);
    this.model = found;
    this.trouble.hidden = true;
    const { notice } = this.model;
    const parameters = { ...this.model.parameters, ...this.known };
    this.notice.textContent = notice ?? "";
    this.notice.hidden = !notice;
    const [shown, more] = split(this.specs, "more");
    const [first, rest] = [new Fields(parameters, shown), new Fields(parameters, more)];
    for (const one of [this.first, this.rest]) one?.note(this.memory);
    for (const one of [first, rest]) one.recall(this.memory);
    Object.assign(this, { first, rest });
    // A fold that was opened while the model loaded stays open.
    const open = this.fieldsBox.querySelector("details")?.open ?? false;
    const folded = rest.nodes.length ? [fold(rest, open)] : [];
    this.fieldsBox.replaceChildren(...first.nodes, ...folded);
    this.changed();
    this.form.dispatchEvent(new CustomEvent("picked"));
    if (this.early) this.submit();
  }

  field(name) {
    return this.first?.get(name) ?? this.rest?.get(name);
  }

  request() {
    const values = { ...this.first.values(), ...this.rest.values() };
    return this.makeRequest(values, this.model);
  }

  // Update the code view after a change of the form.
  changed() {
    if (!this.model || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      try {
        this.code.show(this.request());
      } catch (error) {
        if (!(error instanceof FieldError)) throw error;
        this.code.lacks(error.message);
      }
    });
  }

  async submit(event) {
    event?.preventDefault();
    this.early = !this.model; // sent as soon as the model is known
    if (this.going || !this.model) return;
    this.trouble.hidden = true;
    let request;
    try {
      request = this.request();
    } catch (error) {
      this.fail(error);
      return;
    }
    await this.perform(request);
    this.changed();
  }

  async perform(request) {
    this.going = new AbortController();
    this.sendButton.disabled = true;
    this.stopButton.hidden = false;
    const start = performance.now();
    // A screen reader hears the final time, not every tenth of a second.
    const ticking = setInterval(() => {
      this.clock.textContent = seconds(performance.now() - start);
    }, 100);
    this.clock.textContent = this.status.textContent = "";
    this.clock.hidden = false;
    let [summary, stopped] = ["", false];
    try {
      const more = await this.run(request, this.going.signal);
      summary = [seconds(performance.now() - start), more].filter(Boolean).join(" · ");
      announce(this.spoken?.() ?? "Done");
      if (narrow.matches) this.output.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (error.name === "AbortError") summary = "Stopped.";
      else this.fail(error);
      stopped = error.name === "AbortError";
    } finally {
      clearInterval(ticking);
      this.clock.hidden = true;
      this.status.textContent = summary;
      this.sendButton.disabled = false;
      this.stopButton.hidden = true;
      this.going = null;
      if (stopped) this.sendButton.focus();
    }
  }

  stop() {
    this.going?.abort();
  }

  fail(error) {
    const facts = [error.code, error.param].filter(Boolean).join(" · ");
    this.trouble.replaceChildren(
      el("p", {}, error.message),
      ...(facts ? [el("p", { class: "facts" }, facts)] : []),
    );
    this.trouble.hidden = false;
    error.control?.focus();
  }
}

// An answer's warnings, and its notice unless that is ``known``.
export function remarks(answer, known = null) {
  const warnings = (answer.warnings ?? []).map((one) => one.message);
  const notice = answer.notice === known ? null : answer.notice;
  const all = [...new Set([notice, ...warnings].filter(Boolean))];
  return all.length ? el("ul", { class: "remarks" }, ...all.map((one) => el("li", {}, one))) : null;
}

function split(specs, mark) {
  const at = specs.indexOf(mark);
  return at < 0 ? [specs, []] : [specs.slice(0, at), specs.slice(at + 1)];
}

const fold = (fields, open) =>
  el("details", { class: "more", open }, el("summary", {}, "More settings"), ...fields.nodes);
