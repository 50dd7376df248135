// Valid documents, each asked in many ways: is the answer what graphql-js makes of the same data, to the last letter?
import { getLocation, parse, recommendedRules, validate } from "graphql";
import { nodesOf, Word } from "./ast.mjs";
import { Generator } from "./generate.mjs";
import { broken, kindOf, namesOf, read, RULES } from "./judge.mjs";
import { Random } from "./random.mjs";
import { inParallel } from "./report.mjs";
import { steady, Upstream } from "./upstream.mjs";
import { everyWay } from "./ways.mjs";
import { plain } from "./write.mjs";

/** Asks once for all that will be asked, so that what follows is answered from memory. */
async function warmUp(server, facts) {
  const days = (first, last) => facts.days(first, last);
  for (const channel of facts.channels) {
    const query = "query($id:ID!,$r:TimeRange!,$h:TimeRange!){channel(custSpaceId:$id){a:metrics(range:$r){start} b:metrics(granularity:HALF_HOUR,range:$h){start} phoneNumbers}}";
    const { channel: found } = await server.data(query, { id: channel, r: days(9, 2), h: days(7, 4) });
    for (const phone of found.phoneNumbers ?? []) if (!facts.phones.includes(phone)) facts.phones.push(phone);
  }
  for (const [dimension, range] of [["PROVINCE", days(5, 3)], ["COUNTRY", days(5, 4)]]) {
    await server.data("query($d:Dimension!,$r:TimeRange!){operationDistributions(dimension:$d,range:$r){start}}", { d: dimension, r: range });
  }
  for (const app of facts.apps) {
    await server.data("query($a:ID!,$r:TimeRange!){operationDistributionBounds(appId:$a,range:$r){start}}", { a: app, r: days(11, 2) });
  }
  for (const channel of facts.channels) {
    const args = { custSpaceId: channel, range: days(8, 5) };
    const query = "query($id:ID!,$r:TimeRange!){phoneNumberMetrics(custSpaceId:$id,range:$r){edges{cursor}}}";
    const { phoneNumberMetrics } = await server.data(query, { id: channel, r: args.range });
    const { edges } = phoneNumberMetrics;
    for (const at of [0, edges.length >> 1, edges.length - 1]) {
      if (edges[at]) facts.cursors.push({ cursor: edges[at].cursor, args: { ...args, granularity: new Word("DAILY") } });
    }
  }
}

/** The n-th request of a seed: one that graphql-js finds valid. */
function nth(seed, n, schema, facts) {
  const rng = new Random(seed, "data", n);
  const request = new Generator({ schema, facts, rng, comparable: true, fields: rng.pick([4, 8, 16]) }).request();
  delete request.variables.notDefined;
  return { request, rng };
}

const pathOf = (error) => (error.path ?? []).join(".");
const placeOf = ({ line, column }) => `${line}:${column}`;

/** Where graphql-js sees an error. An argument that may not be null is as well the fault of its field. */
function placesOf(errors, document) {
  const { source } = document.loc;
  const places = errors.flatMap((error) => error.locations ?? []).flatMap((place) => namesOf(place, source.body));
  for (const error of errors) {
    if (error.nodes?.every((node) => node.kind === "Field")) continue;
    const name = error.path?.findLast((step) => typeof step === "string");
    for (const { node } of nodesOf(document, "Field")) {
      if ((node.alias ?? node.name).value === name) places.push(...namesOf(getLocation(source, node.loc.start), source.body));
    }
  }
  return places;
}

