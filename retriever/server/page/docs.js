// The API as its own OpenAPI description tells it.

import { get } from "./api.js";
import { find, make } from "./dom.js";

const known = await get("openapi.json");

function resolved(schema) {
  const name = schema?.$ref?.split("/").at(-1);
  return name ? known.components.schemas[name] : schema ?? {};
}

function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  return schema.contentMediaType ? `${schema.type} (${schema.contentMediaType})` : schema.type ?? "any";
}

function table(title, rows) {
  if (!rows.length) return [];
  const lines = rows.map(([name, type, text]) => make("tr", {},
    make("th", { scope: "row" }, name), make("td", {}, type), make("td", {}, text ?? "")));
  return [make("h3", {}, title), make("table", {}, make("tbody", {}, ...lines))];
}

function fields(schema) {
  return Object.entries(resolved(schema).properties ?? {}).map(([name, field]) => [
    name, kind(field), field.description ?? field.anyOf?.find((one) => one.description)?.description]);
}

function route(path, method, told) {
  const body = told.requestBody?.content ?? {};
  const answer = told.responses["200"]?.content?.["application/json"]?.schema;
  return make("section", { class: "panel" },
    make("h2", {}, `${method.toUpperCase()} ${path}`),
    make("p", {}, told.description ?? ""),
    ...table("Parameters", (told.parameters ?? []).map((one) => [one.name, kind(one.schema)])),
    ...Object.entries(body).flatMap(([type, one]) => table(type, fields(one.schema))),
    ...table("Answer", answer ? fields(answer) : []));
}

const routes = Object.entries(known.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, told]) => route(path, method, told)));
const forms = Object.entries(known.components.schemas).filter(([, one]) => one.properties)
  .map(([name, one]) => make("section", { class: "panel" }, make("h2", {}, name),
    make("p", {}, one.description ?? ""), ...table("Fields", fields(one))));
const others = Object.entries(known.paths["/v1/index"].get.responses)
  .filter(([code]) => code >= "400").map(([code, one]) => [code, "ErrorForm", one.description]);
find("routes").append(...routes, make("section", { class: "panel" }, ...table("Other answers", others)),
  ...forms);
