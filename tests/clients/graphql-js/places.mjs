// Every place of a schema where an input stands, each as a document around a value.
import {
  getNamedType,
  isCompositeType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
} from "graphql";
import { Generator } from "./generate.mjs";
import { Random } from "./random.mjs";
import { valueNode } from "./ast.mjs";
import { plain } from "./write.mjs";

/** The shortest way from a root to each type that has fields: texts before and after. */
function waysTo(schema, facts) {
  const ways = new Map();
  const queue = [];
  for (const kind of ["query", "mutation"]) {
    const root = schema.getRootType(kind);
    if (root) queue.push([root, { kind, before: "", after: "" }]);
  }
  const required = (type, field) => {
    const generator = new Generator({ schema, facts, rng: new Random("places", type.name, field.name) });
    const args = field.args.filter(isRequiredArgument).map((arg) => `${arg.name}:${plain(valueNode(known(facts, type, field, arg) ?? generator.value(arg.type)))}`);
    return args.length > 0 ? `(${args.join(",")})` : "";
  };
  while (queue.length > 0) {
    const [type, way] = queue.shift();
    if (ways.has(type.name)) continue;
    ways.set(type.name, { type, ...way, required: (field) => required(type, field) });
    for (const field of fieldsOf(schema, type)) {
      const inner = getNamedType(field.type);
      if (!isCompositeType(inner)) continue;
      queue.push([inner, { kind: way.kind, before: `${way.before}${field.name}${required(type, field)}{`, after: `}${way.after}` }]);
    }
  }
  return ways;
}

function fieldsOf(schema, type) {
  const fields = Object.values(type.getFields());
  return type === schema.getQueryType() ? [...fields.filter((field) => !field.name.startsWith("__")), TypeMetaFieldDef, SchemaMetaFieldDef] : fields;
}

/** A value that can be answered, where one is known. */
function known(facts, type, field, arg) {
  for (let n = 0; n < 20; n++) {
    const args = facts.args(type.name, field.name, new Random("known", n), false);
    if (args?.[arg.name] !== undefined && args[arg.name] !== null) return args[arg.name];
  }
  return undefined;
}

/** Every place: `{ name, type, hasDefault, inOneOf, valid, document(value, definitions) }`, where `type` is what the place
 * wants, `valid` a value for it, and `document` writes a document with the text of a value there. */
export function everyPlace(schema, facts) {
  const places = [];
  const seen = new Set();
  const generator = new Generator({ schema, facts, rng: new Random("values") });

  /** A place and the places inside it. `around` puts a value's text where it belongs. */
  function add(name, type, options, valid, document) {
    places.push({ name, type, valid, hasDefault: false, inOneOf: false, ...options, document });
    const nullable = isNonNullType(type) ? type.ofType : type;
    if (isListType(nullable)) {
      add(`${name}[]`, nullable.ofType, {}, generator.value(nullable.ofType), (value, definitions) => document(`[${value}]`, definitions));
    }
    if (!isInputObjectType(nullable) || seen.has(nullable.name)) return;
    // Fields of an input are the same wherever it stands.
    seen.add(nullable.name);
    for (const field of Object.values(nullable.getFields())) {
      const others = nullable.isOneOf ? [] : Object.values(nullable.getFields()).filter((other) => other !== field && isRequiredInputField(other));
      const written = others.map((other) => `,${other.name}:${plain(valueNode(generator.value(other.type)))}`).join("");
      const options = { hasDefault: field.defaultValue !== undefined, inOneOf: nullable.isOneOf };
      add(`${nullable.name}.${field.name}`, field.type, options, generator.value(field.type), (value, definitions) => document(`{${field.name}:${value}${written}}`, definitions));
    }
  }

  for (const { type, kind, before, after, required } of waysTo(schema, facts).values()) {
    for (const field of fieldsOf(schema, type)) {
      for (const arg of field.args) {
        const inner = isCompositeType(getNamedType(field.type)) ? "{__typename}" : "";
        const others = required({ ...field, args: field.args.filter((other) => other !== arg) }).slice(1, -1);
        const document = (value, definitions = "") =>
          `${kind}${definitions}{${before}${field.name}(${arg.name}:${value}${others && `,${others}`})${inner}${after}}`;
        add(`${type.name}.${field.name}(${arg.name})`, arg.type, { hasDefault: arg.defaultValue !== undefined }, known(facts, type, field, arg) ?? generator.value(arg.type), document);
      }
    }
  }
  for (const directive of schema.getDirectives()) {
    for (const arg of directive.args) {
      for (const location of directive.locations) {
        const selections = {
          FIELD: (text) => `__typename ${text}`,
          INLINE_FRAGMENT: (text) => `...${text}{__typename}`,
          FRAGMENT_SPREAD: (text) => `...F ${text}`,
        }[location];
        if (!selections) continue;
        const rest = location === "FRAGMENT_SPREAD" ? " fragment F on Query{__typename}" : "";
        const document = (value, definitions = "") => `query${definitions}{${selections(`@${directive.name}(${arg.name}:${value})`)}}${rest}`;
        add(`@${directive.name}(${arg.name}) on ${location}`, arg.type, { hasDefault: arg.defaultValue !== undefined }, generator.value(arg.type), document);
      }
    }
  }
  return places;
}
