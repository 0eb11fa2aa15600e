// Embeddings: similarity of texts, and reranking by a query.

import { el, labelled } from "./dom.js";
import { FieldError, lines } from "./fields.js";
import { askJson, base } from "./server.js";
import { remarks, Workbench } from "./workbench.js";

const TEXTS =
  "A fox is a small canid.\nFoxes are related to dogs.\nInterest rates rose in spring.\nThe bank raised its rates.";

export class Embeddings {
  constructor() {
    this.similarity = similarity();
    this.ranking = ranking();
    this.element = el("div", {}, this.similarity.element, this.ranking.element);
  }

  async open() {
    await this.similarity.open();
    await this.ranking.open();
  }
}

function area(value, rows) {
  const node = el("textarea", { rows });
  node.value = value;
  return node;
}

function similarity() {
  const texts = area(TEXTS, 6);
  const bench = new Workbench({
    surface: "embeddings",
    heading: "Similarity",
    suits: (one) => one.tasks.includes("txt2embedding"),
    specs: [
      ["input_type", "Input type"],
      "more",
      ["dimensions", "Dimensions"],
      ["truncate", "Truncate long inputs"],
    ],
    extra: [labelled("Texts", texts, "One per line.")],
    request: (values) => ({
      route: "/embeddings",
      body: {
        model: bench.picker.value,
        input: lines(texts.value),
        ...values,
        encoding_format: "float",
      },
    }),
    run: async ({ route, body }, signal) => {
      bench.output.replaceChildren();
      if (!body.input.length) throw new FieldError(texts, "Enter at least one text.");
      const answer = await askJson(base("embeddings") + route, { body, signal });
      const vectors = answer.data.map((one) => one.embedding);
      bench.output.replaceChildren(
        matrix(body.input, vectors),
        remarks(answer, bench.model.notice) ?? "",
      );
      return `${vectors[0].length} dimensions · ${answer.usage.prompt_tokens} tokens`;
    },
    send: "Compare",
  });
  return bench;
}

// Cosine similarities of unit vectors as a table; a higher similarity has a stronger colour.
function matrix(texts, vectors) {
  const dot = (a, b) => a.reduce((sum, one, index) => sum + one * b[index], 0);
  const cell = (value) => {
    const node = el("td", {}, value.toFixed(2));
    node.style.setProperty("--strength", `${Math.round(Math.max(0, value) * 60)}%`);
    return node;
  };
  const numbers = texts.map((text, index) =>
    el("th", { scope: "col", title: text }, String(index + 1)),
  );
  const rows = texts.map((text, row) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", title: text }, `${row + 1}. ${text}`),
      ...vectors.map((other) => cell(dot(vectors[row], other))),
    ),
  );
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cosine similarities" },
    el(
      "table",
      { class: "matrix" },
      el("caption", {}, "Cosine similarity of each pair of texts"),
      el("thead", {}, el("tr", {}, el("td", {}), ...numbers)),
      el("tbody", {}, ...rows),
    ),
  );
}

function ranking() {
  const query = el("input", { type: "text", value: "What is a fox?", autocomplete: "off" });
  const documents = area(TEXTS, 6);
  const bench = new Workbench({
    surface: "embeddings",
    heading: "Rank",
    suits: (one) => one.tasks.includes("rerank"),
    specs: [["top_n", "Top n"]],
    known: { top_n: { type: "integer", minimum: 1 } },
    extra: [labelled("Query", query), labelled("Documents", documents, "One per line.")],
    request: (values) => ({
      route: "/rerank",
      body: {
        model: bench.picker.value,
        query: query.value,
        documents: lines(documents.value),
        ...values,
      },
    }),
    run: async ({ route, body }, signal) => {
      bench.output.replaceChildren();
      const answer = await askJson(base("embeddings") + route, { body, signal });
      const ranked = answer.results.map(({ index, relevance_score: score }) =>
        el(
          "li",
          {},
          el("meter", { min: 0, max: 1, value: score, "aria-label": "Relevance" }),
          el("span", { class: "score" }, score.toFixed(3)),
          el("span", {}, body.documents[index]),
        ),
      );
      bench.output.replaceChildren(
        el("ol", { class: "ranked" }, ...ranked),
        remarks(answer, bench.model.notice) ?? "",
      );
      return null;
    },
    send: "Rank",
  });
  return bench;
}
