// Opens GraphiQL in headless Chromium, runs one query and prints what happened, as JSON:
//   { errors, outside, tabs, overflow, query, answer, shown }
// node graphiql.mjs '{"chromium": "/usr/bin/chromium", "url": "http://127.0.0.1:8080/graphiql", "tab": "BothVendors",
//                     "screenshot": "graphiql.png"}'
// Without "tab" it runs the query that is open, with "run": false none. "colorScheme", "width" and "height" are the
// browser's. Every request that leaves the machine is refused and listed.
import { launch } from "./browser.mjs";

const wish = JSON.parse(process.argv[2]);
const browser = await launch(wish.chromium, ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]);
try {
  const context = await browser.newContext({
    viewport: { width: wish.width ?? 1440, height: wish.height ?? 900 },
    colorScheme: wish.colorScheme ?? "light",
    serviceWorkers: "block",
  });
  const errors = [];
  const outside = [];
  await context.route("**/*", (route) => {
    const { hostname, protocol } = new URL(route.request().url());
    if (hostname === "127.0.0.1" || protocol === "data:" || protocol === "blob:") return route.continue();
    outside.push(route.request().url());
    return route.abort();
  });

  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => errors.push(String(error)));

  // GraphiQL asks for the schema first.
  const isIntrospection = (response) => response.request().method() === "POST" && !isQuery(response);
  const [introspection] = await Promise.all([page.waitForResponse(isIntrospection), page.goto(wish.url)]);
  await introspection.finished();
  await page.locator(".graphiql-query-editor .view-line").first().waitFor();
  const tabs = await page.locator(".graphiql-tab").allInnerTexts();
  if (wish.tab) await page.locator(".graphiql-tab", { hasText: wish.tab }).first().click();

  const ran = wish.run === false ? { query: "", answer: null, shown: "" } : await runQuery(page);
  if (wish.screenshot) await page.screenshot({ path: wish.screenshot });
  // How much of the page lies beyond the window's right edge, in pixels.
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  console.log(JSON.stringify({ errors, outside, tabs, overflow, ...ran }));
} finally {
  await browser.close();
}

function isQuery(response) {
  const request = response.request();
  return request.method() === "POST" && !request.postData().includes("IntrospectionQuery");
}

async function runQuery(page) {
  const [response] = await Promise.all([
    page.waitForResponse(isQuery),
    page.locator(".graphiql-execute-button").click(),
  ]);
  const answer = await response.json();
  const { query } = response.request().postDataJSON();
  const pane = page.locator(".graphiql-response .view-lines");
  await pane.filter({ hasText: /"(data|errors)"/ }).waitFor();
  // The editor writes spaces that do not break.
  const shown = (await pane.innerText()).replaceAll("\u00a0", " ");
  return { query, answer, shown };
}
