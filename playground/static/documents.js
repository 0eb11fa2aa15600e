// Documents: the text of a picture or a PDF, and where its lines stand on the page.

import { button, download, el, labelled, shape } from "./dom.js";
import { FieldError } from "./fields.js";
import { DropZone } from "./files.js";
import { askJson, base } from "./server.js";
import { remarks, Workbench } from "./workbench.js";

const SPECS = [
  ["pages", "Pages", "text", "Of a PDF: for example 1-3,7. All if left empty."],
  "more",
  ["prompt", "Prompt", "area", "For models that write: what to do with each page."],
  ["max_tokens", "Max tokens"],
  ["temperature", "Temperature"],
];
const TEXT = { type: "string" };

export class Documents {
  constructor() {
    const changed = () => {
      if (this.drop?.files.length) this.url.value = "";
      this.bench?.changed();
    };
    const accept = "image/*,application/pdf";
    this.drop = new DropZone({ label: "Picture or PDF", accept, changed });
    this.url = el("input", {
      type: "url",
      placeholder: "https://",
      autocomplete: "off",
      input: () => this.url.value && this.drop.files.length && this.drop.set([]),
    });
    this.bench = new Workbench({
      surface: "chat",
      heading: "Documents",
      suits: (one) => one.tasks.includes("img2txt"),
      specs: SPECS,
      known: { pages: TEXT, prompt: TEXT },
      extra: [this.drop.element, labelled("Or a URL", this.url)],
      request: (values) => this.request(values),
      run: (request, signal) => this.run(request, signal),
      send: "Read",
    });
    for (const one of [this.bench.output, this.url]) this.drop.watch(one);
    this.element = this.bench.element;
  }

  open() {
    return this.bench.open();
  }

  request(values) {
    const image = this.drop.files[0] ?? this.url.value.trim();
    if (!image) throw new FieldError(this.drop.input, "Choose a picture or a PDF, or enter a URL.");
    const body = { model: this.bench.picker.value, image, ...values };
    return { route: "/ocr", body, stream: false };
  }

  async run(request, signal) {
    const [file] = this.drop.files;
    for (const one of this.bench.output.querySelectorAll("[data-source]"))
      URL.revokeObjectURL(one.dataset.source);
    this.bench.output.replaceChildren();
    const answer = await askJson(base("chat") + request.route, { body: request.body, signal });
    const picture = file?.type.startsWith("image/") ? URL.createObjectURL(file.file) : null;
    this.show(answer, picture, file?.name.replace(/\.[^.]*$/, "") || "document");
    return `${answer.pages.length} ${answer.pages.length === 1 ? "page" : "pages"}`;
  }

  show(answer, picture, name) {
    const save = (ending, text, type) =>
      button(`Download ${ending}`, () => download(`${name}.${ending}`, new Blob([text], { type })));
    this.bench.output.replaceChildren(
      ...answer.pages.map((page) => section(page, picture, answer.pages.length > 1)),
      ...[remarks(answer, this.bench.model.notice)].filter(Boolean),
      el(
        "div",
        { class: "row" },
        save("txt", answer.choices[0].message.content, "text/plain"),
        save("json", JSON.stringify(answer, null, 2), "application/json"),
      ),
    );
  }
}

function section(page, picture, numbered) {
  return el(
    "section",
    { "aria-label": `Page ${page.page}`, "data-source": picture },
    numbered ? el("h3", {}, `Page ${page.page}`) : null,
    page.lines ? drawing(page, picture) : seen(picture),
    el("p", { class: "text transcript" }, page.text || "No text was found."),
  );
}

const seen = (picture) => picture && el("img", { src: picture, alt: "The page", class: "page" });

// The page with a box around each line. The pages of a PDF are not drawn here: their lines stand in
// their places on white.
function drawing(page, picture) {
  const { width, height } = page;
  const drawn = shape("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: "page",
    role: "img",
    "aria-label": `Page ${page.page}, ${page.lines.length} lines`,
    width,
    height,
  });
  drawn.append(picture ? upright(page, picture) : shape("rect", { width, height, class: "paper" }));
  for (const line of page.lines) {
    const sure = `${Math.round(line.confidence * 100)} %`;
    const box = shape("polygon", { points: line.box.map((one) => one.join(",")).join(" ") });
    box.append(shape("title", {}, `${line.text} (${sure})`));
    drawn.append(...(picture ? [] : [standing(line)]), box);
  }
  return drawn;
}

// The picture as it was turned to be read, counterclockwise.
function upright({ width, height, turned }, picture) {
  const lying = turned % 180 !== 0;
  const transform = {
    90: `translate(0 ${height}) rotate(-90)`,
    180: `translate(${width} ${height}) rotate(180)`,
    270: `translate(${width} 0) rotate(90)`,
  }[turned];
  return shape("image", {
    href: picture,
    width: lying ? height : width,
    height: lying ? width : height,
    ...(transform ? { transform } : {}),
  });
}

function standing({ text, box }) {
  const [[left, top], [right], , [, bottom]] = box;
  return shape(
    "text",
    {
      x: left,
      y: top + (bottom - top) * 0.8,
      "font-size": (bottom - top) * 0.8,
      textLength: Math.max(1, right - left),
      lengthAdjust: "spacingAndGlyphs",
    },
    text,
  );
}
