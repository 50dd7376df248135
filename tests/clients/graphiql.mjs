// Opens GraphiQL in headless Chromium, runs one query and prints what happened, as JSON:
//   { errors, outside, tabs, query, answer, shown }
// node graphiql.mjs '{"chromium": "/usr/bin/chromium", "url": "http://127.0.0.1:8080/graphiql", "tab": "BothVendors",
//                     "screenshot": "graphiql.png"}'
// Without "tab" it runs the query that is open. Every request that leaves the machine is refused and listed.
import { chromium } from "playwright-core";

const wish = JSON.parse(process.argv[2]);
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const browser = await chromium.launch({ executablePath: wish.chromium, headless: true, args: flags });
try {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
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

  // GraphiQL asks for the schema first; what it asks later is the query under test.
  const isQuery = (response) =>
    response.request().method() === "POST" && !response.request().postData().includes("IntrospectionQuery");
  const isIntrospection = (response) => response.request().method() === "POST" && !isQuery(response);

  const [introspection] = await Promise.all([page.waitForResponse(isIntrospection), page.goto(wish.url)]);
  await introspection.finished();
  await page.locator(".graphiql-query-editor .view-line").first().waitFor();
  const tabs = await page.locator(".graphiql-tab").allInnerTexts();
  if (wish.tab) await page.locator(".graphiql-tab", { hasText: wish.tab }).first().click();

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
  if (wish.screenshot) await page.screenshot({ path: wish.screenshot });
  console.log(JSON.stringify({ errors, outside, tabs, query, answer, shown }));
} finally {
  await browser.close();
}
