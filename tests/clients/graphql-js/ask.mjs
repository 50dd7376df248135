// Asks a list of requests, and holds each verdict against graphql-js'.
import { differ, read, verdict } from "./judge.mjs";
import { inParallel } from "./report.mjs";

/** Nothing is called upstream for them. */
export const EXPLAIN = { weir: { explain: true } };

/** Asks the first `count` requests, or the `only`-th; how many of them may run. */
export async function askEach(requests, { server, schema, report, count, only }) {
  const difference = async (request, expected) => differ(expected, read(await server.post({ ...request, extensions: EXPLAIN })));
  let runs = 0;
  await inParallel(only === undefined ? Math.min(count, requests.length) : 1, 8, async (i) => {
    const n = only ?? i;
    const request = requests[n];
    const expected = verdict(schema, request);
    runs += expected.runs ? 1 : 0;
    const found = await difference(request, expected);
    if (!found) return report.agree();
    return report.differ(found, n, request, async (smaller) => (await difference(smaller, verdict(schema, smaller)))?.kind);
  });
  return runs;
}
