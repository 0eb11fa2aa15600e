// A request as code for curl, the openai package and the runpod package. The code runs as shown: it
// reads files by name, and the key from the environment.

import { announce, button, el, quoted } from "./dom.js";
import { about, address, Attachment, base, queues } from "./server.js";

// The openai package's named arguments; other fields go into extra_body.
const NATIVE = {
  "/chat/completions": {
    call: "chat.completions.create",
    fields:
      "messages model frequency_penalty logit_bias logprobs max_tokens n parallel_tool_calls " +
      "presence_penalty response_format seed stop stream stream_options temperature tool_choice " +
      "tools top_logprobs top_p",
    print: (stream) =>
      stream
        ? [
            "for event in answer:",
            "    for choice in event.choices:",
            '        print(choice.delta.content or "", end="", flush=True)',
          ]
        : ["print(answer.choices[0].message.content)"],
  },
  "/images/generations": {
    call: "images.generate",
    fields:
      "prompt background model n output_compression output_format partial_images " +
      "response_format size stream",
    print: (stream) =>
      stream
        ? ["for event in answer:", '    print(event.type, len(event.b64_json or ""))']
        : ["for picture in answer.data:", '    print(picture.url or len(picture.b64_json or ""))'],
  },
  "/embeddings": {
    call: "embeddings.create",
    fields: "input model dimensions encoding_format",
    print: () => ["for one in answer.data:", "    print(one.index, one.embedding[:4])"],
  },
};

export class CodeView {
  constructor(surface) {
    this.surface = surface;
    this.ways = queues ? ["curl", "openai", "runpod"] : ["curl", "openai"];
    this.way = "curl";
    this.text = el("pre", { tabindex: 0, "aria-label": "The request as code" });
    this.choices = this.ways.map((way) =>
      button(way, () => this.choose(way), { "aria-pressed": String(way === this.way) }),
    );
    this.copyButton = button("Copy", () => this.copy(), { class: "copy" });
    this.element = el(
      "details",
      { class: "code" },
      el("summary", {}, "This request as code"),
      el("div", { class: "row" }, ...this.choices, this.copyButton),
      this.text,
    );
  }

  choose(way) {
    this.way = way;
    for (const one of this.choices)
      one.setAttribute("aria-pressed", String(one.textContent === way));
    this.render();
  }

  show(request) {
    this.request = request;
    this.copyButton.disabled = false;
    this.render();
  }

  // Show why there is no request yet.
  lacks(what) {
    this.request = null;
    this.copyButton.disabled = true;
    this.text.textContent = what;
  }

  render() {
    if (this.request) this.text.textContent = codeOf(this.way, this.surface, this.request);
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.text.textContent);
    } catch {
      // Without TLS, a page from another machine has no clipboard: select the text to copy by hand.
      getSelection().selectAllChildren(this.text);
      announce("Selected");
      return;
    }
    announce("Copied");
    this.copyButton.textContent = "Copied";
    setTimeout(() => (this.copyButton.textContent = "Copy"), 1500);
  }
}

export function codeOf(way, surface, request) {
  if (way === "curl") return curl(surface, request);
  return way === "openai" ? openai(surface, request) : runpod(surface, request);
}

// curl ----------------------------------------------------------------------------------------

