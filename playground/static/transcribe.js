// Transcribe: text of a file, a recording or a URL, highlighted while the audio plays.

import { button, checkbox, clock, download, el, freshId, labelled } from "./dom.js";
import { FieldError } from "./fields.js";
import { DropZone } from "./files.js";
import { ask, Attachment, base, events } from "./server.js";
import { remarks, Workbench } from "./workbench.js";

const SPECS = [
  ["response_format", "Response format"],
  ["language", "Language", "text", "For example en; detected if left empty."],
  ["task", "Task"],
  "more",
  ["prompt", "Prompt"],
  ["hotwords", "Hotwords"],
  ["temperature", "Temperature"],
  ["beam_size", "Beam size"],
  ["mode", "Mode"],
  ["vad_filter", "Skip silence"],
  ["num_speakers", "Number of speakers"],
];

export class Transcribe {
  constructor() {
    const changed = () => {
      if (this.drop?.files.length) this.url.value = "";
      this.bench?.changed();
    };
    this.drop = new DropZone({ label: "Audio or video", accept: "audio/*,video/*", changed });
    const addressed = () => this.url.value && this.drop.files.length && this.drop.set([]);
    this.url = el("input", {
      type: "url",
      placeholder: "https://",
      autocomplete: "off",
      input: addressed,
    });
    this.streaming = checkbox("Stream the text only");
    this.recorder = new Recorder(
      (file) => this.drop.add([new Attachment(file, true)]),
      (error) => this.bench.fail(error),
    );
    this.bench = new Workbench({
      surface: "transcribe",
      heading: "Transcribe",
      specs: SPECS,
      extra: [
        this.drop.element,
        this.recorder.element,
        labelled("Or a URL", this.url),
        this.streaming.whole,
      ],
      request: (values) => this.request(values),
      run: (request, signal) => this.run(request, signal),
      send: "Transcribe",
    });
    this.bench.form.addEventListener("picked", () => {
      const format = this.bench.field("response_format");
      if (!format.value) format.value = "verbose_json";
      format.disabled = this.streaming.checked;
      this.bench.changed();
    });
    this.streaming.addEventListener("change", () => {
      this.bench.field("response_format").disabled = this.streaming.checked;
    });
    this.element = this.bench.element;
  }

  open() {
    return this.bench.open();
  }

  request(values) {
    const [file] = this.drop.files;
    const audioUrl = file ?? this.url.value.trim();
    if (!audioUrl)
      throw new FieldError(this.drop.input, "Choose a file, record audio, or enter a URL.");
    const body = { model: this.bench.picker.value, audioUrl, ...values };
    if (this.streaming.checked) {
      const speakers = body.response_format === "diarized_json";
      Object.assign(body, { stream: true, response_format: speakers ? "diarized_json" : "json" });
    } else if (body.response_format === "verbose_json")
      body.timestamp_granularities = ["segment", "word"];
    return { route: "/audio/transcriptions", body, stream: this.streaming.checked };
  }

  async run(request, signal) {
    const path = base("transcribe") + request.route;
    const [file] = this.drop.files;
    const before = this.bench.output.querySelector("audio");
    if (before) URL.revokeObjectURL(before.src);
    this.bench.output.replaceChildren();
    if (request.stream) {
      const text = el("p", { class: "text transcript" });
      this.bench.output.replaceChildren(text);
      for await (const event of events(path, { body: request.body, signal })) {
        if (event.type === "transcript.text.delta") text.append(event.delta);
        if (event.type === "transcript.text.done") text.textContent = event.text;
      }
      return null;
    }
    const response = await ask(path, { body: request.body, signal });
    const format = request.body.response_format;
    const content = await response.text();
    if (response.headers.get("content-type").startsWith("application/json"))
      this.show(JSON.parse(content), file);
    else this.bench.output.replaceChildren(...asText(content, format));
    return null;
  }

