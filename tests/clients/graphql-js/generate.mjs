// Random valid documents over a schema.
// node generate.mjs URL [--seed N] [--count N]    prints some
import { pathToFileURL } from "node:url";
import {
  getNamedType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
} from "graphql";
import * as ast from "./ast.mjs";
import { Ref, valueNode, Word } from "./ast.mjs";
import { learnFacts } from "./facts.mjs";
import { Random } from "./random.mjs";
import { Server } from "./server.mjs";
import { joinOddly, oneNotation, tokens } from "./write.mjs";

const ODD_NAMES = ["on", "query", "true", "null", "fragment", "_", "__a", "A1", "mutation", "type", "input"];

/** What `data` leaves out: what differs from one ask to the next, and what graphql-js says in words of its own. */
const NOT_COMPARABLE = new Set([
  "Quota.budgetPerSecond", "Quota.available", "Quota.queued", "Quota.estimatedWaitMs", "Quota.throttledTotal",
  "Query.__schema", "__Type.description", "Mutation.enableWhatsappRoiMetric",
]);

/** What one operation and its fragments share. */
class Scope {
  constructor(prefix) {
    this.prefix = prefix;
    this.fragments = [];
    this.variables = new Map();
    /** By type, what each response name stands for: so that fields under one name always merge. */
    this.keys = new Map();
    this.fields = 0;
  }
}

export class Generator {
  /** `comparable`: only what can be compared with graphql-js' answer, failing arguments among it. */
  constructor({ schema, facts, rng, comparable = false, fields = 40 }) {
    Object.assign(this, { schema, facts, rng, comparable, most: fields });
  }

  /** A document with its request: `{ document, variables, operationName }`, variables as values of JavaScript. */
  request() {
    const { rng } = this;
    const count = rng.chance(0.2) ? rng.between(2, 3) : 1;
    const mutation = this.schema.getMutationType();
    const made = [];
    for (let i = 0; i < count; i++) {
      const kind = mutation && rng.chance(0.08) ? "mutation" : "query";
      const type = kind === "mutation" ? mutation : this.schema.getQueryType();
      const scope = new Scope(count > 1 ? `${"ABC"[i]}` : "");
      const named = count > 1 || rng.chance(0.5);
      made.push({ ...this.operation(kind, type, scope, named ? this.nameOf("Op") + (count > 1 ? i : "") : null), scope });
    }
    const asked = rng.pick(made);
    const definitions = made.flatMap(({ node, scope }) => [node, ...scope.fragments.map((fragment) => fragment.node)]);
    const document = { kind: "Document", definitions: rng.chance(0.5) ? rng.shuffled(definitions) : definitions };
    const variables = {};
    for (const [key, { value }] of asked.scope.variables) if (value !== undefined) variables[key] = value;
    if (rng.chance(0.05)) variables.notDefined = rng.pick([1, null, { a: [] }]);
    const operationName = asked.node.name && (count > 1 || rng.chance(0.3)) ? asked.node.name.value : rng.chance(0.1) && count === 1 ? null : undefined;
    return { document, variables, operationName };
  }

  operation(kind, type, scope, opName) {
    const { rng } = this;
    const selectionSet = ast.set(this.selections(type, rng.between(2, 6), scope));
    const definitions = [...scope.variables].map(([key, { type, fallback }]) => ({
      kind: "VariableDefinition",
      variable: ast.variable(key),
      type: ast.typeNode(type),
      defaultValue: fallback === undefined ? undefined : valueNode(fallback),
      directives: [],
    }));
    return {
      node: {
        kind: "OperationDefinition",
        operation: kind,
        name: opName === null ? undefined : ast.name(opName),
        variableDefinitions: definitions,
        directives: [],
        selectionSet,
        spelledOut: rng.chance(0.3),
      },
    };
  }

  nameOf(usual) {
    return this.rng.chance(0.15) ? this.rng.pick(ODD_NAMES) : `${usual}${this.rng.below(1000)}`;
  }

  selections(type, depth, scope) {
    const { rng } = this;
    const made = [];
    const wanted = rng.between(1, 5);
    for (let i = 0; i < wanted; i++) {
      const kind = rng.below(20);
      if (kind < 2 && depth > 0 && scope.fields < this.most) {
        const on = rng.chance(0.7) ? type.name : null;
        made.push(ast.inline(on, this.selections(type, depth - 1, scope), this.directives(scope)));
      } else if (kind < 4 && depth > 0 && scope.fields < this.most) {
        made.push(ast.spread(this.fragmentOn(type, depth, scope), this.directives(scope)));
      } else if (kind < 6 && made.length > 0) {
        const again = rng.pick(made);
        made.push(again.kind === "Field" && again.selectionSet ? this.again(type, again, depth, scope) : ast.copy(again));
      } else {
        made.push(this.field(type, depth, scope));
      }
    }
    // Now and then nothing of it is wanted.
    if (rng.chance(0.04)) return [ast.inline(null, made, [this.nothing(scope)])];
    return rng.chance(0.3) ? rng.shuffled(made) : made;
  }

