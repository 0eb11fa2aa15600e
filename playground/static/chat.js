// Chat: a conversation that streams, with a system prompt, sampling, response formats and tools.

import { button, checkbox, el, freshId, labelled, seconds, select } from "./dom.js";
import { FieldError, json } from "./fields.js";
import { DropZone } from "./files.js";
import { askJson, base, events } from "./server.js";
import { remarks, Workbench } from "./workbench.js";

const SPECS = [
  ["temperature", "Temperature"],
  ["max_tokens", "Max tokens"],
  "more",
  ["top_p", "Top p"],
  ["top_k", "Top k"],
  ["min_p", "Min p"],
  ["frequency_penalty", "Frequency penalty"],
  ["presence_penalty", "Presence penalty"],
  ["repetition_penalty", "Repetition penalty"],
  ["seed", "Seed"],
  ["stop", "Stop sequences", "lines", "One per line, up to four."],
];

const MOST_PICTURES = 16; // of a message; as many as a worker takes, unless it is set otherwise

const SCHEMA = `{
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 20},
    "age": {"type": "integer"}
  },
  "required": ["name", "age"],
  "additionalProperties": false
}`;

const TOOLS = `[
  {
    "type": "function",
    "function": {
      "name": "weather",
      "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": false
      }
    }
  }
]`;

export class Chat {
  constructor() {
    this.messages = [];
    this.system = el("textarea", { rows: 2 });
    this.form = select([
      ["text", "Text"],
      ["json_object", "JSON object"],
      ["json_schema", "JSON schema"],
    ]);
    this.schema = el("textarea", { rows: 8, spellcheck: "false" });
    this.schema.value = SCHEMA;
    this.functions = checkbox("Tools");
    this.tools = el("textarea", { rows: 8, spellcheck: "false" });
    this.tools.value = TOOLS;
    this.toolChoice = select([
      ["auto", "auto"],
      ["required", "required"],
    ]);
    this.streaming = checkbox("Stream", true);
    this.log = el("div", {
      class: "log",
      role: "log",
      "aria-live": "off",
      "aria-label": "Conversation",
      tabindex: 0,
    });
    this.composer = el("textarea", { rows: 3, keydown: (event) => this.typed(event) });
    this.pictures = new DropZone({
      label: "Pictures and PDFs",
      accept: "image/*,application/pdf",
      most: MOST_PICTURES,
      changed: () => this.bench?.changed(),
    });
    this.pictures.element.hidden = true;
    this.bench = new Workbench({
      surface: "chat",
      heading: "Chat",
      suits: (one) => one.tasks.includes("chat"),
      specs: SPECS,
      extra: this.controls(),
      request: (values) => this.request(values),
      run: (request, signal) => this.run(request, signal),
      send: "Send",
    });
    // A screen reader hears each answer once, when it is complete.
    this.bench.spoken = () => this.messages.at(-1)?.content ?? "The model called a tool.";
    // Pictures are for models that see.
    this.bench.form.addEventListener("picked", () => {
      this.pictures.element.hidden = !this.bench.model.tasks.includes("img2txt");
    });
    this.element = this.bench.element;
    this.bench.output.append(this.log, this.compose());
  }

  open() {
    return this.bench.open();
  }

  controls() {
    const schema = labelled("Schema", this.schema);
    const tools = el(
      "div",
      {},
      labelled("Tool definitions", this.tools),
      labelled("Tool choice", this.toolChoice),
    );
    const show = () => {
      schema.hidden = this.form.value !== "json_schema";
      tools.hidden = !this.functions.checked;
    };
    this.form.addEventListener("change", show);
    this.functions.addEventListener("change", show);
    show();
    return [
      labelled("System prompt", this.system),
      labelled("Response format", this.form),
      schema,
      this.functions.whole,
      tools,
      this.streaming.whole,
    ];
  }

  // The message box stands below the conversation, but belongs to the form.
  compose() {
    this.bench.form.id ||= freshId("chat");
    for (const one of [this.composer, this.bench.sendButton])
      one.setAttribute("form", this.bench.form.id);
    this.composer.addEventListener("input", () => this.bench.changed());
    this.pictures.input.setAttribute("form", this.bench.form.id);
    for (const one of [this.composer, this.log]) this.pictures.watch(one);
    return el(
      "div",
      { class: "compose" },
      labelled("Message", this.composer, "Enter sends; Shift+Enter starts a new line."),
      this.pictures.element,
      el(
        "div",
        { class: "row" },
        this.bench.sendButton,
        this.bench.stopButton,
        button("Regenerate", () => this.again()),
        button("Clear", () => this.clear()),
      ),
    );
  }

