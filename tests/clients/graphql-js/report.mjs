// Gathers differences by their kind and prints a line for each: how many, and the first few as small as they get.
import { readFileSync, writeFileSync } from "node:fs";
import { shrunk } from "./shrink.mjs";

const KNOWN = JSON.parse(readFileSync(new URL("known.json", import.meta.url), "utf8")).map((entry) => ({ ...entry, pattern: new RegExp(entry.pattern) }));

/** Differences of one kind that are shown; the first of them is made smaller. */
const SHOWN = 2;
/** Kinds whose example is made smaller, and shown. */
const SHRUNK = 30;
const KINDS = 60;
/** Characters of a request that are shown; all of it is in the file of `--out`. */
const CHARACTERS = 700;

export class Report {
  constructor(mode, { seed, all = false, shrink = true }) {
    Object.assign(this, { mode, seed, shown: all ? Infinity : SHOWN, shrinks: shrink ? SHRUNK : 0 });
    this.kinds = new Map();
    this.asked = 0;
    this.agreed = 0;
    this.extra = {};
  }

  agree() {
    this.asked += 1;
    this.agreed += 1;
  }

  /** `again(request)` tells the kind of the difference of a smaller request, or null. */
  async differ({ kind, detail }, id, request, again) {
    this.asked += 1;
    const known = KNOWN.find((entry) => entry.pattern.test(`${this.mode}: ${kind}`));
    if (!this.kinds.has(kind)) this.kinds.set(kind, { kind, count: 0, known: known?.why, examples: [] });
    const entry = this.kinds.get(kind);
    entry.count += 1;
    if (known || entry.count > this.shown || (this.kinds.size > KINDS && this.shown === SHOWN)) return;
    let small = request;
    if (again && entry.count === 1 && this.shrinks > 0) {
      this.shrinks -= 1;
      small = await shrunk(request, async (smaller) => (await again(smaller)) === kind);
    }
    entry.examples.push({ id, detail, ...small });
    console.log(`${this.mode} ${this.seed}:${id} ${kind}${detail && !kind.includes(detail) ? ` [${String(detail).replaceAll(/\s+/g, " ").slice(0, 160)}]` : ""}\n    ${cut(told(small))}`);
  }

  /** Prints the summary and says whether there is nothing new. */
  finish(out) {
    const differences = [...this.kinds.values()].sort((a, b) => b.count - a.count);
    const fresh = differences.filter((difference) => difference.known === undefined);
    const summary = {
      mode: this.mode,
      seed: this.seed,
      asked: this.asked,
      agreed: this.agreed,
      ...this.extra,
      differences: differences.map(({ kind, count, known }) => ({ kind, count, ...(known && { known }) })),
    };
    if (differences.length > 0) console.log(`${this.mode}: ${this.asked - this.agreed} of ${this.asked} differ, in ${differences.length} ways`);
    for (const { kind, count, known } of differences.slice(0, KINDS)) console.log(`  ${String(count).padStart(6)} ${kind}${known ? ` (known: ${known})` : ""}`);
    if (out) writeFileSync(out, `${JSON.stringify({ ...summary, differences }, null, 2)}\n`);
    console.log(JSON.stringify(summary));
    return fresh.length === 0;
  }
}

const cut = (text) => (text.length > CHARACTERS ? `${text.slice(0, CHARACTERS)}…` : text);

/** A request on one line. */
export function told({ query, variables, operationName }) {
  return [JSON.stringify(query), variables && `variables ${variables}`, operationName !== undefined && `operationName ${JSON.stringify(operationName)}`].filter(Boolean).join(" ");
}

/** Works through 0..count, `width` at a time. */
export async function inParallel(count, width, work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