  /** A directive that leaves its selection out. */
  nothing(scope) {
    const { rng } = this;
    const [key, value] = rng.pick([["include", false], ["skip", true]]);
    return ast.directive(key, [ast.argument("if", valueNode(rng.chance(0.5) ? value : this.variableOf(value, "Boolean!", scope)))]);
  }

  /** A field that is there already, with another selection: both have to be merged. */
  again(type, field, depth, scope) {
    const inner = getNamedType(this.fieldOf(type, field.name.value).type);
    return { ...ast.copy(field), directives: this.directives(scope), selectionSet: ast.set(this.selections(inner, depth - 1, scope)) };
  }

  fieldOf(type, key) {
    if (key === "__schema") return SchemaMetaFieldDef;
    return key === "__type" ? TypeMetaFieldDef : type.getFields()[key];
  }

  field(type, depth, scope) {
    const { rng } = this;
    scope.fields += 1;
    const leaf = { name: "__typename", type: null, args: [] };
    if (rng.chance(0.08)) return this.entry(type, leaf, scope);
    let fields = Object.values(type.getFields());
    if (type === this.schema.getQueryType()) {
      fields = fields.filter((field) => !field.name.startsWith("__"));
      if (rng.chance(0.12)) fields = [TypeMetaFieldDef, SchemaMetaFieldDef];
    }
    if (this.comparable) fields = fields.filter((field) => !NOT_COMPARABLE.has(`${type.name}.${field.name}`));
    if (depth <= 0 || scope.fields >= this.most) fields = fields.filter((field) => !isCompositeType(getNamedType(field.type)));
    if (fields.length === 0) return this.entry(type, leaf, scope);
    const field = rng.pick(fields);
    const node = this.entry(type, field, scope);
    const inner = getNamedType(field.type);
    if (isCompositeType(inner)) node.selectionSet = ast.set(this.selections(inner, depth - 1, scope));
    return node;
  }

  /** The field under a response name that stands for nothing else. */
  entry(type, field, scope) {
    const { rng } = this;
    if (!scope.keys.has(type.name)) scope.keys.set(type.name, new Map());
    const keys = scope.keys.get(type.name);
    const known = [...keys].filter(([, entry]) => entry.field === field.name);
    let key;
    if (known.length > 0 && rng.chance(0.5)) {
      [key] = rng.pick(known);
    } else {
      key = rng.chance(0.25) ? this.alias(type) : field.name;
      while (keys.has(key) && !(field.args.length === 0 && keys.get(key).field === field.name)) key = `${this.alias(type)}${rng.below(100)}`;
    }
    if (!keys.has(key)) keys.set(key, { field: field.name, args: this.args(type.name, field, scope) });
    const { args } = keys.get(key);
    return {
      kind: "Field",
      alias: key === field.name && !rng.chance(0.03) ? undefined : ast.name(key),
      name: ast.name(field.name),
      arguments: rng.shuffled(ast.copy(args)),
      directives: this.directives(scope),
      selectionSet: undefined,
    };
  }

  alias(type) {
    const names = Object.keys(type.getFields());
    return this.rng.pick([this.rng.pick(names), "a", "b", this.nameOf("x"), this.rng.pick(ODD_NAMES)]);
  }

  args(parent, field, scope) {
    const known = this.facts.args(parent, field.name, this.rng, this.comparable);
    const values = known ?? {};
    if (!known) {
      for (const arg of field.args) if (isRequiredArgument(arg) || this.rng.chance(0.4)) values[arg.name] = this.value(arg.type);
    }
    return Object.entries(values).map(([key, value]) => {
      const arg = field.args.find((arg) => arg.name === key);
      if (!arg) throw new Error(`${parent}.${field.name} has no argument ${key}: tell facts.mjs`);
      return ast.argument(key, valueNode(this.varied(value, arg.type, arg.defaultValue !== undefined, scope)));
    });
  }

  directives(scope) {
    const { rng } = this;
    if (!rng.chance(0.12)) return [];
    const truth = () => {
      const value = rng.chance(0.7);
      if (rng.chance(0.4)) return value;
      const known = [...scope.variables].filter(([, { type }]) => type === "Boolean!").map(([key]) => key);
      if (known.length > 0 && rng.chance(0.5)) return new Ref(rng.pick(known));
      return rng.chance(0.8) ? this.variableOf(value, "Boolean!", scope) : this.variableOf(value, "Boolean", scope, true);
    };
    const names = rng.pick([["include"], ["skip"], ["include", "skip"], ["skip", "include"]]);
    return names.map((key) => ast.directive(key, [ast.argument("if", valueNode(truth()))]));
  }

  fragmentOn(type, depth, scope) {
    const { rng } = this;
    const there = scope.fragments.filter((fragment) => fragment.on === type.name && fragment.depth <= depth);
    if (there.length > 0 && rng.chance(0.5)) return rng.pick(there).key;
    const selections = this.selections(type, depth - 1, scope);
    const prefixed = (name) => scope.prefix + name;
    let key = prefixed(rng.chance(0.1) ? rng.pick(ODD_NAMES) : type.name);
    while (key === "on" || scope.fragments.some((fragment) => fragment.key === key)) key = prefixed(`F${rng.below(1000)}`);
    scope.fragments.push({ key, on: type.name, depth, node: ast.fragment(key, type.name, selections) });
    return key;
  }

