// Breaks documents in the ways of the specification's rules, of its grammar, and of requests.
import { isEnumType, isInputObjectType, isObjectType, isScalarType } from "graphql";
import * as ast from "./ast.mjs";
import { argument, copy, directive, nodesOf, valueNode, Word } from "./ast.mjs";
import { joinOddly } from "./write.mjs";

/** Literals of every sort. */
export function anyValue(rng, depth = 2) {
  const simple = [
    () => valueNode(null), () => valueNode(true), () => valueNode(rng.between(-3, 3)),
    () => valueNode(rng.pick(["", "x", "DAILY", "P1D", "7", "2026-11-16T00:00:00Z", "P1M", "true"])),
    () => valueNode(new Word(rng.pick(["DAILY", "PROVINCE", "NOPE", "daily", "True", "between"]))),
    () => ({ kind: "IntValue", value: rng.pick(["2147483647", "2147483648", "-2147483649", "9223372036854775808", "123456789012345678901234567890", "-0", "0"]) }),
    () => ({ kind: "FloatValue", value: rng.pick(["1.0", "3e0", "1.5", "-0.0", "1e400", "1E-7", "0.1e+1"]) }),
    () => ast.variable(rng.pick(["nope", "v0", "v1"])),
  ];
  const nested = [
    () => ({ kind: "ListValue", values: Array.from({ length: rng.below(3) }, () => anyValue(rng, depth - 1)) }),
    () => ({
      kind: "ObjectValue",
      fields: Array.from({ length: rng.below(3) }, () => ({
        kind: "ObjectField",
        name: ast.name(rng.pick(["between", "last", "start", "end", "x"])),
        value: anyValue(rng, depth - 1),
      })),
    }),
  ];
  return rng.pick(depth > 0 && rng.chance(0.3) ? nested : simple)();
}

const VALUES = ["IntValue", "FloatValue", "StringValue", "BooleanValue", "NullValue", "EnumValue", "ListValue", "ObjectValue", "Variable"];
const SELECTIONS = ["Field", "InlineFragment", "FragmentSpread"];

/** One place of a kind, or nothing. */
function choose(rng, document, kinds, isRight = () => true) {
  const found = nodesOf(document, ...[kinds].flat()).filter(isRight);
  return found.length > 0 ? rng.pick(found) : null;
}

function put(place, node) {
  if (place.index === null) place.parent[place.key] = node;
  else place.parent[place.key][place.index] = node;
}

function remove(place) {
  if (place.index === null) place.parent[place.key] = undefined;
  else place.parent[place.key].splice(place.index, 1);
}

const misspelt = (rng, name) => rng.pick([`${name}x`, name.slice(0, -1) || "q", name.toUpperCase() === name ? name.toLowerCase() : name.toUpperCase(), `_${name}`, "nope"]);

