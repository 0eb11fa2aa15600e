// A drop zone: files that are chosen, dropped or reused from elsewhere on the page.

import { bytes, button, download, el, freshId } from "./dom.js";
import { Attachment } from "./server.js";

// label    the zone's label
// accept   the accept attribute of the input
// most     the largest number of files
// changed  called when the files change
export class DropZone {
  constructor({ label, accept, most = 1, changed }) {
    Object.assign(this, { most, changed, files: [] });
    const id = freshId("file");
    this.input = el("input", {
      type: "file",
      id,
      accept,
      multiple: most > 1,
      change: () => this.take(this.input.files),
    });
    this.list = el("ul", { class: "files" });
    this.element = el(
      "div",
      {
        class: "drop field",
        dragover: (event) => this.hover(event, true),
        dragleave: (event) => this.hover(event, false),
        drop: (event) => this.dropped(event),
      },
      el("label", { for: id }, label),
      this.input,
      this.list,
    );
  }

  hover(event, over) {
    event.preventDefault();
    this.element.classList.toggle("over", over);
  }

  dropped(event) {
    this.hover(event, false);
    if (event.dataTransfer.files.length) this.take(event.dataTransfer.files);
  }

  // Take what is dropped on another element, or pasted into it, too.
  watch(node) {
    node.addEventListener("dragover", (event) => this.hover(event, !this.element.hidden));
    node.addEventListener("dragleave", (event) => this.hover(event, false));
    node.addEventListener("drop", (event) => this.element.hidden || this.dropped(event));
    node.addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      if (!files.length || this.element.hidden) return;
      event.preventDefault();
      this.take(files);
    });
  }

  take(files) {
    this.add([...files].map((one) => new Attachment(one)));
  }

  // Set the largest number of files; the latest files stay.
  limit(most) {
    this.most = most;
    this.input.multiple = most > 1;
    if (this.files.length > most) this.set(this.files.slice(-most));
  }

  add(files) {
    this.set([...(this.most > 1 ? this.files : []), ...files].slice(-this.most));
  }

  set(files) {
    this.files = files;
    this.input.value = "";
    for (const picture of this.list.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
    this.list.replaceChildren(...files.map((one) => this.item(one)));
    this.changed();
  }

  item(one) {
    const picture = one.type.startsWith("image/")
      ? el("img", { src: URL.createObjectURL(one.file), alt: "", height: 48 })
      : null;
    const remove = button("Remove", () => this.set(this.files.filter((other) => other !== one)), {
      "aria-label": `Remove ${one.name}`,
    });
    const save = one.made ? button("Save", () => download(one.name, one.file)) : null;
    const name = el("span", {}, `${one.name}, ${bytes(one.file.size)}`);
    return el("li", {}, picture, name, save, remove);
  }
}
