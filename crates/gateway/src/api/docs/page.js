"use strict";

// Text from the document is never put in as markup: `element` makes nodes, `prose` knows `code`, **bold** and paragraphs.

const find = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function prose(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((piece) => {
    if (piece.startsWith("`")) return element("code", {}, piece.slice(1, -1));
    if (piece.startsWith("**")) return element("strong", {}, piece.slice(2, -2));
    return piece;
  });
}

const paragraphs = (text) => text.split("\n\n").map((piece) => element("p", {}, prose(piece)));

let api;

function resolve(thing) {
  if (!thing || !thing.$ref) return thing;
  const found = thing.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
  return { ...found, ...(thing.description && { description: thing.description }) };
}

function operations() {
  return Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
  );
}

// ---- Schemas ----

const nameOf = (schema) => (schema.$ref ? schema.$ref.split("/").pop() : "");

function kindOf(schema) {
  const name = nameOf(schema);
  const shape = resolve(schema);
  const several = shape.anyOf || shape.oneOf;
  if (several) return name || several.map(kindOf).join(" or ");
  if (shape.type === "array") return "list of " + kindOf(shape.items || {});
  const type = [shape.type || "anything"].flat().join(" or ");
  return name ? `${name} (${type})` : type;
}

function notes(shape) {
  const said = [];
  if (shape.const !== undefined) said.push(["is", shape.const]);
  const words = shape.enum || (shape.items && resolve(shape.items).enum);
  if (words) said.push(["one of", words.join(", ")]);
  if (shape.minimum !== undefined && shape.maximum !== undefined) said.push(["from", `${shape.minimum} to ${shape.maximum}`]);
  else if (shape.minimum !== undefined && shape.minimum !== 0) said.push(["at least", shape.minimum]);
  if (shape.minItems) said.push(["at least", `${shape.minItems} item`]);
  if (shape.default !== undefined) said.push(["default", JSON.stringify(shape.default)]);
  return said.map(([what, value]) => `, ${what} ${value}`).join("");
}

// What is inside of a schema: the properties of an object, of the items of a list, of each alternative. A request must have
// what is required; of an answer it is worth saying what may be absent.
function inside(schema, isRequest, above = []) {
  const name = nameOf(schema);
  if (name && above.includes(name)) return null;
  const shape = resolve(schema);
  const within = name ? [...above, name] : above;
  if (shape.type === "array" && shape.items) return inside(shape.items, isRequest, within);
  if (shape.additionalProperties && shape.additionalProperties.$ref) return inside(shape.additionalProperties, isRequest, within);
  const several = (shape.anyOf || shape.oneOf || []).map((one) => [one, inside(one, isRequest, within)]).filter(([, tree]) => tree);
  if (several.length === 1) return several[0][1];
  if (several.length) {
    return element("ul", { className: "schema" }, several.map(([one, tree]) =>
      element("li", {}, element("span", { className: "kind" }, resolve(one).title || kindOf(one)), tree)));
  }
  if (!shape.properties) return null;
  const required = shape.required || [];
  return element("ul", { className: "schema" }, Object.entries(shape.properties).map(([field, property]) => {
    const about = resolve(property);
    const tree = inside(property, isRequest, within);
    return element("li", {},
      element("span", { className: "field" }, field), " ",
      element("span", { className: "kind" }, kindOf(property) + notes(about)),
      isRequest && required.includes(field) && element("span", { className: "required" }, " required"),
      !isRequest && !required.includes(field) && element("span", { className: "faint" }, " may be absent"),
      about.description && element("div", {}, prose(about.description)),
      tree && element("details", {}, element("summary", { className: "faint" }, "what is in it"), tree));
  }));
}

function schemaView(schema, isRequest) {
  const shape = resolve(schema);
  const tree = inside(schema, isRequest);
  return [shape.description && element("div", {}, prose(shape.description)), tree];
}

// ---- Trying it out ----

// The text that an event of a stream adds, in any of the three dialects.
function said(event) {
  const choice = event.choices && event.choices[0];
  return event.content || (choice && choice.delta && choice.delta.content) || (event.delta && event.delta.text) || "";
}

