// Speech: a text, a voice, and the sound to play and save.

import { button, bytes, clock, download, el, freshId, labelled } from "./dom.js";
import { FieldError } from "./fields.js";
import { base, events } from "./server.js";
import { decoded, discard, soundFile } from "./sounds.js";
import { remarks, Workbench } from "./workbench.js";

const TEXT = "Hello. On March 3rd, Dr. Smith paid $9.99 for a cup of tea.";
const KEPT = 8; // results shown

export class Speech {
  constructor() {
    this.text = el("textarea", { rows: 6 });
    this.text.value = TEXT;
    this.bench = new Workbench({
      surface: "speech",
      heading: "Speech",
      specs: [
        ["voice", "Voice"],
        ["speed", "Speed"],
        ["response_format", "Format"],
        "more",
        ["language", "Language"],
        ["instructions", "Instructions", "area"],
        ["sample_rate", "Sample rate"],
        ["seed", "Seed"],
      ],
      extra: [labelled("Text", this.text)],
      request: (values) => ({
        route: "/audio/speech",
        body: {
          model: this.bench.picker.value,
          input: this.text.value,
          ...numbered(values),
          stream: true,
          stream_format: "sse",
        },
        stream: true,
      }),
      run: (request, signal) => this.run(request, signal),
      send: "Speak",
    });
    this.element = this.bench.element;
  }

  open() {
    return this.bench.open();
  }

  async run({ route, body }, signal) {
    if (!body.input.trim()) throw new FieldError(this.text, "Enter a text.");
    const start = performance.now();
    const parts = [];
    let [first, done] = [null, null];
    for await (const event of events(base("speech") + route, { body, signal })) {
      if (event.type === "speech.audio.delta") {
        first ??= performance.now() - start;
        parts.push(decoded(event.audio));
      } else if (event.type === "speech.audio.done") done = event;
    }
    if (!done) throw new Error("The sound broke off.");
    this.bench.output.prepend(result(parts, done, body.input, this.bench.model.notice));
    while (this.bench.output.children.length > KEPT) discard(this.bench.output.lastElementChild);
    return `first sound after ${Math.round(first)} ms`;
  }
}

// A choice of numbers is a list of texts.
const numbered = ({ sample_rate: rate, ...values }) =>
  rate === undefined ? values : { ...values, sample_rate: Number(rate) };

function result(parts, done, text, notice) {
  const blob = soundFile(parts, done.format);
  const name = `${freshId("speech")}.${done.format}`;
  const plays = done.format !== "pcm";
  const player = plays
    ? el("audio", { src: URL.createObjectURL(blob), controls: true, "aria-label": text })
    : el("p", {}, "Samples without a header cannot be played here.");
  const facts = [clock(done.duration), done.voice, `${done.sample_rate} Hz`, bytes(blob.size)];
  return el(
    "figure",
    {},
    player,
    el(
      "figcaption",
      {},
      el("span", {}, facts.join(" · ")),
      button("Download", () => download(name, blob)),
    ),
    remarks(done, notice),
  );
}