function curl(surface, { route, body, stream }) {
  const key = about.key ? '"Authorization: Bearer $LOCAL_API_KEY"' : "'Authorization: Bearer any'";
  const files = [];
  const marked = JSON.stringify(
    body,
    (_, value) => {
      if (!(value instanceof Attachment)) return value;
      files.push(value);
      return `\u0000${files.length - 1}\u0000`;
    },
    2,
  );
  const head = [
    `curl -s${stream ? "N" : ""} ${quoted(address(base(surface) + route))} \\`,
    `    -H ${key} -H 'Content-Type: application/json' \\`,
  ];
  if (!files.length) return [...head, "    -d @- <<'JSON'", marked, "JSON"].join("\n");
  // The shell puts each file in; all else that it would read in the text is held from it.
  const held = marked
    .replace(/\\u0000(\d+)\\u0000/g, "\u0000$1\u0000")
    .replace(/[\\$`]/g, "\\$&")
    .replace(/\u0000(\d+)\u0000/g, (_, index) => {
      const { name, type } = files[Number(index)];
      return `data:${type};base64,$(base64 < ${quoted(name)} | tr -d '\\n')`;
    });
  return [...head, "    -d @- <<JSON", held, "JSON"].join("\n");
}

// Python --------------------------------------------------------------------------------------

// A value as Python writes it; files by the names of the variables that hold them.
function python(value, indent, files) {
  if (value instanceof Attachment) {
    files.push(value);
    return `file_${files.length}`;
  }
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((one) => python(one, inner, files))
    : Object.entries(value).map(
        ([name, one]) => `${JSON.stringify(name)}: ${python(one, inner, files)}`,
      );
  if (!parts.length) return open + close;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${indent}${close}`;
}

function preamble(files, modules) {
  const needed = [...modules];
  if (files.length) needed.push("base64", "pathlib");
  if (about.key) needed.push("os");
  const standard = needed.filter((one) => !["openai", "runpod"].includes(one)).sort();
  const library = needed.filter((one) => ["openai", "runpod"].includes(one));
  const read = files.map(({ name, type }, index) => {
    const content = `pathlib.Path(${JSON.stringify(name)}).read_bytes()`;
    const head = JSON.stringify(`data:${type};base64,`);
    return `file_${index + 1} = ${head} + base64.b64encode(${content}).decode()`;
  });
  return [
    ...standard.map((one) => `import ${one}`),
    ...(standard.length ? [""] : []),
    ...library.map((one) => `import ${one}`),
    "",
    ...(read.length ? [...read, ""] : []),
  ];
}

const pythonKey = () => (about.key ? 'os.environ["LOCAL_API_KEY"]' : '"any"');

function openai(surface, { route, body, stream }) {
  const files = [];
  const known = NATIVE[route];
  const call = known ? named(known, body, files) : posted(route, body, stream, files);
  return [
    ...preamble(files, ["openai"]),
    `client = openai.OpenAI(base_url=${JSON.stringify(address(base(surface)))}, ` +
      `api_key=${pythonKey()})`,
    ...call,
    ...(known
      ? known.print(stream)
      : stream
        ? ["for event in answer:", "    print(event)"]
        : ["print(answer)"]),
  ].join("\n");
}

function named({ call, fields }, body, files) {
  const native = new Set(fields.split(" "));
  const entries = Object.entries(body);
  const extra = Object.fromEntries(entries.filter(([name]) => !native.has(name)));
  const lines = entries
    .filter(([name]) => native.has(name))
    .map(([name, value]) => `    ${name}=${python(value, "    ", files)},`);
  if (Object.keys(extra).length) lines.push(`    extra_body=${python(extra, "    ", files)},`);
  return [`answer = client.${call}(`, ...lines, ")"];
}

// For routes that the package has no method for, or whose method sends a form, which no queue takes.
function posted(route, body, stream, files) {
  return [
    "answer = client.post(",
    `    ${JSON.stringify(route)},`,
    `    body=${python(body, "    ", files)},`,
    "    cast_to=object,",
    ...(stream ? ["    stream=True,", "    stream_cls=openai.Stream[object],"] : []),
    ")",
  ];
}

function runpod(surface, { body, stream }) {
  const files = [];
  const input = python({ input: body }, "", files);
  const run = stream
    ? [`job = endpoint.run(${input})`, "for event in job.stream():", "    print(event)"]
    : [`print(endpoint.run_sync(${input}, timeout=600))`];
  return [
    ...preamble(files, ["runpod"]),
    `runpod.endpoint_url_base = ${JSON.stringify(address("v2"))}`,
    `endpoint = runpod.Endpoint(${JSON.stringify(surface)}, api_key=${pythonKey()})`,
    ...run,
  ].join("\n");
}