function tryOut(route) {
  const parameters = (route.parameters || []).map(resolve);
  const inPath = parameters.filter((parameter) => parameter.in === "path");
  const inHeaders = parameters.filter((parameter) => parameter.in === "header");
  const content = route.requestBody && route.requestBody.content["application/json"];
  const inputs = new Map();
  const prefix = route.servers && element("select", { id: "prefix", onchange: show },
    route.servers.map((server) => element("option", { value: server.url === "/" ? "" : server.url }, server.url === "/" ? "/v1/…" : server.url + "/v1/…")));

  function field(parameter) {
    const id = "parameter-" + parameter.name;
    const words = parameter.schema.enum;
    const input = words
      ? element("select", { id, onchange: show }, ["", ...words].map((word) => element("option", { value: word }, word)))
      : element("input", { id, oninput: show, spellcheck: false, autocomplete: "off" });
    inputs.set(parameter, input);
    return [element("label", { htmlFor: id, title: parameter.description || "" }, parameter.name), input];
  }

  const body = content && element("textarea", {
    id: "body", spellcheck: false, oninput: show, rows: 10, value: JSON.stringify(content.example || {}, null, 2),
  });
  const curl = element("pre", { id: "curl" });
  const copy = element("button", { onclick: () => copyText(curl.textContent, copy) }, "Copy");
  const send = element("button", { className: "main", onclick: run }, "Send");
  const stop = element("button", { disabled: true, onclick: () => running && running.abort() }, "Stop");
  const stream = body && !route.path.endsWith("/stream") && element("button", { onclick: toggleStream }, "Stream on or off");
  const answer = element("div", { id: "answer", "aria-live": "polite" });
  let running = null;

  function request() {
    let path = (prefix ? prefix.value : "") + route.path;
    const headers = {};
    for (const [parameter, input] of inputs) {
      const value = input.value.trim();
      if (parameter.in === "path") {
        path = path.replace(`{${parameter.name}}`, value ? value.split("/").map(encodeURIComponent).join("/") : `{${parameter.name}}`);
      } else if (value) headers[parameter.name] = value;
    }
    if (body) headers["content-type"] = "application/json";
    return { url: location.origin + path, headers };
  }

  function show() {
    const { url, headers } = request();
    const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
    let line = `curl -sS ${route.method === "get" ? "" : `-X ${route.method.toUpperCase()} `}${quote(url)}`;
    for (const [name, value] of Object.entries(headers)) line += ` \\\n  -H ${quote(`${name}: ${value}`)}`;
    if (body) {
      let text = body.value;
      try { text = JSON.stringify(JSON.parse(text)); } catch { /* sent as it is */ }
      if (/"stream":true/.test(text) || route.path.endsWith("/stream")) line = line.replace("curl -sS", "curl -sSN");
      line += ` \\\n  -d ${quote(text)}`;
    }
    curl.textContent = line;
  }

  function toggleStream() {
    try {
      const value = JSON.parse(body.value);
      if (value.stream) delete value.stream; else value.stream = true;
      body.value = JSON.stringify(value, null, 2);
      show();
    } catch (error) {
      answer.replaceChildren(element("p", { className: "status bad" }, "The body is not JSON: " + error.message));
    }
  }

  async function run() {
    const { url, headers } = request();
    const began = performance.now();
    const status = element("div", { className: "status" }, "waiting …");
    const text = element("div", { className: "said", hidden: true });
    const raw = element("pre", { hidden: true });
    const sent = element("pre");
    answer.replaceChildren(status, text, raw);
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    const seconds = () => `${((performance.now() - began) / 1000).toFixed(2)} s`;
    try {
      const response = await fetch(url, {
        method: route.method.toUpperCase(), headers, body: body ? body.value : undefined, signal: running.signal, redirect: "error",
      });
      status.textContent = `${response.status} ${response.statusText}`;
      status.className = response.ok ? "status good" : "status bad";
      sent.textContent = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      answer.append(element("details", {}, element("summary", {}, "Headers"), sent));
      raw.hidden = false;
      const streamed = (response.headers.get("content-type") || "").startsWith("text/event-stream");
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let pending = "";
      for (;;) {
        const { done, value } = await reader.read();
        const piece = decoder.decode(value, { stream: !done });
        raw.append(piece);
        raw.scrollTop = raw.scrollHeight;
        if (streamed) {
          const lines = (pending + piece).split("\n");
          pending = lines.pop();
          for (const line of lines) {
            if (!line.startsWith("data: {")) continue;
            try { text.append(said(JSON.parse(line.slice(6)))); } catch { /* shown below as it came */ }
          }
          text.hidden = !text.textContent;
        }
        if (done) break;
      }
      if (!streamed) {
        try { raw.textContent = JSON.stringify(JSON.parse(raw.textContent), null, 2); } catch { /* no JSON */ }
        raw.scrollTop = 0;
      }
      status.textContent += `, ${seconds()}`;
    } catch (error) {
      status.className = "status bad";
      status.textContent = error.name === "AbortError" ? `stopped after ${seconds()}` : `no answer: ${error.message}`;
    } finally {
      send.disabled = false;
      stop.disabled = true;
      running = null;
    }
  }

  const parts = [
    prefix && [element("label", { htmlFor: "prefix" }, "Base path"), prefix],
    inPath.length > 0 && element("div", { className: "fields" }, inPath.map(field)),
    inHeaders.length > 0 && element("details", {}, element("summary", {}, "Request headers"), element("div", { className: "fields" }, inHeaders.map(field))),
    body && [element("label", { htmlFor: "body" }, "Body"), body],
    element("div", { className: "buttons" }, send, stop, stream),
    answer,
    element("h2", {}, "The same with curl"), curl, element("div", { className: "buttons" }, copy),
  ];
  show();
  return parts.flat();
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here: select the text";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// ---- The page ----

function overview() {
  return [
    element("h1", {}, api.info.summary),
    paragraphs(api.info.description),
    element("h2", {}, "Routes"),
    api.tags.map((tag) => element("p", {}, element("strong", {}, tag.name + ": "), prose(tag.description))),
  ];
}

function responseView([status, response]) {
  const media = Object.entries(response.content || {});
  const headers = Object.keys(response.headers || {});
  return element("details", { open: status === "200" },
    element("summary", {}, element("span", { className: "field" }, status), " ", prose(response.description)),
    media.map(([type, { schema, description }]) => [
      element("p", {}, element("span", { className: "kind" }, `${type}: ${kindOf(schema)}`)),
      description && element("p", {}, prose(description)),
      schemaView(schema, false)]),
    headers.length > 0 && element("details", {}, element("summary", { className: "faint" }, "Headers"),
      element("table", {}, headers.map((name) => element("tr", {}, element("td", {}, element("code", {}, name)),
        element("td", {}, prose(api.components.headers[name].description)))))));
}

function routeView(route) {
  const content = route.requestBody && route.requestBody.content["application/json"];
  return [
    element("h1", {}, route.summary),
    element("div", { className: "line" }, element("span", { className: "method " + route.method }, route.method.toUpperCase()), " ", route.path),
    route["x-not-built"] && element("p", { className: "notice" }, "Not built yet: the answer says so."),
    route.externalDocs && element("p", {}, element("a", { href: route.externalDocs.url, rel: "noreferrer" }, "Official documentation of this API")),
    element("h2", {}, "Try it"), tryOut(route),
    content && [element("h2", {}, "Request"), schemaView(content.schema, true)],
    element("h2", {}, "Responses"), Object.entries(route.responses).map(responseView),
  ];
}

function navigate() {
  const id = decodeURIComponent(location.hash.slice(1));
  const route = operations().find((operation) => operation.operationId === id);
  find("route").replaceChildren(...(route ? routeView(route) : overview()).flat(Infinity).filter(Boolean));
  for (const link of find("routes").querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = (route ? route.summary + " – " : "") + "llm-gateway";
  scrollTo(0, 0);
}

async function start() {
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (error) {
    find("route").textContent = "openapi.json cannot be read: " + error.message;
    return;
  }
  find("version").textContent = api.info.version;
  const all = operations();
  for (const tag of api.tags) {
    find("routes").append(element("h2", {}, tag.name), ...all.filter((route) => route.tags.includes(tag.name)).map((route) =>
      element("a", { href: "#" + route.operationId, title: route.summary, className: route["x-not-built"] ? "unbuilt" : "" },
        element("span", { className: "method " + route.method }, route.method.toUpperCase()),
        element("span", { className: "path" }, route.path))));
  }
  addEventListener("hashchange", navigate);
  navigate();
}

start();