/** Changes of a parsed document; each says whether there was anything to change. */
const OF_DOCUMENTS = {
  "a wrong field name"(document, rng) {
    const place = choose(rng, document, "Field");
    if (place) place.node.name = ast.name(misspelt(rng, place.node.name.value));
    return place;
  },
  "the name of another field"(document, rng) {
    const place = choose(rng, document, "Field");
    const other = choose(rng, document, "Field");
    if (place) place.node.name = copy(other.node.name);
    return place;
  },
  "a wrong argument name"(document, rng) {
    const place = choose(rng, document, "Argument");
    if (place) place.node.name = ast.name(misspelt(rng, place.node.name.value));
    return place;
  },
  "a superfluous argument"(document, rng) {
    const place = choose(rng, document, ["Field", "Directive"]);
    place?.node.arguments.push(argument(rng.pick(["if", "x", "first", "range"]), anyValue(rng)));
    return place;
  },
  "an argument twice"(document, rng) {
    const place = choose(rng, document, "Argument");
    place?.parent.arguments.push(rng.chance(0.5) ? copy(place.node) : argument(place.node.name.value, anyValue(rng)));
    return place;
  },
  "an argument less"(document, rng) {
    const place = choose(rng, document, "Argument");
    if (place) remove(place);
    return place;
  },
  "another value"(document, rng) {
    const place = choose(rng, document, VALUES, ({ parent }) => parent.kind !== "VariableDefinition");
    if (place) put(place, anyValue(rng));
    return place;
  },
  "the value of another place"(document, rng) {
    const [place, other] = [choose(rng, document, VALUES), choose(rng, document, VALUES)];
    if (place && place.node.kind !== "Variable" && other.node !== place.node && !nodesOf(other.node, ...VALUES).some(({ node }) => node === place.node)) {
      put(place, copy(other.node));
      return place;
    }
    return null;
  },
  "a value in a list"(document, rng) {
    const place = choose(rng, document, VALUES, ({ parent }) => parent.kind !== "VariableDefinition");
    if (place) put(place, { kind: "ListValue", values: [place.node, ...(rng.chance(0.3) ? [anyValue(rng)] : [])] });
    return place;
  },
  "text for a word, or a word for text"(document, rng) {
    const place = choose(rng, document, ["EnumValue", "StringValue"], ({ node }) => /^[_A-Za-z]\w*$/.test(node.value));
    if (place) put(place, valueNode(place.node.kind === "EnumValue" ? place.node.value : new Word(place.node.value)));
    return place;
  },
  "a field of an input twice"(document, rng) {
    const place = choose(rng, document, "ObjectField");
    place?.parent.fields.push(rng.chance(0.5) ? copy(place.node) : { ...copy(place.node), value: anyValue(rng) });
    return place;
  },
  "a field of an input less"(document, rng) {
    const place = choose(rng, document, "ObjectField");
    if (place) remove(place);
    return place;
  },
  "another field of an input"(document, rng) {
    const place = choose(rng, document, "ObjectValue");
    place?.node.fields.push({ kind: "ObjectField", name: ast.name(rng.pick(["between", "last", "start", "x"])), value: anyValue(rng) });
    return place;
  },
  "null in a field of an input"(document, rng) {
    const place = choose(rng, document, "ObjectField");
    if (place) place.node.value = valueNode(null);
    return place;
  },
  "a variable that is not defined"(document, rng) {
    const place = choose(rng, document, "Variable", ({ parent }) => parent.kind !== "VariableDefinition");
    if (place) place.node.name = ast.name("nope");
    return place;
  },
  "another variable"(document, rng) {
    const place = choose(rng, document, VALUES, ({ parent }) => parent.kind !== "VariableDefinition");
    const other = choose(rng, document, "VariableDefinition");
    if (place && other) put(place, copy(other.node.variable));
    return place && other;
  },
  "a variable that is not used"(document, rng) {
    const place = choose(rng, document, "OperationDefinition");
    const type = ast.typeNode(rng.pick(["Int", "Boolean!", "[Nope]", "[Nope!]!", "Nope!", "TimeRange", "Channel", "[Channel!]", "[[ID!]!]"]));
    const values = [undefined, anyValue(rng), { kind: "ListValue", values: [anyValue(rng)] }];
    const defaultValue = rng.pick(values);
    place?.node.variableDefinitions.push({ kind: "VariableDefinition", variable: ast.variable("unused"), type, defaultValue, directives: [] });
    return place;
  },
  "a variable twice"(document, rng) {
    const place = choose(rng, document, "VariableDefinition");
    place?.parent.variableDefinitions.push(copy(place.node));
    return place;
  },
  "a definition of a variable less"(document, rng) {
    const place = choose(rng, document, "VariableDefinition");
    if (place) remove(place);
    return place;
  },
  "another type of a variable"(document, rng, { schema }) {
    const place = choose(rng, document, "VariableDefinition");
    if (!place) return null;
    const names = Object.keys(schema.getTypeMap()).filter((name) => !name.startsWith("__"));
    place.node.type = ast.typeNode(rng.pick(["#", "#!", "[#]", "[#!]", "[#]!", "[[#]!]"]).replace("#", rng.chance(0.1) ? "Nope" : rng.pick(names)));
    return place;
  },
  "another wrapping of a variable's type"(document, rng) {
    const place = choose(rng, document, ["NamedType", "ListType", "NonNullType"], ({ parent }) => !["FragmentDefinition", "InlineFragment"].includes(parent.kind));
    if (!place) return null;
    if (place.node.kind === "NonNullType") put(place, place.node.type);
    else if (rng.chance(0.5)) put(place, { kind: "ListType", type: place.node });
    else if (place.parent.kind !== "NonNullType") put(place, { kind: "NonNullType", type: place.node });
    return place;
  },
  "another default"(document, rng) {
    const place = choose(rng, document, "VariableDefinition");
    if (place) place.node.defaultValue = place.node.defaultValue && rng.chance(0.5) ? undefined : anyValue(rng);
    return place;
  },
  "a directive on a variable"(document, rng) {
    const place = choose(rng, document, "VariableDefinition");
    place?.node.directives.push(directive(rng.pick(["include", "nope", "deprecated"]), rng.chance(0.5) ? [argument("if", valueNode(true))] : []));
    return place;
  },
  "a fragment that is not there"(document, rng) {
    const place = choose(rng, document, "FragmentSpread");
    if (place) place.node.name = ast.name("Nope");
    return place;
  },
  "a fragment less"(document, rng) {
    const place = choose(rng, document, "FragmentDefinition");
    if (place) remove(place);
    return place;
  },
  "a fragment twice"(document, rng) {
    const place = choose(rng, document, "FragmentDefinition");
    place?.parent.definitions.push(copy(place.node));
    return place;
  },
  "a fragment that is not used"(document, rng, { schema }) {
    const types = Object.values(schema.getTypeMap()).map((type) => type.name);
    const on = rng.chance(0.7) ? "Query" : rng.pick([...types, "Nope"]);
    document.definitions.push(ast.fragment("Unused", on, [{ kind: "Field", name: ast.name(rng.pick(["__typename", "channels"])), arguments: [], directives: [] }]));
    return true;
  },
  "a circle of fragments"(document, rng) {
    const place = choose(rng, document, "FragmentDefinition");
    const inside = choose(rng, document, "FragmentDefinition");
    if (!place) return null;
    const sets = nodesOf(inside.node, "SelectionSet");
    rng.pick(sets).node.selections.push(ast.spread(place.node.name.value));
    return place;
  },
  "another type of a fragment"(document, rng, { schema }) {
    const place = choose(rng, document, ["FragmentDefinition", "InlineFragment"], ({ node }) => node.typeCondition);
    if (place) place.node.typeCondition.name = ast.name(rng.chance(0.15) ? "Nope" : rng.pick(Object.keys(schema.getTypeMap())));
    return place;
  },
  "a fragment on something else"(document, rng, { schema }) {
    const place = choose(rng, document, "SelectionSet");
    const types = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type) || isEnumType(type) || isScalarType(type) || isInputObjectType(type));
    place.node.selections.push(ast.inline(rng.pick(types).name, [{ kind: "Field", name: ast.name("__typename"), arguments: [], directives: [] }]));
    return true;
  },
  "a fragment elsewhere"(document, rng) {
    const place = choose(rng, document, "SelectionSet");
    const other = choose(rng, document, "FragmentDefinition");
    if (other) place.node.selections.push(ast.spread(other.node.name.value));
    return other;
  },
  "a directive that nobody knows"(document, rng) {
    const place = choose(rng, document, [...SELECTIONS, "OperationDefinition", "FragmentDefinition"]);
    place.node.directives.push(directive(rng.pick(["nope", "Include", "oneOf", "stream", "defer"]), rng.chance(0.3) ? [argument("if", valueNode(true))] : []));
    return true;
  },
  "a directive in a wrong place"(document, rng) {
    const place = choose(rng, document, ["OperationDefinition", "FragmentDefinition"]);
    place.node.directives.push(directive(rng.pick(["include", "skip", "deprecated", "specifiedBy"]), [argument("if", valueNode(true))]));
    return true;
  },
  "a directive twice"(document, rng) {
    const place = choose(rng, document, SELECTIONS);
    const name = rng.pick(["include", "skip"]);
    place.node.directives.push(directive(name, [argument("if", valueNode(true))]), directive(name, [argument("if", valueNode(rng.chance(0.5)))]));
    return true;
  },
  "a directive without its argument"(document, rng) {
    const place = choose(rng, document, SELECTIONS);
    place.node.directives.push(directive(rng.pick(["include", "skip"]), rng.pick([[], [argument("If", valueNode(true))], [argument("if", anyValue(rng))]])));
    return true;
  },
  "a selection of a leaf"(document, rng) {
    const place = choose(rng, document, "Field", ({ node }) => !node.selectionSet);
    if (place) place.node.selectionSet = ast.set([{ kind: "Field", name: ast.name(rng.pick(["__typename", "x"])), arguments: [], directives: [] }]);
    return place;
  },
  "an object without selection"(document, rng) {
    const place = choose(rng, document, "Field", ({ node }) => node.selectionSet);
    if (place) place.node.selectionSet = undefined;
    return place;
  },
  "an empty selection"(document, rng) {
    const place = choose(rng, document, "SelectionSet");
    place.node.selections = [];
    return true;
  },
  "another alias"(document, rng) {
    const [place, other] = [choose(rng, document, "Field"), choose(rng, document, "Field")];
    if (place) place.node.alias = copy(other.node.alias ?? other.node.name);
    return place;
  },
  "a field under the name of its neighbour"(document, rng) {
    const place = choose(rng, document, "SelectionSet", ({ node }) => node.selections.filter((one) => one.kind === "Field").length > 1);
    if (!place) return null;
    const [one, other] = rng.shuffled(place.node.selections.filter((one) => one.kind === "Field"));
    one.alias = copy(other.alias ?? other.name);
    return place;
  },
  "a field again with another argument"(document, rng) {
    const place = choose(rng, document, "Field", ({ node }) => node.arguments.length > 0);
    if (!place) return null;
    const again = copy(place.node);
    rng.pick(again.arguments).value = anyValue(rng);
    if (rng.chance(0.3)) again.arguments.pop();
    const wrapped = rng.chance(0.5) ? ast.inline(null, [again]) : again;
    place.parent.selections.splice(rng.below(place.parent.selections.length + 1), 0, wrapped);
    return place;
  },
  "a conflict deep down, through a fragment"(document, rng, { schema }) {
    const roots = document.definitions.filter((node) => node.kind === "OperationDefinition");
    const root = rng.pick(roots);
    const top = root.selectionSet.selections.filter((node) => node.kind === "Field" && node.selectionSet);
    if (top.length === 0) return null;
    const twin = copy(rng.pick(top));
    const leaves = nodesOf(twin, "Field").filter(({ node }) => !node.selectionSet);
    if (leaves.length === 0) return null;
    const leaf = rng.pick(leaves).node;
    const [key, other] = [leaf.alias ?? leaf.name, rng.pick(leaves).node.name];
    Object.assign(leaf, { alias: copy(key), name: copy(rng.chance(0.7) ? other : ast.name("__typename")), arguments: [] });
    const type = root.operation === "mutation" ? schema.getMutationType() : schema.getQueryType();
    document.definitions.push(ast.fragment("Deep", type.name, [twin]));
    root.selectionSet.selections.push(ast.spread("Deep"));
    return true;
  },
  "fields of two arguments zipped through fragments"(document, rng) {
    const root = document.definitions.find((node) => node.kind === "OperationDefinition");
    const twins = rng.pick([
      ['channel(custSpaceId:"cams-alpha")', 'channel(custSpaceId:"cams-beta")', ["account", "custSpaceId"]],
      ["application(appId:$v0)", 'application(appId:"app-two")', ["account", "appId"]],
      ['operationDistribution(appId:"app-one",range:{last:"P1D"})', 'operationDistribution(range:{last:"P1D"},appId:"app-one")', ["start", "end"]],
      ['operationDistribution(appId:"app-one",range:{last:"P1D"})', 'operationDistribution(range:{last:"P2D"},appId:"app-one")', ["start", "end"]],
      ["channels{metrics(range:{last:\"P1D\"})", "channels{metrics(granularity:DAILY,range:{last:\"P1D\"})", ["start", "end"], "}"],
    ]);
    const [one, other, [left, right], tail = ""] = twins;
    root.selectionSet.selections.push({ kind: "Raw", text: `twin:${one}{${left}}${tail} ...Twin` });
    document.definitions.push({ kind: "Raw", text: `fragment Twin on Query{twin:${other}{${right}}${tail}}` });
    return true;
  },
  "another sort of operation"(document, rng) {
    const place = choose(rng, document, "OperationDefinition");
    place.node.operation = rng.pick(["query", "mutation", "subscription"]);
    return true;
  },
  "an operation twice"(document, rng) {
    const place = choose(rng, document, "OperationDefinition");
    document.definitions.push(copy(place.node));
    return true;
  },
  "an operation without name"(document, rng) {
    const place = choose(rng, document, "OperationDefinition");
    document.definitions.push({ ...copy(place.node), name: undefined });
    return true;
  },
  "no operation"(document) {
    document.definitions = document.definitions.filter((node) => node.kind !== "OperationDefinition");
    return true;
  },
  "a definition of a schema"(document, rng) {
    document.definitions.push({ kind: "Raw", text: rng.pick(["type T { a: Int }", "schema { query: Query }", "scalar S", "extend type Query { a: Int }", "directive @d on FIELD"]) });
    return true;
  },
};

