// Values of every sort in every place: as literals, as variables and as their defaults.
import { isInputObjectType, isNonNullType } from "graphql";
import { askEach } from "./ask.mjs";
import { valueNode } from "./ast.mjs";
import { everyPlace } from "./places.mjs";
import { plain } from "./write.mjs";

/** Literals of every sort. */
const LITERALS = [
  "0", "-0", "1", "-1", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
  "18446744073709551616", "123456789012345678901234567890", "1.0", "1.5", "-0.0", "3e0", "1e400", "1E-7",
  '""', '"x"', '"7"', '"true"', '"null"', '"DAILY"', '"PROVINCE"', '"""DAILY"""', '"P1D"', '"""P1D"""', '"\\u0050T1H"', '"名 \\u{1f600} \\ud83d\\ude00"',
  '"P1M"', '"P1Y"', '"P1Y1D"', '"-P1D"', '"P"', '"PT"', '"P1"', '"p1d"', '"PT0S"', '"P1DT"', '"PT1.5H"', '"PT1.5H1M"', '"P1.5D"', '"P1W2D"', '"7 days"', '"P99999999999999D"',
  '"2026-11-16T00:00:00Z"', '"2026-11-16T00:00:00+08:00"', '"2026-11-16T00:00:00.123456789Z"', '"2026-11-16"', '"2026-11-16T00:00:00"', '"2026-13-16T00:00:00Z"', '"2026-02-29T00:00:00Z"', '"2026-11-16T24:00:00Z"',
  "DAILY", "HALF_HOUR", "PROVINCE", "daily", "NOPE", "true", "false", "True", "null", "Null",
  "[]", "[null]", "[[]]", '["x"]', '["x",null]', '["x",["y"]]', "[1]", "[1,2.5]", "[DAILY]", "[true]", "[{}]", '[{last:"P1D"}]',
  "{}", "{x:1}", "{if:true}", '{last:"P1D"}', '{last:"P1M"}', "{last:null}", "{last:5}", '{last:["P1D"]}', '{last:"P1D",last:"P1D"}', '{last:"P1D",x:1}', '{last:"P1D",between:null}', "{between:null}", "{between:null,last:null}", "{between:{}}",
  '{between:{start:"2026-11-16T00:00:00Z"}}', '{between:{start:"2026-11-16T00:00:00Z",end:null}}', '{between:{start:"2026-11-16T00:00:00Z",end:5}}', '{between:{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z"}}',
  '{between:{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z",x:null}}', '{between:{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z"},last:"P1D"}', '{between:[{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z"}]}',
  '{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z"}', '{start:"2026-11-16T00:00:00Z",end:"2026-11-17T00:00:00Z",start:"2026-11-16T00:00:00Z"}', '{start:"2026-11-16"}',
];

/** JSON of every sort, beyond what literals are as JSON. */
const JSONS = [
  "0", "1", "-1", "-0", "1.0", "1.5", "3e0", "1E2", "1e-7", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "123456789012345678901234567890", "1e300",
  '""', '"x"', '"7"', '"true"', '"DAILY"', '"daily"', '"PROVINCE"', '"P1D"', '"P1M"', '"-P1D"', '"2026-11-16T00:00:00Z"', '"2026-11-16T00:00:00+08:00"', '"2026-11-16"', '"\\ud83d\\ude00"', "true", "false", "null",
  "[]", "[null]", "[[]]", '["x"]', '["x",null]', '[["x"]]', "[1]", "[1.5]", '["DAILY"]', "[true]", "[{}]", '[{"last":"P1D"}]',
  "{}", '{"x":1}', '{"last":"P1D"}', '{"last":"P1M"}', '{"last":null}', '{"last":5}', '{"last":["P1D"]}', '{"last":"P1D","x":1}', '{"last":"P1D","between":null}', '{"between":null}', '{"between":{}}', '{"between":5}',
  '{"between":{"start":"2026-11-16T00:00:00Z"}}', '{"between":{"start":"2026-11-16T00:00:00Z","end":null}}', '{"between":{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z"}}', '{"between":{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z","x":null}}',
  '{"between":{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z"},"last":"P1D"}', '{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z"}', '{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z","x":1}',
];