  typed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.bench.form.requestSubmit();
  }

  // The new message's content: a text, or a list of parts if it has pictures; null without any.
  content() {
    const text = this.composer.value;
    const files = this.pictures.element.hidden ? [] : this.pictures.files;
    if (!files.length) return text.trim() ? text : null;
    return [...files.map(part), ...(text.trim() ? [{ type: "text", text }] : [])];
  }

  request(values) {
    const content = this.content();
    // Without a new message, the last one is sent again.
    const history = content ? this.messages : upTo(this.messages);
    const messages = [
      ...(this.system.value.trim() ? [{ role: "system", content: this.system.value }] : []),
      ...history,
      ...(content ? [{ role: "user", content }] : []),
    ];
    if (!content && !this.messages.length)
      throw new FieldError(this.composer, "Write a message first.");
    const body = { model: this.bench.picker.value, messages, ...values };
    if (this.form.value === "json_object") body.response_format = { type: "json_object" };
    if (this.form.value === "json_schema")
      body.response_format = {
        type: "json_schema",
        json_schema: { name: "answer", schema: json(this.schema) },
      };
    if (this.functions.checked) {
      body.tools = json(this.tools);
      body.tool_choice = this.toolChoice.value;
    }
    const stream = this.streaming.checked;
    if (stream) Object.assign(body, { stream, stream_options: { include_usage: true } });
    return { route: "/chat/completions", body, stream };
  }

  async run(request, signal) {
    const content = this.content();
    const [typed, files] = [this.composer.value, this.pictures.files];
    if (!content && this.messages.at(-1).role === "assistant")
      throw new FieldError(this.composer, "Write a message first.");
    const asked = content ? this.add({ role: "user", content }) : null;
    if (asked) this.empty();
    const answer = new Answer(this.log, this.bench.model.notice);
    const start = performance.now();
    let firstMs = null;
    try {
      const path = base("chat") + request.route;
      if (request.stream) {
        for await (const event of events(path, { body: request.body, signal })) {
          if (firstMs === null && answer.hasText(event)) firstMs = performance.now() - start;
          answer.take(event);
        }
      } else answer.whole(await askJson(path, { body: request.body, signal }));
    } finally {
      if (!this.keep(answer) && asked?.isConnected) this.takeBack(asked, typed, files);
    }
    return figures(answer, start, firstMs);
  }

  // Add an answer to the conversation, unless it was cleared. Returns whether it was added.
  keep(answer) {
    const message = answer.message();
    if (message === null) answer.element.remove();
    if (message === null || !answer.element.isConnected) return false;
    if (!answer.reason) answer.element.append(el("small", {}, "The answer was cut off here."));
    this.messages.push(message);
    if (message.tool_calls) answer.element.append(this.results(message.tool_calls));
    return true;
  }

  // Put a message that was refused, or stopped before its answer began, back into the message box.
  takeBack(asked, typed, files) {
    this.messages.pop();
    discard(asked);
    this.composer.value ||= typed;
    if (!this.pictures.files.length) this.pictures.set(files);
  }

  empty() {
    this.composer.value = "";
    this.pictures.set([]);
  }

  // Fields for the tools' results, which the client supplies.
  results(calls) {
    const inputs = calls.map(() => el("input", { type: "text", autocomplete: "off" }));
    const give = button("Submit results", () => {
      if (this.bench.going) return;
      give.disabled = true;
      calls.forEach((call, index) =>
        this.add({ role: "tool", tool_call_id: call.id, content: inputs[index].value }),
      );
      this.bench.submit();
    });
    const fields = calls.map((call, index) =>
      labelled(`Result of ${call.function.name}`, inputs[index]),
    );
    return el("div", { class: "row" }, ...fields, give);
  }

  add(message) {
    this.messages.push(message);
    const shown = bubble(message.role, ...seen(message.content));
    this.log.append(shown);
    this.log.scrollTop = this.log.scrollHeight;
    return shown;
  }

  // Ask for the last answer again.
  again() {
    if (this.bench.going) return;
    while (this.messages.at(-1)?.role === "assistant") {
      this.messages.pop();
      this.log.lastElementChild.remove();
    }
    if (!this.messages.length) return;
    // Not sent with the repeated request.
    const [written, files] = [this.composer.value, this.pictures.files];
    this.empty();
    this.bench.submit();
    this.composer.value = written;
    this.pictures.set(files);
  }

  clear() {
    this.bench.stop();
    this.messages = [];
    for (const one of [...this.log.children]) discard(one);
    this.bench.status.textContent = "";
    this.bench.trouble.hidden = true;
    this.bench.changed();
    this.composer.focus();
  }
}