const NUMBERS = ["01", "-01", "1.", "-", "+1", ".5", "1e", "1e+", "0x1F", "1_000", "1a", "1.5.5", "--1", "1e5.5", "0.0e0", "-0", "00", "1.e1", "1E5", "9".repeat(40), "1e999"];
const STRINGS = [
  '"', '"x', '"""', '"""x', '""""', '"\\q"', '"\\u12"', '"\\u{}"', '"\\u{110000}"', '"\\u{41}"', '"\\u{D800}"', '"\\uD83D"', '"\\uD83D\\uDE00"',
  '"\\uDE00\\uD83D"', '"\\"', '"\\\\"', '"a\nb"', '"a\rb"', '"\t"', '"\u0001"', '"\u007f"', '"名"', '"\u{1f600}"', '"""\\u0041 \\q"""', '"""a\\"""b"""', '"""a\rb"""', '"""\u0000"""', "'x'",
  '"\\U0041"', '"\\x41"', '"\\u00g0"', '"\\b\\f\\n\\r\\t\\/"', '"""a\n  b\n   c\n"""', '"\u2028"', '"\ufeff"',
];
const OTHERS = [
  "{", "}", "(", ")", "[", "]", ":", "!", "=", "$", "@", "|", "&", ".", "..", "...", "....", "on", "fragment", "query", "mutation", "subscription", "null", "true", "false",
  "type", "extend", "$x", "@skip", "@include(if: true)", "#", "# x\n", "\r", "\n", "\u2028", "\u00a0", "\u000b", "\u0000", "\u0007", "\ufeff", "名", "\u{1f600}", "é", "?", "%", "\\", "/", "-", "~", ";", "`", "x", "__typename", "__type",
  '"a description"', '"""a description"""',
];

