// Random documents, most of them broken: does the server run what graphql-js would run, and nothing else?
import { EXPLAIN } from "./ask.mjs";
import { Generator } from "./generate.mjs";
import { differ, placed, read, verdict } from "./judge.mjs";
import { broken } from "./mutate.mjs";
import { Random } from "./random.mjs";
import { inParallel } from "./report.mjs";
import { oneNotation, tokens } from "./write.mjs";

/** The n-th request of a seed. */
export function nth(seed, n, schema, facts) {
  const rng = new Random(seed, n);
  const request = new Generator({ schema, facts, rng, fields: rng.pick([4, 10, 10, 30]) }).request();
  const oddness = rng.pick([0, 0, 0.03, 0.3]);
  const strings = oneNotation(rng);
  return broken(request, rng, { schema, oddness, strings, tokens });
}

export async function verdicts({ server, schema, facts, report, seed, count, only }) {
  const places = { same: 0, other: 0, none: 0 };
  const elsewhere = [];
  let runs = 0;
  const ask = async (request) => read(await server.post({ ...request, extensions: EXPLAIN }));
  await inParallel(only === undefined ? count : 1, 8, async (i) => {
    const n = only ?? i;
    const request = nth(seed, n, schema, facts);
    const expected = verdict(schema, request);
    const answer = await ask(request);
    runs += expected.runs ? 1 : 0;
    let difference = differ(expected, answer);
    // What has been asked twice is kept, and may take another way.
    if (!difference && n % 8 === 0) difference = differ(expected, await ask(request));
    if (difference) {
      const again = async (smaller) => differ(verdict(schema, smaller), await ask(smaller))?.kind;
      return report.differ(difference, n, request, again);
    }
    report.agree();
    const place = expected.runs ? null : placed(expected, answer, request);
    if (place) places[place] += 1;
    if (place === "other") elsewhere.push({ n, weir: answer.locations[0], message: answer.message, expected: expected.locations, says: expected.refused, query: request.query });
  });
  elsewhere.sort((a, b) => a.query.length - b.query.length);
  for (const { n, weir, message, expected, says, query } of elsewhere.slice(0, 3)) {
    const at = ({ line, column }) => `${line}:${column}`;
    console.log(`place ${seed}:${n} weir ${at(weir)} [${message.slice(0, 100)}] graphql-js ${expected.map(at).join(" ")} [${says.slice(0, 100)}]\n    ${JSON.stringify(query.slice(0, 400))}`);
  }
  report.extra = { runs, places };
}
