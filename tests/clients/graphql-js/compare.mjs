// Compares a server with graphql-js. node compare.mjs MODE URL [--seed N] [--count N] [--only N] [--out FILE] [--all]
import { parseArgs } from "node:util";
import { data } from "./data.mjs";
import { learnFacts } from "./facts.mjs";
import { matrix } from "./matrix.mjs";
import { Report } from "./report.mjs";
import { rows } from "./rows.mjs";
import { Server } from "./server.mjs";
import { values } from "./values.mjs";
import { verdicts } from "./verdicts.mjs";

const MODES = {
  verdicts: [verdicts, 3_000],
  matrix: [matrix, Infinity],
  values: [values, Infinity],
  data: [data, 400],
  rows: [rows, Infinity],
};

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string" },
    only: { type: "string" },
    out: { type: "string" },
    all: { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
  },
});
const [mode, url] = positionals;
if (!MODES[mode] || !url) {
  console.error(`node compare.mjs ${Object.keys(MODES).join("|")} URL [--seed N] [--count N] [--only N] [--out FILE] [--all] [--no-shrink]`);
  process.exit(2);
}
const number = (text) => (text === undefined ? undefined : Number(text));

const [compare, usual] = MODES[mode];
const server = new Server(url);
const begun = Date.now();
const { schema, sdl } = await server.schema();
const facts = await learnFacts(server);
const { seed } = options;
const report = new Report(mode, { seed, all: options.all, shrink: !options["no-shrink"] });
if (sdl) await report.differ({ kind: "introspection and /schema.graphql differ", detail: sdl }, 0, { query: "" });
try {
  await compare({ server, schema, facts, report, seed, count: number(options.count) ?? usual, only: number(options.only) });
} catch (error) {
  await report.differ({ kind: "the comparison broke off", detail: error.stack }, 0, { query: "" });
}
report.extra = { ...report.extra, requests: server.asked, seconds: Math.round((Date.now() - begun) / 100) / 10 };
const isFine = report.finish(options.out);
server.close();
process.exit(isFine ? 0 : 1);