/** Changes of the tokens. */
const OF_TOKENS = {
  "a token less": (list, rng) => void list.splice(rng.below(list.length), 1),
  "some tokens less": (list, rng) => void list.splice(rng.below(list.length), rng.between(2, 4)),
  "a token twice"(list, rng) {
    const at = rng.below(list.length);
    list.splice(at, 0, list[at]);
  },
  "two tokens swapped"(list, rng) {
    const [a, b] = [rng.below(list.length), rng.below(list.length)];
    [list[a], list[b]] = [list[b], list[a]];
  },
  "neighbours swapped"(list, rng) {
    const at = rng.below(list.length - 1);
    [list[at], list[at + 1]] = [list[at + 1], list[at]];
  },
  "another token": (list, rng) => void (list[rng.below(list.length)] = rng.pick(OTHERS)),
  "one more token": (list, rng) => void list.splice(rng.below(list.length + 1), 0, rng.pick(OTHERS)),
  "a token of elsewhere": (list, rng) => void list.splice(rng.below(list.length + 1), 0, rng.pick(list)),
  "an odd number": (list, rng) => replaceValue(list, rng, NUMBERS),
  "an odd string": (list, rng) => replaceValue(list, rng, STRINGS),
  "a description": (list, rng) => void list.splice(0, 0, rng.pick(['"what it does"', '"""what it does"""'])),
  "the end missing": (list, rng) => void list.splice(rng.between(1, list.length)),
};

