// The page: a tab for each surface of the server, one for jobs if it queues, one for the machine.
// A tab is created, and sends its first requests, when it is first opened.

import { Chat } from "./chat.js";
import { el } from "./dom.js";
import { Documents } from "./documents.js";
import { Embeddings } from "./embeddings.js";
import { ImagesTab } from "./images.js";
import { Jobs } from "./jobs.js";
import { Machine } from "./machine.js";
import { Music } from "./music.js";
import { about, key, queues } from "./server.js";
import { Speech } from "./speech.js";
import { Transcribe } from "./transcribe.js";

const SURFACES = [
  ["chat", "Chat", Chat],
  ["images", "Images", ImagesTab],
  ["transcribe", "Transcribe", Transcribe],
  ["speech", "Speech", Speech],
  ["music", "Music", Music],
  ["embeddings", "Embeddings", Embeddings],
  ["documents", "Documents", Documents, "chat"],
].filter(([name, , , surface = name]) => about.surfaces.includes(surface));
const TABS = [
  ...SURFACES,
  ...(queues ? [["jobs", "Jobs", Jobs]] : []),
  ["machine", "Machine", Machine],
];

class Tab {
  constructor([name, title, Content]) {
    Object.assign(this, { name, Content });
    this.panel = el("div", {
      role: "tabpanel",
      id: `panel-${name}`,
      "aria-labelledby": `tab-${name}`,
      hidden: true,
    });
    this.button = el(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-controls": `panel-${name}`,
        "aria-selected": "false",
        tabindex: -1,
        click: () => {
          location.hash = name;
        },
      },
      title,
    );
  }

  show(open) {
    this.button.setAttribute("aria-selected", String(open));
    this.button.tabIndex = open ? 0 : -1;
    this.panel.hidden = !open;
    if (open) {
      if (!this.content) {
        this.content = new this.Content();
        this.panel.append(this.content.element);
      }
      this.content.open();
    } else this.content?.close?.();
  }
}

const tabs = TABS.map((one) => new Tab(one));
const list = document.getElementById("tabs");
list.append(...tabs.map((tab) => tab.button));
document.getElementById("content").append(...tabs.map((tab) => tab.panel));

let shown = null;
function show() {
  const asked = tabs.find((tab) => tab.name === location.hash.slice(1));
  if (!asked && shown) return; // an anchor within the page, such as #content
  const named = (shown = asked ?? tabs[0]);
  for (const tab of tabs) tab.show(tab === named);
  document.title = `${named.button.textContent} · Quartet`;
}

// Arrow keys move between tabs. https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
list.addEventListener("keydown", (event) => {
  const at = tabs.findIndex((tab) => tab.button === document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  const next = tabs[(to + tabs.length) % tabs.length];
  next.button.focus();
  location.hash = next.name;
});

addEventListener("hashchange", show);
// A file dropped outside a drop zone does not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
document.getElementById("server").textContent = queues
  ? "Local platform: RunPod's queue and the gateway"
  : "One worker, without a queue";
if (about.key) {
  const [form, field] = [document.getElementById("key"), document.getElementById("key-field")];
  form.hidden = false;
  field.value = key.value;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    key.value = field.value.trim();
    location.reload();
  });
}
show();
