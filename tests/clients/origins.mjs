// Opens a page in headless Chromium that tries every way a page has to ask the gateway, and prints what it could read, as
// JSON: each way with its text, or null where there was nothing to read.
// node origins.mjs '{"chromium": "/usr/bin/chromium", "page": "http://127.0.0.1:5173/", "gateway": "http://127.0.0.1:8080",
//                    "query": "{ channels { custSpaceId } }"}'
// With a "password", the browser remembers one for the gateway, as it does once somebody has looked at GraphiQL.
// With #sandbox the page asks from a sandboxed frame. A page of rebound.example, which means 127.0.0.1, asks itself.
import { launch } from "./browser.mjs";

const wish = JSON.parse(process.argv[2]);
const browser = await launch(wish.chromium, [
  "--no-proxy-server",
  "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]);
try {
  const context = await browser.newContext({
    serviceWorkers: "block",
    httpCredentials: wish.password && { username: "anybody", password: wish.password, send: "always" },
  });
  const page = await context.newPage();
  await page.goto(wish.page);
  const gateway = wish.page.includes("rebound.example") ? new URL(wish.page).origin : wish.gateway;
  let frame = page.mainFrame();
  if (wish.page.endsWith("#sandbox")) {
    await page.evaluate(() => {
      const inner = document.createElement("iframe");
      inner.sandbox = "allow-scripts allow-forms";
      inner.srcdoc = "<!doctype html><title>Sandbox</title>";
      document.body.append(inner);
    });
    frame = await (await page.waitForSelector("iframe")).contentFrame();
  }
  console.log(JSON.stringify(await frame.evaluate(tryAll, { url: `${gateway}/graphql`, query: wish.query })));
} finally {
  await browser.close();
}

// Runs in the page.
async function tryAll({ url, query }) {
  const byGet = `${url}?query=${encodeURIComponent(query)}`;
  const body = JSON.stringify({ query });
  const fetched = (target, how) =>
    fetch(target, how).then((response) => response.text().then((text) => text || null), () => null);
  // Resolves with what is readable of an element once the browser is done with it.
  const loaded = (name, source, fields = {}) =>
    new Promise((resolve) => {
      const element = Object.assign(document.createElement(name), fields);
      element.onload = () => {
        let text = null;
        try {
          text = element.contentDocument?.body?.textContent || null;
        } catch {
          // Another origin: not ours to look into.
        }
        if (element.naturalWidth) text = `a picture of ${element.naturalWidth} px`;
        resolve(text);
      };
      element.onerror = () => resolve(null);
      if (source) element.src = source;
      document.body.append(element);
    });
  const sentByForm = async (method, enctype) => {
    const name = `answer-${method}`;
    const answered = loaded("iframe", null, { name });
    await answered;
    const frame = document.getElementsByName(name)[0];
    const form = Object.assign(document.createElement("form"), { method, enctype, action: url, target: name });
    form.append(Object.assign(document.createElement("input"), { name: "query", value: query }));
    document.body.append(form);
    return new Promise((resolve) => {
      frame.onload = () => {
        let text = null;
        try {
          text = frame.contentDocument?.body?.textContent || null;
        } catch {
          // As above.
        }
        resolve(text);
      };
      form.submit();
    });
  };
  const heard = (target) =>
    new Promise((resolve) => {
      const socket = new WebSocket(target, "graphql-transport-ws");
      socket.onopen = () => socket.send(JSON.stringify({ type: "connection_init" }));
      socket.onmessage = (message) => resolve(message.data);
      socket.onerror = () => resolve(null);
    });
  const json = { "content-type": "application/json" };
  return {
    "fetch by GET": await fetched(byGet),
    "fetch by POST": await fetched(url, { method: "POST", headers: json, body }),
    "fetch with the password": await fetched(byGet, { credentials: "include" }),
    "blind fetch by GET": await fetched(byGet, { mode: "no-cors", credentials: "include" }),
    "blind fetch by POST": await fetched(url, { method: "POST", mode: "no-cors", credentials: "include", body }),
    image: await loaded("img", byGet),
    script: await loaded("script", byGet),
    frame: await loaded("iframe", byGet),
    socket: await heard(url.replace("http", "ws") + "/ws"),
    "form by GET": await sentByForm("get", ""),
    "form by POST": await sentByForm("post", "text/plain"),
  };
}