function replaceValue(list, rng, values) {
  const places = list.flatMap((token, i) => (/^["\d-]/.test(token) || ["true", "false", "null"].includes(token) ? [i] : []));
  list[places.length > 0 ? rng.pick(places) : rng.below(list.length)] = rng.pick(values);
}

/** Changes of the text. */
function changeText(text, rng) {
  const chars = [...text];
  const at = rng.below(chars.length);
  switch (rng.below(4)) {
    case 0:
      chars.splice(at, 1);
      break;
    case 1:
      chars.splice(at, 0, rng.pick(OTHERS));
      break;
    case 2:
      chars[at] = rng.pick(OTHERS);
      break;
    default:
      chars.splice(at, 0, rng.pick(['"', "\\", "#", "\n", "\r", ",", "\ufeff", "-", "0", "."]));
  }
  return chars.join("");
}

/** JSON of every sort. */
const JSONS = [
  "null", "true", "0", "-1", "1.0", "3e0", "1.5", "2147483648", "-2147483649", "9223372036854775808", "1e30", '""', '"x"', '"5"', '"DAILY"', '"P1D"', '"P1M"', '"2026-11-16T00:00:00Z"', '"2026-11-16"',
  "[]", "[null]", '["x"]', "[[]]", "{}", '{"last":"P1D"}', '{"last":null}', '{"last":"P1D","between":null}', '{"last":"P1D","x":1}', '{"last":5}', '{"between":{"start":"2026-11-16T00:00:00Z"}}',
  '{"between":{"start":"2026-11-16T00:00:00Z","end":"2026-11-17T00:00:00Z","x":null}}', '{"between":{"start":"2026-11-16T00:00:00Z","end":null}}', '"\\ud83d\\ude00"',
];

/** Changes of what is sent beside the document. */
function changeRequest(request, rng) {
  const variables = JSON.parse(request.variables ?? "{}");
  const keys = Object.keys(variables);
  if (keys.length > 0 && rng.chance(0.75)) {
    const key = rng.pick(keys);
    const others = keys.filter((other) => other !== key).map((other) => `${JSON.stringify(other)}:${JSON.stringify(variables[other])}`);
    const changed = rng.chance(0.25) ? [] : [`${JSON.stringify(key)}:${rng.pick(JSONS)}`];
    request.variables = `{${[...others, ...changed].join(",")}}`;
  } else {
    request.operationName = rng.pick([undefined, null, "", "Nope", "on", request.operationName]);
  }
}

/** Breaks a document, often once, sometimes more; what was done is in `changes`. `strings` writes strings. */
export function broken(request, rng, { schema, oddness, strings, tokens }) {
  const { document } = request;
  const changes = [];
  const times = rng.chance(0.8) ? 1 : rng.between(2, 3);
  const level = rng.below(12);
  const names = Object.keys(OF_DOCUMENTS);
  if (level < 6) {
    // Most changes need an operation with a selection, and some leave none.
    const isWhole = () => nodesOf(document, "OperationDefinition").length > 0 && nodesOf(document, ...SELECTIONS).length > 0;
    for (let i = 0; i < times && isWhole(); i++) {
      const name = rng.pick(names);
      if (OF_DOCUMENTS[name](document, rng, { schema })) changes.push(name);
    }
  }
  const list = tokens(document, strings);
  if (level === 6 || level === 7) {
    for (let i = 0; i < times && list.length > 1; i++) {
      const name = rng.pick(Object.keys(OF_TOKENS));
      OF_TOKENS[name](list, rng);
      changes.push(name);
    }
  }
  let query = list.length > 0 ? joinOddly(list, rng, oddness) : "";
  if (level === 8) {
    for (let i = 0; i < times && query; i++) query = changeText(query, rng);
    changes.push("the text");
  }
  const { variables, operationName } = request;
  const made = { query, variables: JSON.stringify(variables), operationName };
  if (level === 9) {
    changeRequest(made, rng);
    changes.push("the request");
  }
  return { ...made, changes };
}
