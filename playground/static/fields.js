// A form's controls, built from the fields that a model honours: ``parameters`` of
// GET /v1/models/{id}, as JSON Schema. A field that the model does not honour has no control. An
// empty field is not sent, so that the model's default applies.

import { checkbox, el, labelled, select } from "./dom.js";

// specs: [name, label, kind?, help?]; kind is "area" for longer texts, "lines" for a list of texts,
// one per line.
export class Fields {
  constructor(parameters, specs) {
    this.controls = new Map();
    this.nodes = [];
    for (const [name, label, kind, help] of specs) {
      const schema = parameters[name];
      if (schema === undefined) continue;
      const control = controlOf(schema, kind, label);
      control.kind = kind;
      control.schema = schema;
      this.controls.set(name, control);
      this.nodes.push(control.whole ?? labelled(label, control, help));
    }
  }

  // The values of the fields that are not empty. Raises FieldError for invalid JSON.
  values() {
    const values = {};
    for (const [name, control] of this.controls) {
      const value = read(control);
      if (value !== undefined) values[name] = value;
    }
    return values;
  }

  get(name) {
    return this.controls.get(name);
  }

  // Remember the fields' values by name, for the next model that has the same fields.
  note(memory) {
    for (const [name, control] of this.controls)
      memory.set(name, control.type === "checkbox" ? control.checked : control.value);
  }

  // Restore the remembered values.
  recall(memory) {
    for (const [name, control] of this.controls) {
      const noted = memory.get(name);
      if (typeof noted === "boolean" && control.type === "checkbox") control.checked = noted;
      else if (typeof noted === "string") {
        control.value = noted;
        if (control.value !== noted) control.value = ""; // not among this model's choices
      }
    }
  }
}

export class FieldError extends Error {
  constructor(control, message) {
    super(message);
    this.control = control;
  }
}

function controlOf(schema, kind, label) {
  const types = [schema.type].flat();
  if (schema.enum) {
    const usual =
      schema.default === undefined ? "model default" : `${schema.default} (default)`;
    return select([["", usual], ...schema.enum.map((one) => [one, one])]);
  }
  if (types[0] === "boolean") return checkbox(label, schema.default === true);
  if (kind === "area" || kind === "lines") return el("textarea", { rows: 3 });
  const usual = schema.default === undefined ? null : String(schema.default);
  if (types[0] !== "integer" && types[0] !== "number")
    return el("input", { type: "text", placeholder: usual, autocomplete: "off" });
  return el("input", {
    type: "number",
    step: types[0] === "integer" ? 1 : "any",
    min: schema.minimum,
    max: schema.maximum,
    placeholder: usual,
  });
}

function read(control) {
  if (control.type === "checkbox")
    return control.checked === (control.schema.default === true) ? undefined : control.checked;
  const text = control.value;
  if (!text.trim()) return undefined;
  if (control.type === "number") return Number(text);
  if (control.kind === "lines") return text.split("\n").filter((line) => line !== "");
  return text;
}

export const lines = (text) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

export function json(control) {
  control.removeAttribute("aria-invalid");
  try {
    return JSON.parse(control.value);
  } catch (error) {
    control.setAttribute("aria-invalid", "true");
    throw new FieldError(control, `Invalid JSON: ${error.message}`);
  }
}
