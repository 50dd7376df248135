// What graphql-js says of a request, what the server says, and whether that is the same.
import { getVariableValues, GraphQLError, Kind, parse, recommendedRules, specifiedRules, validate } from "graphql";
import { normal, parts } from "./server.mjs";

/** The specification's rules. The others are good advice, and a server may heed it or not. */
export const RULES = specifiedRules.filter((rule) => !recommendedRules.includes(rule));

/** Whether graphql-js would run the request: `{ runs }`, or `{ refused, locations }`; `{ open }` if either is right. */
export function verdict(schema, request) {
  // Nobody looks at the stacks, and they take most of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return judged(schema, request);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function judged(schema, { query, variables, operationName }) {
  const refused = (errors) => ({
    runs: false,
    refused: errors[0].message,
    locations: errors.flatMap((error) => error.locations ?? []),
  });
  let document;
  try {
    document = parse(query);
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    return refused([error]);
  }
  const errors = validate(schema, document, RULES);
  if (errors.length > 0) return refused(errors);
  const operations = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  // A rule of the specification since 2025, which graphql-js 16 keeps only for the operation that is asked.
  const rootless = operations.find((node) => !schema.getRootType(node.operation));
  if (rootless) return refused([new GraphQLError(`there is no ${rootless.operation} in the schema`, { nodes: rootless })]);
  const named = operationName === undefined || operationName === null ? operations : operations.filter((node) => node.name?.value === operationName);
  if (named.length !== 1) return refused([{ message: `${named.length} operations are meant` }]);
  const values = JSON.parse(variables ?? "{}") ?? {};
  const coerced = getVariableValues(schema, named[0].variableDefinitions ?? [], values);
  if (coerced.errors) return refused(coerced.errors);
  const open = (query.includes("__") && validate(schema, document, recommendedRules).length > 0) || isBeyond(values);
  return { runs: true, open, document, operation: named[0] };
}

/** Whether a number of the variables has no whole form of 64 bits: JavaScript takes it for a whole number all the same, its last
 * digits lost. */
function isBeyond(value) {
  if (typeof value === "number") return Math.abs(value) >= 2 ** 64;
  return value !== null && typeof value === "object" && Object.values(value).some(isBeyond);
}

/** A place as text, counted in UTF-16 units as graphql-js counts and in characters: a column may be either. */
export function namesOf({ line, column }, query) {
  const before = (query.split(/\r\n|[\n\r]/)[line - 1] ?? "").slice(0, column - 1);
  return [`${line}:${column}`, `${line}:${[...before].length + 1}`];
}

/** What an answer says: `{ runs, broken, data, errors, message, locations }`. `broken` is why it is no answer at all;
 * `data` is its text in normal form. */
export function read({ status, text }) {
  if (status === 0) return { broken: `no answer: ${text}` };
  let found;
  try {
    found = parts(normal(text));
  } catch {
    return { broken: `status ${status}, invalid JSON: ${text.slice(0, 120)}` };
  }
  const errors = JSON.parse(found.get("errors") ?? "[]");
  if (status >= 500 || ![200, 400].includes(status)) return { broken: `status ${status}: ${errors[0]?.message ?? text.slice(0, 80)}` };
  const runs = found.has("data");
  if (runs !== (status === 200)) return { broken: `status ${status} ${runs ? "with" : "without"} data: ${errors[0]?.message}` };
  return { runs, data: found.get("data"), errors, message: errors[0]?.message, locations: errors[0]?.locations ?? [] };
}

/** Messages without their names, numbers and values, so that those of one kind are alike. */
export function kindOf(message) {
  // A parser that shows the place: what it shows is of no interest.
  const words = /= (expected .*)$/.exec(message)?.[1] ?? String(message);
  return words
    .replace(/"(?:[^"\\]|\\.)*"/g, "_")
    .replace(/`[^`]*`/g, "_")
    .replace(/\$\w+/g, "$_")
    .replace(/conflict because .*(different fields|differing arguments|conflicting types).*/s, "conflict because of $1")
    .replace(/got invalid value .*?(?: at _)?; /s, "got invalid value _; ")
    .replace(/(found|value:) .*/s, "$1 _")
    .replace(/(cannot represent)(?! (?:a )?non).*/s, "$1 _")
    .replace(/\d+/g, "0")
    .replace(/\s+/g, " ")
    .slice(0, 90);
}

/** The difference that no answer at all is. */
export function broken({ broken: why }) {
  return { kind: `broken: ${why.split(":")[0]}`, detail: why };
}

/** The difference between the two, or null: `{ kind, detail }`. */
export function differ(expected, answer) {
  if (answer.broken) return broken(answer);
  if (expected.open || expected.runs === answer.runs) return null;
  return answer.runs
    ? { kind: `runs, should be refused: ${kindOf(expected.refused)}`, detail: expected.refused }
    : { kind: `refused, should run: ${kindOf(answer.message)}`, detail: answer.message };
}

/** Whether the server points to a place that graphql-js points to: "same", "other" or "none". */
export function placed(expected, answer, { query }) {
  if (expected.locations.length === 0) return null;
  if (answer.locations.length === 0) return "none";
  const [{ line, column }] = answer.locations;
  return expected.locations.some((place) => namesOf(place, query).includes(`${line}:${column}`)) ? "same" : "other";
}
