// Every type a variable may have, in every place: is it refused where the specification refuses it?
import { getNamedType, isInputType } from "graphql";
import { askEach } from "./ask.mjs";
import { valueNode } from "./ast.mjs";
import { Generator } from "./generate.mjs";
import { everyPlace } from "./places.mjs";
import { Random } from "./random.mjs";
import { plain } from "./write.mjs";

const WRAPPINGS = ["#", "#!", "[#]", "[#!]", "[#]!", "[#!]!", "[[#]]", "[[#!]!]!"];

/** A value of a type that is written as text. */
function valueOf(type, named, rng, generator) {
  if (type.endsWith("!")) return valueOf(type.slice(0, -1), named, rng, generator);
  if (type.startsWith("[")) return [valueOf(type.slice(1, -1), named, rng, generator)];
  return generator.value(named);
}

export async function matrix({ server, schema, facts, report, seed, count, only }) {
  const generator = new Generator({ schema, facts, rng: new Random("matrix") });
  const types = Object.values(schema.getTypeMap()).filter((type) => isInputType(type) && !type.name.startsWith("__"));
  const requests = [];
  for (const place of everyPlace(schema, facts)) {
    for (const named of types) {
      for (const wrapping of WRAPPINGS) {
        const type = wrapping.replace("#", named.name);
        // The place's own type takes the place's own value.
        const isOwn = getNamedType(place.type) === named;
        const value = isOwn && String(place.type).replaceAll("!", "") === type.replaceAll("!", "") ? place.valid : valueOf(type, named, null, generator);
        const fallbacks = ["", "=null", `=${plain(valueNode(value))}`];
        // Of a type that never fits, one is as good as all; another seed takes another.
        const chosen = isOwn ? fallbacks : [fallbacks[(requests.length + Number(seed)) % 3]];
        for (const fallback of chosen) {
          const query = place.document("$v", `($v:${type}${fallback})`);
          // Left out where that is right, so that defaults are used.
          const leftOut = fallback !== "" || !type.endsWith("!");
          requests.push({ query, variables: leftOut && requests.length % 2 ? "{}" : JSON.stringify({ v: value }) });
        }
      }
    }
  }
  const runs = await askEach(requests, { server, schema, report, count, only });
  report.extra = { combinations: requests.length, runs };
}