  /** A value of a type, where nothing more is known. */
  value(type) {
    const { rng } = this;
    if (isNonNullType(type)) return this.value(type.ofType);
    if (isListType(type)) return Array.from({ length: rng.below(3) }, () => this.value(type.ofType));
    if (isEnumType(type)) return new Word(rng.pick(type.getValues()).name);
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields());
      if (type.isOneOf) {
        const field = rng.pick(fields);
        return { [field.name]: this.value(field.type) };
      }
      const chosen = fields.filter((field) => isRequiredInputField(field) || rng.chance(0.5));
      return Object.fromEntries(chosen.map((field) => [field.name, this.value(field.type)]));
    }
    const plain = {
      Int: () => rng.between(-5, 100),
      Float: () => rng.pick([0.5, -1.25, 3, 1e21]),
      String: () => rng.pick(["", "x", "名", "\u{1f600}", 'a "b"\\', "two\nlines"]),
      Boolean: () => rng.chance(0.5),
      ID: () => rng.pick(["x", 7, "7"]),
      Date: () => rng.pick(["2026-09-01", "2024-02-29", "9999-12-31"]),
      DateTime: () => this.facts.days(rng.between(1, 5), 0).between.start,
      Duration: () => rng.pick(["P1D", "PT30M", "P1W", "PT1H30M"]),
      Long: () => rng.pick([0, 5_000_000_000]),
    };
    if (!plain[type.name]) throw new Error(`no values of the type ${type.name}: tell generate.mjs`);
    return plain[type.name]();
  }

  /** The value with some of its parts turned into variables, or written in another way. */
  varied(value, type, hasDefault, scope, inOneOf = false) {
    const { rng } = this;
    const nullable = isNonNullType(type) ? type.ofType : type;
    if (rng.chance(0.3)) return this.asVariable(value, type, hasDefault, scope, inOneOf);
    if (value === null || value instanceof Word || typeof value !== "object") return value;
    if (Array.isArray(value)) {
      const items = value.map((item) => this.varied(item, nullable.ofType, false, scope));
      return items.length === 1 && rng.chance(0.2) && items[0] !== null ? items[0] instanceof Ref ? items : items[0] : items;
    }
    const fields = nullable.getFields();
    const entries = Object.entries(value).map(([key, inner]) => [
      key,
      this.varied(inner, fields[key].type, fields[key].defaultValue !== undefined, scope, nullable.isOneOf),
    ]);
    return Object.fromEntries(rng.shuffled(entries));
  }

  asVariable(value, type, hasDefault, scope, inOneOf) {
    const { rng } = this;
    const isNonNull = isNonNullType(type);
    const nullable = String(isNonNull ? type.ofType : type);
    if (value === null) return this.variableOf(value, nullable, scope, rng.chance(0.5));
    if (inOneOf) return this.variableOf(value, `${nullable}!`, scope, rng.chance(0.2));
    if (isNonNull && !hasDefault) {
      // One that may be left out will do where it has a default.
      if (rng.chance(0.2)) return this.variableOf(value, nullable, scope, true);
      return this.variableOf(value, `${nullable}!`, scope, rng.chance(0.15));
    }
    // Left out, it leaves the argument to its default; as null it makes the field fail where there has to be a value.
    if (rng.chance(0.2)) return this.variableOf(undefined, nullable, scope);
    if (rng.chance(0.03)) return this.variableOf(null, nullable, scope);
    return this.variableOf(value, rng.chance(0.3) ? `${nullable}!` : nullable, scope, rng.chance(0.25));
  }

  /** A new variable that stands for the value: given, or left to its default. */
  variableOf(value, type, scope, withDefault = false) {
    const { rng } = this;
    let key = rng.chance(0.1) ? rng.pick(ODD_NAMES) : `v${scope.variables.size}`;
    while (scope.variables.has(key)) key = `v${rng.below(10_000)}`;
    const given = withDefault && rng.chance(0.5) ? undefined : value;
    scope.variables.set(key, { type, fallback: withDefault ? value : undefined, value: given });
    return new Ref(key);
  }
}

/** A request as it is sent: `query` as oddly written as told, `variables` as JSON text. */
export function written({ document, variables, operationName }, rng, oddness) {
  const isEmpty = Object.keys(variables).length === 0;
  return {
    query: joinOddly(tokens(document, oneNotation(rng)), rng, oddness),
    variables: isEmpty && rng.chance(0.7) ? undefined : JSON.stringify(variables),
    operationName,
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, ...rest] = process.argv.slice(2);
  const option = (key, fallback) => (rest.includes(key) ? rest[rest.indexOf(key) + 1] : fallback);
  const server = new Server(url);
  const { schema } = await server.schema();
  const facts = await learnFacts(server);
  for (let n = 0; n < Number(option("--count", 10)); n++) {
    const rng = new Random(option("--seed", "1"), n);
    const request = new Generator({ schema, facts, rng }).request();
    console.log(JSON.stringify(written(request, rng, 0.1)));
  }
  server.close();
}