/** Inputs of which exactly one field must be given, made of variables: definitions, a value, and variables. */
function* oneOfs(type) {
  for (const field of Object.values(type.getFields())) {
    const inner = String(field.type);
    yield [`($v:${inner}!)`, `{${field.name}:$v}`, true];
    yield [`($v:${inner})`, `{${field.name}:$v}`, true];
    yield [`($v:${inner}=null)`, `{${field.name}:$v}`, false];
    yield [`($v:[${inner}!]!)`, `{${field.name}:$v}`, false];
    for (const other of Object.values(type.getFields())) {
      if (other === field) continue;
      yield [`($v:${inner}!)`, `{${field.name}:$v,${other.name}:null}`, true];
      yield [`($v:${inner}!,$w:${other.type}!)`, `{${field.name}:$v,${other.name}:$w}`, true];
      yield [`($v:${inner}!,$w:${other.type})`, `{${field.name}:$v,${other.name}:$w}`, true];
    }
  }
}

/** All requests, in one order. */
function everyRequest(schema, facts, seed) {
  const requests = [];
  const seen = new Set();
  const byType = new Map();
  for (const place of everyPlace(schema, facts)) {
    const type = String(place.type);
    const own = plain(valueNode(place.valid));
    // Where a type has been, a fifth of the literals will do; another seed takes others.
    const isNew = !seen.has(type);
    seen.add(type);
    [own, `[${own}]`, `[${own},null]`, `[[${own}]]`, ...LITERALS].forEach((literal, i) => {
      if (isNew || (i + Number(seed)) % 5 === 0) requests.push({ query: place.document(literal), variables: undefined });
    });
    const nullable = isNonNullType(place.type) ? place.type.ofType : place.type;
    const valid = JSON.stringify(place.valid);
    if (isInputObjectType(nullable) && nullable.isOneOf) {
      for (const [definitions, value, isGiven] of oneOfs(nullable)) {
        const fields = Object.values(nullable.getFields());
        const first = value.slice(1).split(":")[0];
        const given = { between: JSON.stringify(facts.days(6, 5).between), last: '"P1D"' };
        const second = fields.find((field) => field.name !== first);
        const variables = isGiven ? `{"v":${given[first] ?? "null"},"w":${given[second?.name] ?? "null"}}` : "{}";
        requests.push({ query: place.document(value, definitions), variables });
      }
    }
    // Null where there has to be a value: the field fails, and the request does not.
    requests.push({ query: place.document("$v", `($v:${type.replace(/!$/, "")}=${own})`), variables: '{"v":null}' });
    // Variables are coerced before anybody looks where they stand: one place for each type will do.
    const key = type.replace(/!$/, "");
    if (byType.has(key)) continue;
    byType.set(key, true);
    for (const declared of [key, `${key}!`]) {
      const query = place.document("$v", `($v:${declared})`);
      // Where the variable may not stand there, it is refused for that alone.
      const roomy = place.inOneOf || (isNonNullType(place.type) && !place.hasDefault);
      if (roomy && !declared.endsWith("!")) continue;
      for (const json of [valid, `[${valid}]`, `[${valid},null]`, `[[${valid}]]`, ...JSONS]) requests.push({ query, variables: `{"v":${json}}` });
      requests.push({ query, variables: "{}" }, { query, variables: "null" }, { query, variables: undefined });
      requests.push({ query, variables: `{"v":${valid},"w":{"x":[]}}` });
    }
    for (const literal of [own, `[${own}]`, `[${own},null]`, ...LITERALS]) {
      requests.push({ query: place.document("$v", `($v:${key}!=${literal})`), variables: undefined });
      requests.push({ query: place.document("$v", `($v:${key}!=${literal})`), variables: `{"v":${valid}}` });
    }
  }
  return requests;
}

export async function values({ server, schema, facts, report, seed, count, only }) {
  const requests = everyRequest(schema, facts, seed);
  const runs = await askEach(requests, { server, schema, report, count, only });
  report.extra = { runs };
}