  show(answer, file) {
    const { segments = [], words = [] } = answer;
    const player = file
      ? el("audio", { controls: true, src: URL.createObjectURL(file.file) })
      : null;
    const name = file?.name.replace(/\.[^.]*$/, "") || "transcript";
    const facts = [answer.language, answer.duration === undefined ? null : clock(answer.duration)];
    const transcript = segments.length
      ? new Marked(segments, words, player).element
      : el("p", { class: "text transcript" }, answer.text || "No speech was detected.");
    const save = (ending, text, type) =>
      button(`Download ${ending}`, () => download(`${name}.${ending}`, new Blob([text], { type })));
    this.bench.output.replaceChildren(
      ...[
        player ??
          el(
            "p",
            { class: "facts" },
            "Audio from a URL is not played here: this page requests nothing from other servers.",
          ),
        transcript,
        el("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
        remarks(answer, this.bench.model.notice),
        el(
          "div",
          { class: "row" },
          ...(segments.length
            ? [
                save("srt", subtitles(segments, "srt"), "text/plain"),
                save("vtt", subtitles(segments, "vtt"), "text/vtt"),
              ]
            : []),
          save("txt", answer.text ?? "", "text/plain"),
          save("json", JSON.stringify(answer, null, 2), "application/json"),
        ),
      ].filter(Boolean),
    );
  }
}

const asText = (content, format) => [
  el("pre", { class: "transcript", tabindex: 0, "aria-label": "Transcript" }, content),
  el(
    "div",
    { class: "row" },
    button(`Download ${format}`, () =>
      download(`transcript.${format === "text" ? "txt" : format}`, new Blob([content])),
    ),
  ),
];

// Segments, each with a button that plays from it. The spoken words are highlighted.
class Marked {
  constructor(segments, words, player) {
    this.spans = [];
    this.element = el("ol", { class: "transcript" });
    let next = 0;
    for (const segment of segments) {
      const until = segment.end + 0.01;
      const own = [];
      while (next < words.length && words[next].start < until) own.push(words[next++]);
      const parts = own.length
        ? own.map((word) => this.span(`${word.word.trim()} `, word))
        : [this.span(segment.text.trim(), segment)];
      const play = () => {
        player.currentTime = segment.start;
        player.play();
      };
      const at = clock(segment.start);
      this.element.append(
        el(
          "li",
          {},
          player
            ? button(at, play, { "aria-label": `Play from ${at}`, class: "time" })
            : el("span", { class: "time" }, at),
          segment.speaker ? el("strong", {}, `${segment.speaker}: `) : null,
          el("span", { class: "text" }, ...parts),
        ),
      );
    }
    player?.addEventListener("timeupdate", () => this.mark(player.currentTime));
  }

  span(text, { start, end }) {
    const node = el("span", {}, text);
    this.spans.push({ node, start, end });
    return node;
  }

  mark(now) {
    for (const { node, start, end } of this.spans)
      node.classList.toggle("now", start <= now && now < end);
  }
}

// SubRip and WebVTT, one cue per segment. https://www.w3.org/TR/webvtt1/
export function subtitles(segments, kind) {
  const comma = kind === "srt" ? "," : ".";
  const time = (s) => {
    const ms = Math.round(s * 1000);
    const two = (one) => String(Math.floor(one)).padStart(2, "0");
    const whole = `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}`;
    return `${whole}${comma}${String(ms % 1000).padStart(3, "0")}`;
  };
  const safe = (text) =>
    kind === "srt"
      ? text
      : text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const cues = segments.map(
    ({ start, end, text }, index) =>
      `${kind === "srt" ? `${index + 1}\n` : ""}${time(start)} --> ${time(end)}\n${safe(text.trim())}\n`,
  );
  return (kind === "srt" ? "" : "WEBVTT\n\n") + cues.join("\n");
}

class Recorder {
  constructor(done, failed) {
    Object.assign(this, { done, failed });
    this.button = button("Record", () => this.toggle(), { "aria-pressed": "false" });
    this.element = el("div", { class: "row" }, this.button);
  }

  async toggle() {
    if (this.recorder) {
      this.recorder.stop();
      return;
    }
    let stream;
    this.button.disabled = true; // until the browser has asked for permission
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      this.failed(new FieldError(this.button, `Recording failed: ${error.message}`));
      return;
    } finally {
      this.button.disabled = false;
    }
    const parts = [];
    this.recorder = new MediaRecorder(stream);
    this.recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    this.recorder.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      const type = this.recorder.mimeType.split(";")[0];
      this.recorder = null;
      this.set(false);
      this.done(new File(parts, `${freshId("recording")}.${type.split("/")[1]}`, { type }));
    });
    this.recorder.start();
    this.set(true);
  }

  set(recording) {
    this.button.textContent = recording ? "Stop recording" : "Record";
    this.button.setAttribute("aria-pressed", String(recording));
  }
}
