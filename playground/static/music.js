// Music: a caption, lyrics, recordings to follow, and the songs to play and save.

import { bytes, button, clock, download, el, freshId } from "./dom.js";
import { DropZone } from "./files.js";
import { ask, base } from "./server.js";
import { decoded, discard, soundFile } from "./sounds.js";
import { remarks, Workbench } from "./workbench.js";

const KEPT = 8; // results shown

export class Music {
  constructor() {
    const changed = () => this.bench?.changed();
    const accept = "audio/*";
    this.timbre = new DropZone({ label: "Recording whose timbre the song gets", accept, changed });
    this.source = new DropZone({ label: "Recording to cover", accept, changed });
    this.bench = new Workbench({
      surface: "music",
      heading: "Music",
      specs: [
        ["caption", "Caption", "area", "Style, instruments, mood and voice."],
        ["lyrics", "Lyrics", "area"],
        ["duration", "Duration", "number", "In seconds."],
        ["format", "Format"],
        "more",
        ["bpm", "Beats a minute"],
        ["keyscale", "Key"],
        ["timesignature", "Beats of a bar"],
        ["vocal_language", "Language"],
        ["inference_steps", "Steps"],
        ["guidance_scale", "Guidance"],
        ["shift", "Shift"],
        ["audio_cover_strength", "Strength of a cover"],
        ["n", "Number of songs"],
        ["seed", "Seed"],
      ],
      extra: [this.timbre.element, this.source.element],
      request: (values) => ({ route: "/audio/music", body: this.body(values), stream: false }),
      run: (request, signal) => this.run(request, signal),
      send: "Compose",
    });
    this.bench.form.addEventListener("picked", () => this.picked());
    this.element = this.bench.element;
  }

  open() {
    return this.bench.open();
  }

  picked() {
    const caption = this.bench.field("caption");
    if (caption && !caption.value) caption.value = "Calm piano with a soft cello, slow and warm";
    this.bench.changed();
  }

  body(values) {
    const body = { model: this.bench.picker.value, ...values };
    if (this.timbre.files.length) body.reference_audio = this.timbre.files[0];
    if (this.source.files.length) body.src_audio = this.source.files[0];
    return body;
  }

  async run({ route, body }, signal) {
    const response = await ask(base("music") + route, { body, signal });
    const { songs, told } = await received(response);
    const { notice } = this.bench.model;
    const shown = songs.map((song) => figure(song, told, body.caption ?? ""));
    this.bench.output.prepend(el("div", {}, ...shown, remarks(told, notice)));
    while (this.bench.output.children.length > KEPT) discard(this.bench.output.lastElementChild);
    return null;
  }
}

// A worker without a queue answers a single song as a file, and tells of it in a header.
async function received(response) {
  if (!response.headers.get("Content-Type").startsWith("application/json")) {
    const told = JSON.parse(response.headers.get("x-about") ?? "{}");
    return { songs: [{ blob: await response.blob(), seed: told.seed }], told };
  }
  const told = await response.json();
  return { songs: told.data ?? [told], told };
}

function figure(song, told, caption) {
  const { format } = told;
  const blob = song.blob ?? (song.b64_json && soundFile([decoded(song.b64_json)], format));
  const src = blob ? URL.createObjectURL(blob) : song.url;
  const name = `${freshId("song")}.${format}`;
  const facts = [clock(told.duration), `${told.sample_rate} Hz`, `seed ${song.seed}`];
  if (blob) facts.push(bytes(blob.size));
  const save = blob
    ? button("Download", () => download(name, blob))
    : el("a", { href: song.url, rel: "noreferrer", target: "_blank" }, "Open");
  return el(
    "figure",
    {},
    el("audio", { src, controls: true, "aria-label": caption }),
    el("figcaption", {}, el("span", {}, facts.join(" · ")), save),
  );
}