/** What is different, or null. */
function differ(expected, answer, document) {
  if (answer.broken) return broken(answer);
  if (!answer.runs) return { kind: `refused: ${kindOf(answer.message)}`, detail: answer.message };
  const wanted = steady(JSON.stringify(expected.data));
  const found = steady(answer.data);
  if (wanted !== found) {
    const sorted = (text) => JSON.stringify(JSON.parse(text), (_, value) => (value && !Array.isArray(value) && typeof value === "object" ? Object.fromEntries(Object.entries(value).sort()) : value));
    const at = [...wanted].findIndex((char, i) => char !== found[i]);
    const detail = `…${found.slice(Math.max(0, at - 40), at + 40)}… should be …${wanted.slice(Math.max(0, at - 40), at + 40)}…`;
    return { kind: sorted(wanted) === sorted(found) ? "data: order of keys" : "data", detail };
  }
  const errors = expected.errors ?? [];
  const [paths, foundPaths] = [errors.map(pathOf).sort(), answer.errors.map(pathOf).sort()];
  if (paths.join() !== foundPaths.join()) return { kind: foundPaths.length > paths.length ? "errors: more than one for a failure" : "errors: their paths", detail: `${foundPaths.join(" ")} should be ${paths.join(" ")}` };
  // What graphql-js itself finds, it says in its own words. Instants to the millisecond are those of the ask.
  const own = new Set(errors.filter((error) => !error.extensions.code).map(pathOf));
  const said = (errors) => errors.filter((error) => !own.has(pathOf(error))).map((error) => `${pathOf(error)}: ${error.message.replaceAll(/[-\dT:]+\.\d+Z/g, "<now>")}`).sort();
  const [words, foundWords] = [said(errors), said(answer.errors)];
  const other = words.findIndex((word, i) => word !== foundWords[i]);
  if (other >= 0) return { kind: "errors: their messages", detail: `${foundWords[other]} should be ${words[other]}` };
  for (const error of answer.errors) {
    const places = placesOf(errors.filter((other) => pathOf(other) === pathOf(error)), document);
    const foundPlaces = (error.locations ?? []).map(placeOf);
    if (foundPlaces.length === 0) return { kind: "errors: no place", detail: `${pathOf(error)}: ${error.message}` };
    const wrong = foundPlaces.find((place) => !places.includes(place));
    if (wrong) return { kind: "errors: their places", detail: `${pathOf(error)} at ${foundPlaces.join(" ")}, should be at ${places.join(" ")}: ${error.message}` };
  }
  return null;
}

export async function data({ server, schema, facts, report, seed, count, only }) {
  await warmUp(server, facts);
  const upstream = new Upstream(server, schema);
  const counts = { documents: 0, withErrors: 0, retried: 0 };
  const check = async (method, sent) => {
    const document = parse(sent.query);
    const expected = await upstream.answer(document, JSON.parse(sent.variables), sent.operationName);
    if (expected.data === undefined) return { expected, difference: { kind: "a mistake of ways.mjs", detail: expected.errors[0].message } };
    const answer = read(await server[method](sent));
    return { expected, difference: differ(expected, answer, document) };
  };
  await inParallel(only === undefined ? count : 1, 8, async (i) => {
    const n = only ?? i;
    const { request, rng } = nth(seed, n, schema, facts);
    const document = parse(plain(request.document));
    // Valid, and yet a server may find it too deep.
    if (validate(schema, document, recommendedRules).length > 0) return;
    const invalid = validate(schema, document, RULES);
    counts.documents += 1;
    if (invalid.length > 0) {
      await report.differ({ kind: "a mistake of generate.mjs", detail: invalid[0].message }, n, { query: plain(request.document) });
      return;
    }
    let hadErrors = false;
    for (const [way, method, sent] of everyWay(request, { schema, rng })) {
      let { expected, difference } = await check(method, sent);
      hadErrors ||= (expected.errors ?? []).length > 0;
      if (difference) {
        // An hour may have passed, or data that was not final may have been fetched again.
        counts.retried += 1;
        if (counts.retried <= 20) upstream.forget();
        ({ difference } = await check(method, sent));
      }
      if (!difference) {
        report.agree();
        continue;
      }
      const again = async (smaller) => {
        try {
          const document = parse(smaller.query);
          if (validate(schema, document, RULES).length > 0) return null;
          return (await check(method, smaller)).difference?.kind;
        } catch {
          return null;
        }
      };
      const isWay = difference.kind.startsWith("data") && way !== "as it is" ? `, only ${way}` : "";
      await report.differ({ ...difference, kind: `${difference.kind}${isWay}` }, n, sent, isWay ? null : again);
      if (!isWay) break;
    }
    counts.withErrors += hadErrors ? 1 : 0;
  });
  report.extra = counts;
}
