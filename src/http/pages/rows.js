// Shows what GET /rows lists: what is collected, a tab for each dataset, the lines to copy, its first rows and its columns.

const main = document.querySelector("#dataset");
const tabs = document.querySelector("#datasets");
const template = document.querySelector("#of-a-dataset");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function read(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `${answer.status} ${answer.statusText}`);
  return body;
}

function lines(dataset) {
  const formats = Object.entries(dataset.urls).map(([format, url]) => ({ name: format, line: url }));
  return [...formats, ...dataset.tools].flatMap(({ name, line }) => {
    const copy = element("button", "Copy", { type: "button", "aria-label": `Copy the line for ${name}` });
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(line);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    });
    const shown = element("dd", "", { class: "line" });
    shown.append(element("code", line));
    const button = element("dd", "");
    button.append(copy);
    return [element("dt", name), shown, button];
  });
}

function cell(value, type) {
  if (value === null) return element("td", "null", { class: "null" });
  return element("td", String(value), type === "int64" || type === "float64" ? { class: "number" } : {});
}

function preview({ columns, rows, weir }) {
  if (rows.length === 0) return element("p", "There are no rows in this range.");
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  head.append(...columns.map((name) => element("th", name)));
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...columns.map((name) => cell(row[name], weir.types[name])));
  return table;
}

/** `P1DT2H` as `1 day 2 hours`. */
function spoken(text) {
  const [days, times = ""] = text.slice(1).split("T");
  const units = { D: "day", H: "hour", M: "minute", S: "second" };
  const parts = (days + times).match(/[\d.]+[DHMS]/g) ?? [text];
  return parts.map((part) => `${part.slice(0, -1)} ${units[part.at(-1)]}${part.slice(0, -1) === "1" ? "" : "s"}`).join(" ");
}

function facts({ key, sources }) {
  const source = ({ operation, callsPerSecond, longestWindow, lookback, mayChangeFor }) =>
    [
      `${operation}: ${callsPerSecond} calls a second`,
      longestWindow && `windows of at most ${spoken(longestWindow)}`,
      lookback && `the last ${spoken(lookback)}`,
      `final ${spoken(mayChangeFor)} after its end`,
    ]
      .filter(Boolean)
      .join(", ");
  return [`A row is known by ${key.join(", ")}.`, ...sources.map(source)].join(" · ");
}

const instant = (text) => (text === null ? "" : text.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC"));

/** `P27DT6H55M40S` as `27d 6h55m40s`. */
const length = (text) => (text === null ? "" : text.slice(1).replace(/T/, " ").trim().toLowerCase());

function collected({ collections, archive }) {
  const place = document.querySelector("#collections");
  place.hidden = collections.length === 0;
  if (place.hidden) return;
  const sum = (part) => collections.map(part).reduce((sum, n) => sum + n, 0);
  const kept = (series) => series.final + series.provisional;
  const [windows, missing] = [sum((series) => series.windows), sum((series) => series.missing)];
  place.querySelector("summary").textContent = [
    `Collected into the archive: ${collections.length} series`,
    `${sum(kept)} of ${windows} windows`,
    missing > 0 && `${missing} missing`,
    archive.lost > 0 && `${archive.lost} lost on the way`,
  ]
    .filter(Boolean)
    .join(" · ");
  place.open = collections.length <= 10 || archive.failing !== null;
  const failing = place.querySelector(".failed");
  failing.hidden = archive.failing === null;
  failing.textContent = `Nothing can be written: ${archive.failing}`;
  place.querySelector("tbody").append(
    ...collections.map((series) => {
      const row = document.createElement("tr");
      const { dataset, account, custSpaceId, appId, granularity, dimension, window } = series;
      const name = [dataset, custSpaceId ?? appId ?? account, granularity ?? `${dimension} ${window}`].join(" · ");
      const provisional = series.provisional > 0 ? `, ${series.provisional} may change` : "";
      const next = series.problem ?? instant(series.nextRun);
      row.append(
        element("td", name),
        element("td", `${kept(series)} of ${series.windows}${provisional}`),
        element("td", String(series.missing), series.missing > 0 ? { class: "failed" } : {}),
        element("td", length(series.lateBy)),
        element("td", next, series.problem === null ? {} : { class: "failed" }),
      );
      return row;
    }),
  );
}

async function show(dataset) {
  for (const tab of tabs.children) {
    if (tab.textContent === dataset.name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  const page = template.content.cloneNode(true);
  page.querySelector("h2").textContent = dataset.name;
  page.querySelector(".description").textContent = dataset.description;
  page.querySelector(".facts").textContent = facts(dataset);
  page.querySelector(".lines").append(...lines(dataset));
  page.querySelector(".columns tbody").append(
    ...dataset.columns.map(({ name, type, unit, additive, nullable, description }) => {
      const row = document.createElement("tr");
      const addsUp = additive === null ? "" : additive ? "yes" : "no";
      row.append(...[name, nullable ? `${type}, or null` : type, unit ?? "", addsUp, description].map((text) => element("td", text)));
      return row;
    }),
  );
  page.querySelector(".parameters tbody").append(
    ...dataset.parameters.map((name) => {
      const row = document.createElement("tr");
      row.append(element("td", name), element("td", dataset.parameterMeanings[name]));
      return row;
    }),
  );
  const groups = dataset.name === "phone_number_totals" ? "&period=DAY&by=CHANNEL" : "";
  const path = `/rows/${dataset.name}.json?last=P7D${groups}&limit=10&priority=INTERACTIVE&max_wait=PT30S`;
  page.querySelector(".asked code").textContent = path;
  main.replaceChildren(page);
  const place = main.querySelector(".preview");
  try {
    place.replaceChildren(preview(await read(path)));
  } catch (error) {
    place.replaceChildren(element("p", error.message, { class: "failed" }));
  }
}

try {
  const { datasets, ...others } = await read("/rows");
  collected(others);
  const chosen = () => datasets.find(({ name }) => `#${name}` === location.hash) ?? datasets[0];
  tabs.append(...datasets.map(({ name }) => element("a", name, { href: `#${name}` })));
  addEventListener("hashchange", () => show(chosen()));
  await show(chosen());
} catch (error) {
  main.replaceChildren(element("p", `The list of datasets cannot be read: ${error.message}`, { class: "failed" }));
}
