// Images: the results of the chosen model, with the fields that it honours, and previews.

import { bytes, button, download, el, freshId } from "./dom.js";
import { DropZone } from "./files.js";
import { ask, Attachment, base, events } from "./server.js";
import { remarks, Workbench } from "./workbench.js";

const KEPT = 20; // results on the page

const SPECS = [
  ["prompt", "Prompt", "area"],
  ["negative_prompt", "Negative prompt"],
  ["size", "Size", "text", "Width x height in pixels."],
  ["frames", "Frames"],
  ["fps", "Frames per second"],
  ["scale", "Scale"],
  ["background", "Background"],
  ["strength", "Strength", "number", "How much of the input picture changes."],
  "more",
  ["n", "Number of pictures"],
  ["steps", "Steps"],
  ["guidance", "Guidance"],
  ["scheduler", "Scheduler"],
  ["seed", "Seed"],
  ["audio", "Audio"],
  ["output_format", "File format"],
  ["output_compression", "JPEG and WebP quality"],
  ["partial_images", "Previews"],
];

export class ImagesTab {
  constructor() {
    const changed = () => this.bench?.changed();
    const accept = "image/*";
    this.inputs = new DropZone({ label: "Input picture", accept, most: 4, changed });
    this.mask = new DropZone({ label: "Mask: white or transparent areas change", accept, changed });
    this.last = new DropZone({ label: "Last frame", accept, changed });
    this.bench = new Workbench({
      surface: "images",
      heading: "Images",
      specs: SPECS,
      extra: [this.inputs.element, this.mask.element, this.last.element],
      request: (values, model) => this.request(values, model),
      run: (request, signal) => this.run(request, signal),
      send: "Generate",
    });
    this.bench.form.addEventListener("picked", () => this.picked());
    this.element = this.bench.element;
  }

  open() {
    return this.bench.open();
  }

  picked() {
    const { parameters } = this.bench.model;
    this.inputs.element.hidden = !parameters.image;
    this.inputs.limit([parameters.image?.type].flat().includes("array") ? 4 : 1);
    this.mask.element.hidden = !parameters.mask;
    this.last.element.hidden = !parameters.last_image;
    const prompt = this.bench.field("prompt");
    if (prompt && !prompt.value) prompt.value = "A red fox in the snow";
    const previews = this.bench.field("partial_images");
    if (previews && !previews.value) previews.value = 2;
    this.bench.changed();
  }

  request(values, model) {
    const { parameters, tasks } = model;
    const body = { model: this.bench.picker.value, ...values };
    const inputs = parameters.image ? this.inputs.files : [];
    if (inputs.length) body.image = inputs.length > 1 ? inputs : inputs[0];
    if (parameters.mask && this.mask.files.length) body.mask = this.mask.files[0];
    if (parameters.last_image && this.last.files.length) body.last_image = this.last.files[0];
    // A request streams only if it asks for previews.
    const stream = Boolean(body.partial_images);
    if (stream) body.stream = true;
    else delete body.partial_images;
    return { route: routeOf(tasks, inputs), body, stream };
  }

  use(file) {
    if (this.bench.model.parameters.image) this.inputs.set([new Attachment(file, true)]);
    else this.bench.fail({ message: `${this.bench.model.id} takes no input picture.` });
  }

  async run(request, signal) {
    const path = base("images") + request.route;
    const use = (file) => this.use(file);
    const pictures = new Pictures(request.body.prompt ?? "", this.bench.model.notice, use);
    this.bench.output.prepend(pictures.element);
    while (this.bench.output.children.length > KEPT) discard(this.bench.output.lastElementChild);
    try {
      if (request.stream) {
        for await (const event of events(path, { body: request.body, signal })) {
          pictures.show(event, event.index ?? 0, event.output_format);
          if (event.model) pictures.remark(event);
        }
      } else {
        const answer = await (await ask(path, { body: request.body, signal })).json();
        answer.data.forEach((one, index) => pictures.show(one, index, answer.output_format));
        pictures.remark(answer);
      }
    } finally {
      pictures.end();
    }
    return null;
  }
}

function discard(element) {
  for (const one of element.querySelectorAll("img, video")) URL.revokeObjectURL(one.src);
  element.remove();
}

function routeOf(tasks, inputs) {
  if (tasks.includes("img-upscale")) return "/images/upscale";
  if (tasks.includes("img-rmbg")) return "/images/background";
  return inputs.length ? "/images/edits" : "/images/generations";
}

// The pictures of one request. Each keeps its place from its first preview on.
class Pictures {
  constructor(prompt, notice, use) {
    Object.assign(this, { prompt, notice, use, figures: new Map() });
    this.remarks = el("div", {});
    this.element = el("div", { class: "pictures" }, this.remarks);
  }

  remark(answer) {
    this.remarks.replaceChildren(...[remarks(answer, this.notice)].filter(Boolean));
  }

  // Remove the previews whose pictures never came.
  end() {
    for (const figure of this.figures.values())
      if (figure.hasAttribute("data-partial")) discard(figure);
    if (!this.element.querySelector("figure")) this.element.remove();
  }

  show(data, index, format) {
    if (!this.figures.has(index)) {
      const figure = el("figure", {});
      this.figures.set(index, figure);
      this.remarks.before(figure);
    }
    const partial = data.type?.endsWith("partial_image") ?? false;
    const figure = this.figures.get(index);
    const before = figure.querySelector("img, video");
    if (before) URL.revokeObjectURL(before.src);
    figure.toggleAttribute("data-partial", partial);
    figure.replaceChildren(...this.content(data, partial, format));
  }

  content(data, partial, format) {
    if (data.url)
      return [el("a", { href: data.url, rel: "noreferrer", target: "_blank" }, "Open the result")];
    if (!data.b64_json) return [el("p", {}, "Withheld by the safety checker.")];
    const video = format === "mp4";
    const type = video ? "video/mp4" : `image/${format}`;
    const content = Uint8Array.from(atob(data.b64_json), (one) => one.charCodeAt(0));
    const blob = new Blob([content], { type });
    const src = URL.createObjectURL(blob);
    const shown = video
      ? el("video", { src, controls: true, loop: true })
      : el("img", { src, alt: partial ? "Preview" : this.prompt || "Result" });
    if (partial) return [shown, el("figcaption", {}, "Preview")];
    const size = data.width ? `${data.width}x${data.height}` : data.size;
    const facts = [size, data.seed === undefined ? null : `seed ${data.seed}`, bytes(blob.size)];
    const name = `${freshId(video ? "video" : "picture")}.${format}`;
    const use = button("Use as input", () => this.use(new File([blob], name, { type })));
    return [
      shown,
      el(
        "figcaption",
        {},
        el("span", {}, facts.filter(Boolean).join(" · ")),
        button("Download", () => download(name, blob)),
        video ? null : use,
      ),
    ];
  }
}