// The conversation without its trailing answers.
function upTo(messages) {
  const last = messages.findLastIndex((one) => one.role !== "assistant");
  return messages.slice(0, last + 1);
}

// A file as a part of a message.
const part = (file) =>
  file.type === "application/pdf"
    ? { type: "file", file: { filename: file.name, file_data: file } }
    : { type: "image_url", image_url: { url: file } };

// What a message shows: its pictures, small, the names of its files, and its text.
function seen(content) {
  if (!Array.isArray(content)) return [el("p", { class: "text" }, content)];
  const text = content.find((one) => one.type === "text")?.text;
  const files = content.filter((one) => one.type !== "text").map((one) => {
    if (one.type === "file") return el("span", {}, one.file.filename);
    const { name, file } = one.image_url.url;
    return el("img", { src: URL.createObjectURL(file), alt: name, height: 96 });
  });
  return [
    el("div", { class: "row shown" }, ...files),
    text ? el("p", { class: "text" }, text) : null,
  ];
}

function discard(element) {
  for (const one of element.querySelectorAll("img")) URL.revokeObjectURL(one.src);
  element.remove();
}

const bubble = (role, ...content) =>
  el("article", { class: `message ${role}` }, el("h3", {}, NAMES[role]), ...content);

const NAMES = { user: "You", assistant: "Model", tool: "Tool" };

// An answer, received whole or as a stream.
class Answer {
  constructor(log, notice) {
    Object.assign(this, { log, notice });
    this.content = this.thoughts = "";
    this.calls = [];
    this.usage = this.reason = null;
    this.pieces = 0;
    this.text = el("p", { class: "text" });
    this.thinking = el("p", { class: "thoughts" });
    this.thinkingBox = el(
      "details",
      { hidden: true },
      el("summary", {}, "Reasoning"),
      this.thinking,
    );
    this.called = el("pre", { hidden: true, "aria-label": "Tool calls" });
    this.element = bubble("assistant", this.thinkingBox, this.text, this.called);
    this.log.append(this.element);
  }

  hasText(event) {
    const delta = event.choices[0]?.delta;
    return Boolean(delta?.content || delta?.reasoning_content || delta?.tool_calls);
  }

  take(event) {
    if (this.hasText(event)) this.pieces += 1;
    this.usage = event.usage ?? this.usage;
    this.remark(event);
    const [choice] = event.choices;
    if (!choice) return;
    this.add(choice.delta);
    this.reason = choice.finish_reason ?? this.reason;
    this.draw();
  }

  whole(answer) {
    this.usage = answer.usage;
    this.remark(answer);
    this.add(answer.choices[0].message);
    this.reason = answer.choices[0].finish_reason;
    this.draw();
  }

  add({ content, reasoning_content: thought, tool_calls: calls }) {
    this.content += content ?? "";
    this.thoughts += thought ?? "";
    for (const [index, call] of (calls ?? []).entries()) {
      const mine = (this.calls[call.index ?? index] ??= { arguments: "" });
      mine.id ??= call.id;
      mine.name ??= call.function?.name;
      mine.arguments += call.function?.arguments ?? "";
    }
  }

  draw() {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.text.textContent = this.content;
    this.thinking.textContent = this.thoughts;
    this.thinkingBox.hidden = !this.thoughts;
    this.called.hidden = !this.calls.length;
    this.called.textContent = this.calls.map((one) => `${one.name}(${one.arguments})`).join("\n");
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  remark(answer) {
    const list = remarks(answer, this.notice);
    if (list && !this.remarked) this.element.append((this.remarked = list));
  }

  // The answer as a message of the next request; null if it is empty.
  message() {
    if (!this.content && !this.calls.length) return null;
    const calls = this.calls.map((one) => ({
      id: one.id,
      type: "function",
      function: { name: one.name, arguments: one.arguments },
    }));
    const message = { role: "assistant", content: this.content || null };
    return calls.length ? { ...message, tool_calls: calls } : message;
  }
}

function figures(answer, start, firstMs) {
  const tokens = answer.usage?.completion_tokens;
  const rest = performance.now() - start - (firstMs ?? 0);
  return [
    firstMs === null ? null : `${seconds(firstMs)} to first token`,
    tokens === undefined ? null : `${tokens} tokens`,
    // An answer that came in one piece has no measurable speed.
    answer.pieces < 2 || !tokens || rest < 50
      ? null
      : `${Math.round((tokens / rest) * 1000)} tokens/s`,
    answer.reason === "length" ? "cut off at max tokens" : null,
  ]
    .filter(Boolean)
    .join(" · ");
}
