// The page's own server: a worker without a queue ("worker"), or a platform with queues
// ("platform"). Both have OpenAI's routes, at different addresses.

export const about = await fetch("playground/about.json")
  .then((answer) => answer.json())
  .catch((error) => {
    document.getElementById("server").textContent = "The server does not answer. Reload the page.";
    throw error;
  });
export const queues = about.kind === "platform";

export class ServerError extends Error {
  constructor(status, { message, code = null, param = null }) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

// The key is kept for this tab only, until it is closed.
export const key = {
  get value() {
    return sessionStorage.getItem("key") ?? "";
  },
  set value(given) {
    // Drop characters that a header cannot contain.
    sessionStorage.setItem("key", given.replace(/[^\x21-\x7e]/g, ""));
  },
};

// Where OpenAI's routes of a surface begin, relative to the page.
export const base = (surface) => (queues ? `v2/${surface}/openai/v1` : "v1");

// The same as an absolute URL.
export const address = (path) => new URL(path, document.baseURI).href;

// Send a request. Raises ServerError for an error answer or a broken connection.
export async function ask(path, { body, signal, method } = {}) {
  const headers = { Authorization: `Bearer ${key.value || "any"}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const content = body === undefined ? undefined : JSON.stringify(await encoded(body));
  if (content && content.length > about.limit_bytes) throw tooLarge(content.length);
  let response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers,
      body: content,
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, { message: "The server does not answer.", code: "no_connection" });
  }
  if (!response.ok) throw new ServerError(response.status, await told(response));
  return response;
}

// Checked before sending, since a queue refuses the request only after the upload.
function tooLarge(size) {
  const files = Math.floor((about.limit_bytes * 3) / 4 / 1e6);
  return new ServerError(0, {
    message:
      `The request is ${Math.round(size / 1e6)} MB; the limit is ` +
      `${Math.floor(about.limit_bytes / 1e6)} MB. Base64 adds a third, so files may have ` +
      `${files} MB in all. Use a URL instead.`,
    code: "request_too_large",
  });
}

export const askJson = async (path, options) => (await ask(path, options)).json();

// Yield the parsed events of a stream, each once. Raises ServerError for an error event.
export async function* events(path, options) {
  const response = await ask(path, options);
  let rest = "";
  let last = -1; // the number of the last event: one whose post was repeated may come twice
  for await (const piece of pieces(response.body)) {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block
        .split("\n")
        .filter((line) => line.startsWith("data: "))
        .map((line) => line.slice(6))
        .join("\n");
      const number = Number(/^id: (\d+)$/m.exec(block)?.[1] ?? NaN);
      if (number <= last) continue;
      if (!Number.isNaN(number)) last = number;
      if (!data || data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new ServerError(200, plain(event.error));
      yield event;
    }
  }
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Errors are OpenAI's error object, the same as a JSON string, or RunPod's plain text.
function plain(error) {
  if (typeof error !== "string") return error;
  try {
    const inner = JSON.parse(error);
    return inner?.message ? inner : { message: error };
  } catch {
    return { message: error };
  }
}

async function told(response) {
  const text = await response.text();
  try {
    return plain(JSON.parse(text).error ?? text);
  } catch {
    return { message: text || `The server answers with status ${response.status}.` };
  }
}

const listings = new Map();

// The models of a surface, with the default first.
export function models(surface) {
  if (!listings.has(surface)) {
    const listing = askJson(`${base(surface)}/models`).then((all) =>
      all.data.filter((one) => one.surface === surface),
    );
    listing.catch(() => listings.delete(surface));
    listings.set(surface, listing);
  }
  return listings.get(surface);
}

// A model with the fields that it honours.
export const model = (surface, id) =>
  askJson(`${base(surface)}/models/${id.split("/").map(encodeURIComponent).join("/")}`);

// A file in a request: sent as a data URI, shown by its name in the code view.
export class Attachment {
  // made: whether the page created it, so that it is not on disk
  constructor(file, made = false) {
    this.file = file;
    this.made = made;
    this.name = file.name || "file";
    this.type = (file.type || "application/octet-stream").split(";")[0];
  }

  async uri() {
    const reader = new FileReader();
    await new Promise((resolve, reject) => {
      reader.onload = resolve;
      reader.onerror = () =>
        reject(new ServerError(0, { message: `${this.name} could not be read.`, code: "file" }));
      reader.readAsDataURL(this.file);
    });
    return `data:${this.type};base64,${reader.result.slice(reader.result.indexOf(",") + 1)}`;
  }
}

async function encoded(value) {
  if (value instanceof Attachment) return value.uri();
  if (Array.isArray(value)) return Promise.all(value.map(encoded));
  if (value === null || typeof value !== "object") return value;
  const pairs = Object.entries(value).map(async ([name, one]) => [name, await encoded(one)]);
  return Object.fromEntries(await Promise.all(pairs));
}
