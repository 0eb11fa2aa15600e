// The server's openapi.json as a page: each route with its fields, an example and its responses.

import { el, quoted } from "./dom.js";

const PREFIX = "#/components/";

// The schema that a reference points to, and its name.
function resolved(api, schema) {
  if (!schema.$ref) return { schema, name: null };
  const path = schema.$ref.slice(PREFIX.length).split("/");
  return { schema: path.reduce((node, key) => node[key], api.components), name: path.at(-1) };
}

// Text with `code` in backticks.
function prose(text, tag = "p") {
  const parts = text.split("`");
  return el(tag, {}, ...parts.map((part, at) => (at % 2 ? el("code", {}, part) : part)));
}

const LIMITS = [
  ["minimum", "≥ "],
  ["exclusiveMinimum", "> "],
  ["maximum", "≤ "],
  ["exclusiveMaximum", "< "],
  ["minLength", "characters ≥ "],
  ["maxLength", "characters ≤ "],
  ["minItems", "items ≥ "],
  ["maxItems", "items ≤ "],
  ["maxProperties", "keys ≤ "],
];

function limits(schema) {
  const told = LIMITS.filter(([key]) => schema[key] > (key.startsWith("min") && key !== "minimum" ? 1 : -Infinity));
  return told.map(([key, words]) => words + schema[key].toLocaleString("en")).join(", ");
}

// A schema's type on one line, as nodes; named schemas are links.
function type(api, schema) {
  if (schema.$ref) {
    const { name } = resolved(api, schema);
    return [el("a", { href: `#${name}` }, name)];
  }
  const branches = (schema.anyOf || schema.oneOf)?.filter((one) => one.type !== "null");
  if (branches) return branches.flatMap((one, at) => [...(at ? [" or "] : []), ...type(api, one)]);
  if (schema.const !== undefined) return [el("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return [schema.enum.map((one) => `${one}`).join(", ")];
  if (schema.type === "array") {
    const bounds = limits(schema);
    return ["list of ", ...type(api, schema.items || {}), bounds ? ` (${bounds})` : ""];
  }
  const kind = schema.format === "binary" ? "file" : schema.type || "any";
  const bounds = limits(schema);
  return [bounds ? `${kind}, ${bounds}` : kind];
}

function fields(api, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, field]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, required.has(name) ? `${name} *` : name),
      el("td", {}, ...type(api, field)),
      el("td", {}, field.default === undefined ? "" : JSON.stringify(field.default)),
      el("td", {}, field.description ? prose(field.description, "span") : ""),
    ),
  );
  const head = ["field (* required)", "type", "default", "description"];
  const cells = head.map((text) => el("th", { scope: "col" }, text));
  const table = el("table", { class: "fields" }, el("thead", {}, el("tr", {}, ...cells)), el("tbody", {}, ...rows));
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Fields" }, table);
}

function details(summary, ...children) {
  return el("details", {}, el("summary", {}, summary), ...children);
}

function curl(method, path, example) {
  const url = quoted(`${location.origin}${path}`);
  if (method === "get") return `curl ${url}`;
  return `curl ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(example))}`;
}

function body(api, request) {
  return Object.entries(request?.content || {}).map(([kind, { schema }]) => {
    const found = resolved(api, schema);
    return details(`${kind}: ${found.name}`, fields(api, found.schema));
  });
}

function answers(api, responses) {
  const rows = Object.entries(responses).map(([status, response]) => {
    const { schema } = resolved(api, response);
    const kinds = Object.entries(schema.content || {}).flatMap(([kind, one], at) => [
      at ? "; " : "",
      `${kind} `,
      ...(one.schema?.description ? [`(${one.schema.description})`] : type(api, one.schema || {})),
    ]);
    const told = schema.description === "The answer." ? "" : schema.description;
    return el("tr", {}, el("th", { scope: "row" }, status), el("td", {}, prose(told, "span")), el("td", {}, ...kinds));
  });
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Answers" },
    el("table", { class: "fields" }, el("tbody", {}, ...rows)));
}

function route(api, path, method, operation) {
  const example = operation.requestBody?.content["application/json"]?.example;
  return el(
    "section",
    { class: "route", id: operation.operationId, "aria-label": operation.operationId },
    el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), ` ${path}`),
    prose(operation.summary),
    ...(operation.description || "").split("\n\n").filter(Boolean).map((text) => prose(text)),
    ...body(api, operation.requestBody),
    method === "get" || example ? el("pre", { tabindex: "0" }, curl(method, path, example)) : null,
    details("Answers", answers(api, operation.responses)),
  );
}

function shape(api, name, schema) {
  return el(
    "section",
    { class: "route", id: name, "aria-label": name },
    el("h3", {}, name),
    schema.description ? prose(schema.description.replaceAll("\n", " ")) : null,
    schema.properties ? fields(api, schema) : null,
  );
}

function show(api) {
  const main = document.getElementById("content");
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  document.getElementById("server").append(
    `${api.info.version}, as `,
    el("a", { href: "openapi.json" }, "OpenAPI"),
  );
  const links = all.map(({ path, operation }) =>
    el("li", {}, el("a", { href: `#${operation.operationId}` }, path)),
  );
  document.getElementById("routes").append(el("ul", {}, ...links));
  main.append(prose(api.info.description), prose(`Authentication: ${api.components.securitySchemes.bearer.description}`));
  for (const { name } of api.tags) {
    const own = all.filter(({ operation }) => operation.tags.includes(name));
    if (!own.length) continue;
    main.append(el("h2", {}, name), ...own.map((one) => route(api, one.path, one.method, one.operation)));
  }
  main.append(el("h2", {}, "Schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) main.append(shape(api, name, schema));
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: ${response.status}`);
  show(await response.json());
} catch (error) {
  document.getElementById("content").append(el("p", { class: "trouble", role: "alert" }, `${error.message}`));
}
